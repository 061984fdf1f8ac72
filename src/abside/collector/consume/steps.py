"""What happens to one partition: it is looked up, read, written, and whatever fails is tried again for ever."""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

from abside.collector.consume.client import TopicMissing
from abside.collector.consume.gather import Gatherer
from abside.collector.consume.partition import look
from abside.collector.consume.storing import store
from abside.collector.store.chain import ChainBroken, ChainTip
from abside.collector.store.place import NameTaken, PlaceError
from abside.kafka import library
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from abside.collector.consume.client import TopicAsker
    from abside.collector.consume.gather import SealedGroup
    from abside.collector.consume.partition import HeldPartition, Whereabouts
    from abside.collector.consume.reader import TopicReader
    from abside.collector.consume.totals import ConsumeTotals
    from abside.collector.store.chain import ChainKey
    from abside.collector.store.place import StorePlace

WRITERS = 8  # files on their way at a time: a store may take seconds for each
LOOKERS = 4
NAP_SECONDS = 0.05
PASSED_SECONDS = 3600.0  # without a row to store, how far a partition got is written so seldom
log = Log("abside.collector.consume.steps")


@dataclass(frozen=True, slots=True)
class GroupBounds:
    """When a group is written: after `seconds`, or when all of them together take `limit_bytes` of memory."""

    seconds: float
    limit_bytes: int
    drain_seconds: float


