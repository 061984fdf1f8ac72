"""Says what came into force: `config` events, so that the report knows what ran when and what each config_id was.

One event (in parts where it is long) for the experiments at every swap, and one for each merged configuration when it
is first served: only what shoppers really got is told, however many combinations there could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside import event
from abside.sidecar.current import effective_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.assign import Evaluator
    from abside.sidecar.current import Current
    from abside.sidecar.journal import Journal
    from abside.sidecar.outcome import Outcome, Shelf

EXPERIMENTS_A_PART = 20  # of 20 variants with 64-byte names each: 40 KB, below an event's 64 KiB
MAX_TOLD = 20_000  # configurations remembered as told; beyond it they are told again
MAX_TOLD_BYTES = 4 * 2**20  # of configurations told under one revision: a hundredth of the spool's quota
DAY_US = 86_400_000_000
AGAIN_US = 1_000_000  # after a refusal: no request pays for a full spool
MAX_PAUSE_CHARS = 200  # of a reason: whoever wrote a page finds it in the paused directory


class Configs:
    """Writes config events. `source` is who this sidecar is: pod, app, version."""

    def __init__(self, journal: Journal, source: Mapping[str, str]) -> None:
        self._journal = journal
        self._source = dict(source)
        self._untold: Current | None = None
        self._told: set[tuple[str, str]] = set()  # (placement, config_id)
        self._room_bytes = MAX_TOLD_BYTES
        self._again_us = 0
        self._day = 0

    def applied(self, current: Current) -> None:
        """Tell what is in force now; kept for later where the spool has no room."""
        self._untold = current
        self._room_bytes = MAX_TOLD_BYTES
        self.tell()

    def tell(self) -> None:
        """Tell what was not yet told."""
        current = self._untold
        if current is None:
            return
        now_us = self._journal.clock()
        evaluators = list(current.plans.evaluators.values())
        parts = [evaluators[at : at + EXPERIMENTS_A_PART] for at in range(0, len(evaluators), EXPERIMENTS_A_PART)]
        events = [
            self._event(current.revision, now_us, part=number + 1, parts=len(parts), experiments=_experiments(part))
            for number, part in enumerate(parts or [[]])
        ]
        if self._journal.note(events):
            self._untold = None

    def served(self, shelf: Shelf, outcome: Outcome) -> None:
        """Tell a configuration the first time it is served on a day (UTC): its id is its digest, whatever the revision.

        With many experiments nearly every shopper has a configuration of their own: what one revision may tell is
        bounded, so that it never crowds shoppers' events out of the spool. A full spool is asked again after a while.
        """
        placement = shelf.plan.placement.id
        key = (placement, outcome.config_id)
        now_us = self._journal.clock()
        if now_us // DAY_US != self._day:
            self._day = now_us // DAY_US
            self._told.clear()
        if key in self._told or self._room_bytes <= 0:
            outcome.told = True
            return
        if now_us < self._again_us:
            return
        entry: dict[str, Any] = {"placement": placement, "config_id": outcome.config_id, "config": outcome.config}
        events = [self._event(shelf.revision, now_us, placements=[entry])]
        size = len(event.encode(events[0]))
        if size > event.MAX_EVENT_BYTES:
            entry["config"] = None
            entry["oversize"] = True
        if not self._journal.note(events):
            self._again_us = now_us + AGAIN_US
            return
        self._room_bytes -= min(size, event.MAX_EVENT_BYTES)
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told.add(key)
        outcome.told = True

    def _event(self, revision: str, now_us: int, **fields: Any) -> event.EventMap:
        head = {"revision": revision, "source": self._source}
        return event.own("config", event_id=self._journal.ids.next(), now_us=now_us, **head, **fields)


def _experiments(evaluators: list[Evaluator]) -> list[dict[str, Any]]:
    return [
        {
            "experiment": one.experiment.id,
            "status": effective_status(one.experiment, one.closed),
            "phase": one.experiment.phase,
            "control": one.experiment.control,
            "traffic_bp": one.traffic_bp,
            "weights_bp": {variant.id: variant.stop - variant.start for variant in one.experiment.variants},
            "pause": None if one.experiment.pause is None else one.experiment.pause[:MAX_PAUSE_CHARS],
        }
        for one in evaluators
    ]
