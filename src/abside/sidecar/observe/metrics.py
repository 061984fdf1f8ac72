"""The sidecar's metrics: plain integers of the process, read at the scrape and never on the hot path.

Experiments are labels only where asked for: 10,000 pods with 300 series each melt a metrics server.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from abside import __version__
from abside.scrape.families import answers, counter, counters, gauge, histogram
from abside.sidecar.fast.took import BOUNDS
from abside.sidecar.record.accounts import NAMED_TYPES, OTHER_ARM, OTHER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.core import Metric

    from abside.serve.listener import Listener
    from abside.sidecar.active.current import Current
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.fast.fastpath import FastDoor
    from abside.sidecar.record.accounts import Accounts, ArmKey
    from abside.sidecar.ship.shipper import Shipper
    from abside.supervise import Supervisor

SLICE_SERIES = 200  # of one family, rendered at a time: about 1 ms, and then a decision may come first


class Metrics:
    """The metric families of the parts of one sidecar."""

    def __init__(
        self,
        context: HandlerContext,
        shipper: Shipper | None,
        supervisor: Supervisor,
        listener: Listener,
        fast: FastDoor,
        *,
        by_experiment: bool,
    ) -> None:
        self._context = context
        self._shipper = shipper
        self._supervisor = supervisor
        self._listener = listener
        self._fast = fast
        self._by_experiment = by_experiment

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        from prometheus_client.core import InfoMetricFamily  # noqa: PLC0415 33 ms that start-up saves

        current, now_us = self._context.cell.current, self._context.clock()  # one of each in all families
        revision = current.revision if current else ""
        yield InfoMetricFamily("abside", "What runs here.", value={"version": __version__, "revision": revision})
        yield from self._snapshot(current, now_us)
        yield from self._events(current)
        yield from self._spool(now_us)
        if self._shipper is not None:
            yield from _shipped(self._shipper)
        yield from self._served()
        deaths = (((task,), count) for task, count in self._supervisor.deaths.items())
        yield counters("task_deaths", "Background tasks that died and were restarted.", ["task"], deaths)

    def _snapshot(self, current: Current | None, now_us: int) -> Iterator[Metric]:
        cell = self._context.cell
        yield gauge("snapshot_in_force", "1 when a snapshot is active.", 1 if current else 0)
        if current is not None:
            head = current.snapshot.head
            age = max(0, now_us - head.written_at_us) / 1e6
            yield gauge("snapshot_age_seconds", "Seconds since the agent published the active snapshot.", age)
            yield gauge("snapshot_degraded", "1 when something the documents ask for is not active.", current.degraded)
            yield gauge("snapshot_problems", "Problems of the active documents.", len(current.problems))
            yield gauge("snapshot_left_out", "Records of the snapshot file that cannot be used.", len(current.left_out))
        yield gauge("snapshot_missing", "1 when there is no snapshot file on disk.", cell.missing)
        if cell.beat_us is not None:
            age = max(0, now_us - cell.beat_us) / 1e6
            yield gauge("agent_heartbeat_age_seconds", "Seconds since the agent last looked, in steps of 10 s.", age)
        callers_us = self._context.callers.now_us()
        behind = 0.0 if callers_us is None else (now_us - callers_us) / 1e6
        yield gauge("callers_clock_behind_seconds", "Seconds callers' clocks are behind this one.", round(behind))
        yield counter("snapshot_swaps", "Snapshots made active.", cell.swaps)
        yield counter("snapshot_refused", "Snapshot files that could not be used.", cell.refused)
        yield gauge("snapshot_unusable", "1 while the snapshot file on disk is one of them.", bool(cell.refusal))

    def _events(self, current: Current | None) -> Iterator[Metric]:
        accounts = self._context.journal.accounts
        for name, text, counts in (
            # A rate needs the zero before the first; and a share of the exposures needs those that there are not.
            ("events_accepted", "Events written to the spool, by type.", {**NONE_YET, **accounts.accepted}),
            ("events_lost", "Exposures that found no room in the spool, by type.", {"exposure": 0, **accounts.lost}),
        ):
            yield counters(name, text, ["type"], (((kind,), count) for kind, count in _named(counts).items()))
        unpriced = self._context.tracked.without_currency
        yield counter(
            "track_without_currency", "Tracked amounts without a currency, here or in the documents.", unpriced
        )
        if self._by_experiment:
            arms = iter(list(_in_documents(accounts, current).items()))
            while part := list(islice(arms, SLICE_SERIES)):
                yield counters("exposures", "Exposures by arm.", ["experiment", "variant"], part)

    def _spool(self, now_us: int) -> Iterator[Metric]:
        spool = self._context.journal.spool
        waiting = spool.waiting
        yield gauge("spool_used_bytes", "Bytes of the spool that count against its quota.", spool.used_bytes)
        yield gauge("spool_limit_bytes", "The spool's quota.", spool.settings.limit_bytes)
        yield gauge(
            "spool_in_trouble", "1 when events cannot be written to the spool, or sealed in it.", bool(spool.trouble)
        )
        yield gauge(
            "spool_clock_ahead_seconds", "Seconds by which a clock that jumped is ahead.", spool.calendar.jump_seconds
        )
        yield gauge(
            "spool_undeleted_bytes",
            "Bytes acknowledged that cannot be unlinked.",
            spool.backlog.undeleted_bytes,
        )
        yield gauge("spool_dead_files", "Files in dead/ now, for a person to look at.", spool.backlog.dead.files)
        yield gauge("spool_local_processes", "Living processes that decide and write beside it.", spool.beside.living)
        yield gauge("spool_waiting_segments", "Sealed batches that wait to be shipped.", waiting.segments)
        oldest = 0 if waiting.oldest_us is None else max(0, now_us - waiting.oldest_us) / 1e6
        yield gauge("spool_oldest_age_seconds", "Seconds since the oldest waiting batch was written.", oldest)
        yield from _counted("spool", asdict(spool.stats))

    def _served(self) -> Iterator[Metric]:
        yield answers("requests", self._answers())
        yield gauge("connections", "Open connections of the decision listener.", self._listener.open_connections)
        yield counter(
            "connections_gave_way", "Idle connections closed to make room for new ones.", self._listener.crowd.gave_way
        )
        yield counter(
            "requests_refused", "Requests refused because too many were in flight.", self._listener.refused_requests
        )
        yield counter("fast_answers", "Requests answered on the fast path.", self._fast.answered)
        took = self._fast.took
        yield histogram("decision_seconds", DECISION_SECONDS, BOUNDS, took.counts, took.seconds)
        yield counter(
            "fast_hand_overs",
            "Connections handed to aiohttp for good: chunked, pipelined or other requests.",
            self._fast.handed_over,
        )

    def _answers(self) -> dict[tuple[str, int], int]:
        """Put together what the two paths counted."""
        found = dict(self._listener.answers)
        for route in self._fast.routes:
            key = (route.path, route.status)
            found[key] = found.get(key, 0) + route.good
        return found


def _shipped(shipper: Shipper) -> Iterator[Metric]:
    stats = shipper.stats
    yield from _counted("upstream", asdict(stats))
    yield gauge("upstream_in_flight", "Batches on their way now.", shipper.in_flight)
    waiting_alone = len(shipper.turns.alone)
    yield gauge("upstream_waiting_alone", "Batches that fail while others arrive.", waiting_alone)
    for one in shipper.own_figures():
        yield (counter if one.grows else gauge)(f"upstream_{one.name}", one.words, one.value)
    yield gauge("upstream_failing", "1 while deliveries fail.", bool(stats.failing_since_us))
    yield gauge(
        "upstream_needs_a_person",
        "1 when only a person can repair it: token, address.",
        bool(stats.loud),
    )


def _named(counts: Mapping[str, int]) -> dict[str, int]:
    """Count made-up types together: a name that callers choose is no label, the status has each."""
    found: dict[str, int] = {}
    for kind, count in counts.items():
        name = kind if kind in LABELLED_TYPES else OTHER_TYPES
        found[name] = found.get(name, 0) + count
    return found


def _in_documents(accounts: Accounts, current: Current | None) -> dict[ArmKey, int]:
    """Count exposures by the arms that are in force; all others, and names of tokens made elsewhere, together."""
    evaluators = current.plans.evaluators.values() if current else ()
    known = {(one.experiment.id, arm.variant.id) for one in evaluators for arm in one.arms}
    found: dict[ArmKey, int] = {}
    for arm, count in accounts.arms.items():
        label = arm if arm in known else OTHER_ARM
        found[label] = found.get(label, 0) + count.accepted
    return found


NONE_YET = {"exposure": 0, "client_fallback": 0}
LABELLED_TYPES = NAMED_TYPES | NONE_YET.keys()  # client_fallback is our clients' own


def _counted(part: str, stats: dict[str, Any]) -> Iterator[Metric]:
    """Yield one counter for each whole number of a stats record."""
    for name, value in stats.items():
        if type(value) is int and not name.endswith("_us"):
            yield counter(f"{part}_{name}", HELP[f"{part}_{name}"], value)


DECISION_SECONDS = (
    "Seconds from a request that is read to its answer, on the fast path, events too. Sampled: what arrives together "
    "counts as long as the first of it, and where requests come alone one in 16 is timed and counts for 16."
)
HELP = {
    "spool_appended_events": "Events written to the spool, its own accounts among them.",
    "spool_appended_bytes": "Bytes written to the spool.",
    "spool_full_events": "Events refused because the spool was full.",
    "spool_failed_events": "Events refused because the disk failed.",
    "spool_oversize_events": "Events refused together with one that is too large.",
    "spool_failures": "Disk operations that failed.",
    "spool_sealed_segments": "Batches sealed.",
    "spool_recovered_segments": "Unsealed batches found at start and sealed.",
    "spool_recovered_events": "Events in those batches.",
    "spool_cut_bytes": "Bytes cut off unsealed batches: events half written when the process died.",
    "spool_stranger_files": "Files with a batch's name that are no batches, found at start and ignored.",
    "spool_acknowledged_segments": "Batches acknowledged by the upstream and removed from the spool.",
    "spool_buried_segments": "Files moved to dead/.",
    "spool_buried_events": "Events in dead batches, as far as they could be counted.",
    "spool_uncounted_segments": "Files in dead/ whose events could not be counted.",
    "spool_failed_seals": "Seals of a batch that failed.",
    "spool_rescued_segments": "Batches whose file was removed while it was written, copied from its descriptor.",
    "spool_lost_events": "Events of files that somebody removed, as far as they could be counted.",
    "spool_lost_segments": "Files that somebody removed.",
    "spool_returned_segments": "Files returned from dead/ by hand.",
    "spool_local_segments": "Batches taken from processes that decide and write beside the sidecar.",
    "spool_adopted_folders": "Folders of such processes taken over after their end.",
    "spool_pruned_files": "Files removed from dead/ because of its quota or their age.",
    "upstream_acked_batches": "Batches the upstream acknowledged.",
    "upstream_acked_events": "Events in those batches.",
    "upstream_acked_bytes": "Bytes of acknowledged batches, before compression.",
    "upstream_duplicates": "Acknowledged batches that the upstream already had.",
    "upstream_retries": "Deliveries that failed and are retried.",
    "upstream_halved": "Batches that were too large and were halved.",
    "upstream_rejected": "Rejections of batches, retries included.",
    "upstream_dead_batches": "Batches given up and moved to dead/.",
    "upstream_dead_events": "Events in dead batches, as far as they could be counted.",
    "upstream_uncounted_segments": "Batches given up whose events could not be counted.",
    "upstream_damaged_segments": "Batches damaged on disk; the events before the damage were sent.",
    "upstream_unreadable": "Reads of a batch from disk that failed.",
}