class PartitionSteps:
    """Moves partitions on. Looks and writes block, so they are done in threads and their outcomes taken by `step`."""

    def __init__(
        self,
        reader: TopicReader,
        about: TopicAsker,
        place: StorePlace,
        bounds: GroupBounds,
        totals: ConsumeTotals,
    ) -> None:
        self._reader = reader
        self._about = about
        self._place = place
        self._bounds = bounds
        self._totals = totals
        self._kafka = library()
        self._passed: dict[ChainKey, int] = {}  # of partitions that retention overran: up to which offset it is counted
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="look")

    def close(self) -> None:
        """End the threads once what they do is done; begin nothing more."""
        self._writers.shutdown(wait=False, cancel_futures=True)
        self._lookers.shutdown(wait=False, cancel_futures=True)

    def step(self, held: HeldPartition, now: float) -> None:
        """Take the outcome of what was asked for, and ask for what comes next. `now` is monotonic."""
        if held.look and held.look.done():
            self._looked(held, held.look, now)
        if held.write and held.write.done():
            self._written(held, held.write, now)
        if held.look or held.write or now < held.not_before:
            return
        if held.gatherer is None or held.needs_offset:
            asked = (self._place, self._about, held.number)
            held.look = self._lookers.submit(look, *asked, tip=held.gatherer is None)
        elif held.gatherer.sealed or self._is_due(held.gatherer, now):
            self.write(held)

    def write(self, held: HeldPartition) -> None:
        """Begin to write what a partition has gathered, or the group that could not be written before."""
        if held.gatherer is None or held.key is None or held.write:
            return
        sealed = held.gatherer.sealed or held.gatherer.cut()
        if sealed is not None:
            held.write = self._writers.submit(store, self._place, held.key, sealed, self._reader.topic)

    def finish(
        self, going: Iterable[HeldPartition], within_seconds: float, turned: Callable[[], None] = lambda: None
    ) -> None:
        """Write what is gathered, within a time; what is not written by then is read again by the next owner.

        `turned` is called each time round.
        """
        until = monotonic() + within_seconds
        left = [held for held in going if held.gatherer and _has_something(held.gatherer)]
        while left and (now := monotonic()) < until:
            turned()
            for held in left:
                if held.write and held.write.done():
                    self._written(held, held.write, now)
                if now >= held.not_before:
                    self.write(held)
            nap = min(until - now, NAP_SECONDS)
            if writing := [held.write for held in left if held.write]:
                wait(writing, nap, "FIRST_COMPLETED")
            else:  # all of them wait for their next try
                sleep(nap)
            left = [held for held in left if held.gatherer and _has_something(held.gatherer)]
        if left:
            log.warning("not_written_in_time", partitions=[held.number for held in left], then="read again")

    def leave(self, held: HeldPartition) -> None:
        """Read no more of a partition until it is looked up again."""
        self._reader.pause(held)
        held.drop()

    def _is_due(self, gatherer: Gatherer, now: float) -> bool:
        limit = self._bounds.seconds if gatherer.has_rows else max(PASSED_SECONDS, self._bounds.seconds)
        return gatherer.since is not None and now - gatherer.since >= limit

    def _looked(self, held: HeldPartition, asked: Future[Whereabouts], now: float) -> None:
        """Begin to read where the chain ends, or show why that is not possible."""
        held.look = None
        try:
            found = asked.result()
        except TopicMissing:
            self._hindered(held, now, "partition_waits", "the topic does not exist")
        except (CancelledError, ChainBroken, PlaceError, self._kafka.KafkaException) as exc:
            self._hindered(held, now, "partition_waits", str(exc))
        else:
            if held.gatherer is not None and found.key != held.key:
                self.leave(held)  # of a topic that is no more
            else:
                self._begin(held, found, now)

    def _begin(self, held: HeldPartition, found: Whereabouts, now: float) -> None:
        gatherer = held.gatherer or Gatherer(found.tip or ChainTip(), self._totals.taken)
        wanted = gatherer.end
        if wanted > found.high:
            reason = f"the store ends at offset {wanted} and the topic at {found.high}: its newest records were lost"
            self._hindered(held, now, "topic_is_behind_the_store", reason)
            return
        if 0 < wanted < found.low:
            self._overrun(found, wanted)
        held.key, held.gatherer, held.needs_offset, held.gap_tries = found.key, gatherer, False, 0
        held.succeed()
        begin = max(wanted, found.low)
        self._reader.begin_at(held, begin)
        log.info("partition_begins", partition=held.number, offset=begin, end=found.high)

    def _overrun(self, found: Whereabouts, wanted: int) -> None:
        """Count what retention took, once: until a record comes, the chain ends where it did."""
        since = max(wanted, self._passed.get(found.key, 0))
        if lost := max(0, found.low - since):
            self._passed[found.key] = found.low
            self._totals.overrun_records += lost
            offsets = {"lost": lost, "from_offset": since, "to_offset": found.low}
            remedy = "more collectors, or a longer retention of the topic"
            log.error("retention_overrun", partition=found.key.partition, **offsets, remedy=remedy)

    def _written(self, held: HeldPartition, wrote: Future[None], now: float) -> None:
        held.write = None
        try:
            wrote.result()
        except NameTaken as exc:
            self._totals.fenced += 1
            then = "what was gathered is thrown away, and read again from where the other came to"
            log.warning("fenced", partition=held.number, file=exc.name, then=then)
            self.leave(held)
        except (CancelledError, PlaceError) as exc:
            self._totals.write_failures += 1
            self._hindered(held, now, "file_not_written", str(exc))
        else:
            held.succeed()
            if held.gatherer and held.gatherer.sealed:
                self._count(held.number, held.gatherer.sealed)
                log.debug("file_written", partition=held.number, rows=held.gatherer.sealed.rows)
                held.gatherer.stored()

    def _count(self, number: int, stored: SealedGroup) -> None:
        self._totals.files += 1
        self._totals.rows += stored.rows
        if stored.refused:
            first = stored.refused[0]
            offsets = {"records": len(stored.refused), "first_offset": first.offset}
            log.error(
                "records_refused", partition=number, **offsets, reason=first.reason, then="set aside in the store"
            )

    def _hindered(self, held: HeldPartition, now: float, event: str, reason: str) -> None:
        if reason != held.problem:
            log.error(event, partition=held.number, reason=reason, then="tried again; Kafka keeps the records")
        held.wait(now, reason)


def _has_something(gatherer: Gatherer) -> bool:
    return gatherer.has_rows or gatherer.sealed is not None
