"""Writes `config` events, so that the report knows what ran when and what each config_id was.

One event (in parts where it is long) for the experiments at every swap, and one for each merged configuration when it
is first served: only what shoppers really got is logged, however many combinations there could be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside import event
from abside.assignment.schedule import effective_status
from abside.log import Log
from abside.sidecar.active.current import LEFT_OUT
from abside.snapshot import MAX_SHOWN_CHARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.sidecar.active.current import Current
    from abside.sidecar.active.prepared import AnswerCache, PreparedAnswer
    from abside.sidecar.record.journal import Journal
    from abside.snapshot import Experiment

log = Log("abside.configs")
EXPERIMENTS_A_PART = 20  # of 20 variants with 64-byte names each: 40 KB
MAX_PART_BYTES = 60 * 1024  # of experiments: below an event's 64 KiB, with room for the source
MAX_LOGGED = 20_000  # configurations remembered as logged; beyond it they are logged again
MAX_LOGGED_BYTES = 4 * 2**20  # of configurations logged under one revision: a hundredth of the spool's quota
DAY_US = 86_400_000_000
AGAIN_US = 1_000_000  # after a refusal: no request pays for a full spool
MAX_PAUSE_CHARS = 200  # of a reason: whoever wrote a page finds it in the paused directory


class Configs:
    """Writes config events. `source` is who this sidecar is: pod, app, version, namespace, cluster."""

    def __init__(self, journal: Journal, source: Mapping[str, str]) -> None:
        self._journal = journal
        self._source = dict(source)
        self._unlogged: Current | None = None
        self._logged: set[tuple[str, str]] = set()  # (placement, config_id)
        self._room_bytes = MAX_LOGGED_BYTES
        self._again_us = 0
        self._day = 0

    def applied(self, current: Current) -> None:
        """Log what is in force now; keep it for later where the spool has no room."""
        self._unlogged = current
        self.allow_more()
        self.write()

    def allow_more(self) -> None:
        """Begin the bound of a revision anew."""
        self._room_bytes = MAX_LOGGED_BYTES

    def write(self) -> None:
        """Log what found no room before."""
        current = self._unlogged
        if current is None:
            return
        now_us = self._journal.clock()
        parts = _parts(_experiments(current))
        events = [
            self._event(current.revision, now_us, part=number + 1, parts=len(parts), experiments=part)
            for number, part in enumerate(parts)
        ]
        if self._journal.note(events):
            self._unlogged = None

    def served(self, cache: AnswerCache, prepared: PreparedAnswer) -> None:
        """Log a configuration the first time it is served on a day (UTC): its id is its digest, whatever the revision.

        With many experiments nearly every shopper has a configuration of their own: what one revision may log is
        bounded, so that it never crowds shoppers' events out of the spool. A full spool is asked again after a while.
        """
        placement = cache.plan.placement.id
        key = (placement, prepared.config_id)
        now_us = self._journal.clock()
        if now_us // DAY_US != self._day:
            self._day = now_us // DAY_US
            self._logged.clear()
        if key in self._logged or self._room_bytes <= 0:
            prepared.config_logged = True
            return
        if now_us < self._again_us:
            return
        entry: dict[str, Any] = {"placement": placement, "config_id": prepared.config_id, "config": prepared.config}
        events = [self._event(cache.revision, now_us, placements=[entry])]
        size = len(event.encode(events[0]))
        if size > event.MAX_EVENT_BYTES:
            entry["config"] = None
            entry["oversize"] = True
        if not self._journal.note(events):
            self._again_us = now_us + AGAIN_US
            return
        self._room_bytes -= min(size, event.MAX_EVENT_BYTES)
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged.add(key)
        prepared.config_logged = True

    def _event(self, revision: str, now_us: int, **fields: Any) -> event.EventMap:
        head = {"revision": revision, "source": self._source}
        return event.own("config", event_id=self._journal.ids.next(), now_us=now_us, **head, **fields)


def _experiments(current: Current) -> Iterator[dict[str, Any]]:
    """Yield what each experiment does; nobody is in one that is left out."""
    for one in current.plans.evaluators.values():
        yield _experiment(one.experiment, effective_status(one.experiment, one.closed), one.traffic_bp)
    for name, left in current.left_out_experiments.items():
        if left.record is None:
            yield {"experiment": name, "status": LEFT_OUT, "phase": None, "control": None, "traffic_bp": 0}
        else:
            yield _experiment(left.record, LEFT_OUT, 0)


def _experiment(one: Experiment, status: str, traffic_bp: int) -> dict[str, Any]:
    return {
        "experiment": one.id,
        "status": status,
        "phase": one.phase,
        "control": one.control,
        "traffic_bp": traffic_bp,
        "weights_bp": {variant.id: variant.stop - variant.start for variant in one.variants},
        "pause": None if one.pause is None else one.pause[:MAX_PAUSE_CHARS],
    }


def _parts(experiments: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Divide experiments into parts that fit an event each; one that fits none is left out, and the others are not."""
    parts: list[list[dict[str, Any]]] = [[]]
    room = MAX_PART_BYTES
    for one in experiments:
        size = len(event.encode(one))
        if size > MAX_PART_BYTES:
            log.error("config_not_told", experiment=one["experiment"][:MAX_SHOWN_CHARS], bytes=size)
            continue
        if size > room or len(parts[-1]) >= EXPERIMENTS_A_PART:
            parts.append([])
            room = MAX_PART_BYTES
        parts[-1].append(one)
        room -= size
    return parts
