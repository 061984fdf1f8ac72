"""The collector's metrics: plain figures of its parts, read at the scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.scrape.families import answers, counter, counters, gauge, gauges, summary
from abside.scrape.tls import certificate_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from abside.collector.keep.archiving import Archiving
    from abside.collector.keep.upkeep import Upkeep
    from abside.collector.status import CollectorParts
    from abside.serve.listener import Listener

# Of every refusal. A rate needs the zero before the first one.
CODES = (
    "BUSY",
    "COUNT_MISMATCH",
    "INVALID_EVENT",
    "MALFORMED",
    "STOPPING",
    "STORE_FAILED",
    "TIMEOUT",
    "TOO_LARGE",
    "UNAUTHORIZED",
    "UNDECODABLE",
    "UNSUPPORTED_ENCODING",
    "UNSUPPORTED_TYPE",
)


class CollectorMetrics:
    """The metric families of one collector. `clock` returns µs UTC."""

    def __init__(self, parts: CollectorParts, listener: Listener, clock: Callable[[], int]) -> None:
        self._parts = parts
        self._listener = listener
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._received()
        yield from self._stored(self._parts.upkeep)
        if self._parts.archiving:
            yield from _archived(self._parts.archiving, self._parts.upkeep)
        if self._parts.certificate:
            yield from certificate_figures(self._parts.certificate)
        problems = self._parts.problems()
        known = {name: float(bool(problem)) for name, problem in problems.items()}
        yield gauges("collector_problem", "1 while something is wrong; /v1/status has the reason.", "what", known)

    def _received(self) -> Iterator[Metric]:
        counts, pending, listener = self._parts.intake.counts, self._parts.intake.pending, self._listener
        yield answers("collector_requests", listener.answers)
        yield counter("collector_batches", "Batches stored and acknowledged.", counts.stored)
        yield counter("collector_events", "Events in those batches.", counts.events)
        yield counter("collector_duplicates", "Batches that came again and were dropped.", counts.duplicates)
        refused = dict.fromkeys(CODES, 0) | counts.refused
        by_code = (((code,), count) for code, count in refused.items())
        yield counters("collector_refused", "Batches refused, by the code of the answer.", ["code"], by_code)
        yield gauge("collector_pending_bytes", "Bytes of batches that are not written yet.", pending.used_bytes)
        yield gauge("collector_pending_limit_bytes", "Their bound: beyond it batches are refused.", pending.limit_bytes)
        yield gauge("collector_known_batches", "Batch ids known: what is dropped when it comes again.", self._known())
        yield gauge("collector_connections", "Open connections.", listener.open_connections)
        yield counter("collector_connections_gave_way", "Connections closed for new ones.", listener.crowd.gave_way)

    def _stored(self, upkeep: Upkeep) -> Iterator[Metric]:
        grouper, store = self._parts.grouper, upkeep.census
        yield counter("collector_files", "Files written; merged ones are not among them.", grouper.files)
        yield counter("collector_rows", "Rows written; those of merged files are not among them.", grouper.rows)
        rounds = "Rounds of upkeep and their seconds: each merges files, and drops days beyond keeping."
        yield summary("collector_upkeep_seconds", rounds, upkeep.rounds, upkeep.seconds)
        yield counter("collector_merged_files", "Small files merged into larger ones.", upkeep.merged_files)
        yield gauge("collector_store_files", "Files of the store, as the last round of upkeep left it.", store.files)
        yield gauge("collector_store_bytes", "Bytes of these files.", store.bytes)
        yield gauge("collector_store_free_bytes", "Free bytes of its disk, at the same time.", store.free_bytes)
        oldest_us = store.oldest_unmerged_us
        oldest = 0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / 1e6
        words = "Age of the oldest small file that the last round of upkeep left unmerged; 0 where there is none."
        yield gauge("collector_oldest_unmerged_seconds", words, oldest)

    def _known(self) -> int:
        return self._parts.writer.known_ids


def _archived(archiving: Archiving, upkeep: Upkeep) -> Iterator[Metric]:
    archive = archiving.archive
    yield counter("collector_archive_files", "Files copied to the archive.", archive.files)
    yield counter("collector_archive_bytes", "Bytes of these files.", archive.bytes)
    yield gauge("collector_archive_waiting_files", "Merged files that are not copied yet.", archive.waiting)
    yield gauge(
        "collector_archive_kept_days", "Days beyond keeping that stay until the archive has them.", upkeep.kept_days
    )
