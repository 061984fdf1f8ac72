"""What this sidecar accepted and lost since it booted, so that a receiver can bound what a dead pod took with it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from abside import event

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

ArmKey = tuple[str, str]  # experiment, variant


@dataclass(slots=True)
class ArmCount:
    """Exposures of one arm since boot."""

    accepted: int = 0
    lost: int = 0


class Accounts:
    """Plain integers on the hot path; the difference to the last account is taken when a segment is sealed."""

    def __init__(self, boot: str, source: Mapping[str, str]) -> None:
        self.boot = boot
        self.source = dict(source)
        self.accepted: defaultdict[str, int] = defaultdict(int)  # event type → accepted since boot
        self.lost: defaultdict[str, int] = defaultdict(int)  # event type → lost since boot
        self.arms: dict[ArmKey, ArmCount] = {}
        self._stated: dict[ArmKey, tuple[int, int]] = {}
        self._stated_totals: tuple[int, int] = (0, 0)

    def accept(self, kind: str) -> None:
        """Count one event that is in the spool. Callers make up types: beyond a bound they are counted together."""
        if kind not in self.accepted and len(self.accepted) >= MAX_TYPES and kind not in NAMED_TYPES:
            kind = OTHER_TYPES
        self.accepted[kind] += 1

    def arm(self, experiment: str, variant: str) -> ArmCount:
        """Return the count of one arm, to be raised without looking it up again."""
        count = self.arms.get((experiment, variant))
        if count is None:
            known = len(self.arms) < MAX_KEPT_ARMS and bool(ID.match(experiment) and ID.match(variant))
            count = self.arms.setdefault((experiment, variant) if known else OTHER_ARM, ArmCount())
        return count

    def accept_exposures(self, exposed: Collection[Iterable[ArmCount]]) -> None:
        """Count exposures that are in the spool, each by its arms."""
        self.accepted["exposure"] += len(exposed)
        for counts in exposed:
            for count in counts:
                count.accepted += 1

    def lose_exposure(self, counts: Iterable[ArmCount]) -> None:
        """Count one exposure that could not be written."""
        self.lost["exposure"] += 1
        for count in counts:
            count.lost += 1

    def has_changed(self) -> bool:
        """Whether anything was accepted or lost since the last statement."""
        return self._totals() != self._stated_totals

    def statement(self, *, event_id: str, now_us: int) -> event.EventMap:
        """Return the `account` event: cumulative by type, and by arm for the arms that changed, MAX_ARMS at most."""
        changed = (
            (arm, count)
            for arm, count in self.arms.items()
            if (count.accepted, count.lost) != self._stated.get(arm, (0, 0))
        )
        fields: dict[str, Any] = {
            "boot": self.boot,
            "source": self.source,
            "accepted": dict(self.accepted),
            "lost": dict(self.lost),
            "exposures": [
                {"experiment": arm[0], "variant": arm[1], "accepted": count.accepted, "lost": count.lost}
                for arm, count in islice(changed, MAX_ARMS)
            ],
        }
        return event.own("account", event_id=event_id, now_us=now_us, **fields)

    def mark_stated(self, statement: event.EventMap) -> None:
        """Mark a statement as written; `has_changed` stays true while arms are left for the next."""
        for entry in statement["exposures"]:
            self._stated[entry["experiment"], entry["variant"]] = (entry["accepted"], entry["lost"])
        if len(statement["exposures"]) < MAX_ARMS:
            self._stated_totals = (sum(statement["accepted"].values()), sum(statement["lost"].values()))

    def _totals(self) -> tuple[int, int]:
        return (sum(self.accepted.values()), sum(self.lost.values()))


ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")  # of the documents; another name is made up, by a token
MAX_ARMS = 200  # of one statement: at 200 bytes each they leave room for the types in an event's 64 KiB
MAX_TYPES = 100  # counted by name; a caller that makes up a name for each event must not grow memory and metrics
NAMED_TYPES = event.OWN_TYPES | event.FIELDS.keys()  # these always
OTHER_TYPES = "other_types"
MAX_KEPT_ARMS = 20_000  # 1,000 experiments of 20 arms; only tokens with made-up names go beyond
OTHER_ARM: ArmKey = ("other", "other")
