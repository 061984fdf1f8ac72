"""The thread that reads: records into gatherers, within a bound on memory, and partitions that come and go."""

from __future__ import annotations

import threading
from collections import defaultdict
from time import monotonic
from typing import TYPE_CHECKING, Any

from abside.backoff import Backoff
from abside.collector.consume.partition import HeldPartition
from abside.collector.consume.reader import TopicReader
from abside.collector.consume.steps import GroupBounds, PartitionSteps
from abside.collector.consume.totals import ConsumeTotals
from abside.collector.store.place import PlaceError, probe
from abside.kafka import library
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.collector.consume.client import TopicAsker
    from abside.collector.consume.topic import TopicWatch
    from abside.collector.store.place import StorePlace

POLL_RECORDS = 4096  # taken at a time: 20 ms of Python
POLL_SECONDS = 0.1  # a group lasts a minute; this only bounds how late anything is noticed
REVOKE_SECONDS = 10.0  # for writing what was gathered of partitions that go to another: the group waits meanwhile
LAG_SECONDS = 5.0
FOREIGN_SECONDS = 60.0  # between two lines about foreign records of one partition
GAP_TRIES = 2  # how often a beginning is asked for again, where a record from behind it comes first
log = Log("abside.collector.consume.loop")


class ConsumeLoop:
    """Reads a topic's partitions as the group assigns them. `run` is one thread; the figures may be read by any."""

    def __init__(
        self,
        consumer: Any,
        about: TopicAsker,
        watch: TopicWatch,
        place: StorePlace,
        bounds: GroupBounds,
        now_us: Callable[[], int],
        on_error: Callable[[Any], None],
    ) -> None:
        self.held: dict[int, HeldPartition] = {}
        self.totals = ConsumeTotals()
        self.turned = monotonic()  # when the loop last came round
        self.was_assigned = False  # by the group, once or more
        self.store_problem: str | None = "it has not answered yet"
        self.ended = threading.Event()
        self._kafka = library()
        self._consumer = consumer
        self._watch = watch
        self._place = place
        self._bounds = bounds
        self._now_us = now_us
        self._on_error = on_error
        self._reader = TopicReader(consumer, about.topic)
        self._steps = PartitionSteps(self._reader, about, place, bounds, self.totals)
        self._stopping = threading.Event()
        self._lag_at = 0.0
        self._foreign_at: dict[int, float] = {}

    @property
    def size(self) -> int:
        """Bytes gathered and on their way."""
        return sum(held.size for held in tuple(self.held.values()))

    @property
    def is_full(self) -> bool:
        """Whether nothing is read until something is written."""
        return self._reader.is_full

    def stop(self) -> None:
        """Let `run` write what is gathered, leave the group and return."""
        self._stopping.set()

    def run(self) -> None:
        """Read until `stop`. Raises KafkaException where the library says that it cannot go on.

        After an error nothing more is written: a record may be passed that is not gathered.
        """
        callbacks = {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._lost}
        try:
            self._await_store()
            self._consumer.subscribe([self._reader.topic], **callbacks)
            while not self._stopping.is_set():
                self._turn()
            self._steps.finish(self.held.values(), self._bounds.drain_seconds, self._came_round)
        finally:
            self._stopping.set()  # close() calls `_revoked`
            self._consumer.close()
            self._steps.close()
            self.ended.set()

    def _await_store(self) -> None:
        """Join no group before the store has shown that it creates a name once."""
        backoff = Backoff()
        while self.store_problem and not self._stopping.is_set():
            try:
                probe(self._place)
            except PlaceError as exc:
                self.turned = monotonic()
                self.store_problem = str(exc)
                self._stopping.wait(backoff.next_seconds())
            else:
                self.store_problem = None
                log.info("store_answers", place=self._place.shown)

    def _came_round(self) -> None:
        self.turned = monotonic()

    def _turn(self) -> None:
        self._take(self._consumer.consume(POLL_RECORDS, POLL_SECONDS))
        now = self.turned = monotonic()
        if self._watch.turn(now):
            self._topic_changed()
        for held in self.held.values():
            self._steps.step(held, now)
        self._relieve()
        if now >= self._lag_at:
            self._lag_at = now + LAG_SECONDS
            for held in self.held.values():
                held.lag = self._reader.lag(held)

    def _take(self, messages: list[Any]) -> None:
        by_partition: dict[int, list[Any]] = defaultdict(list)
        for message in messages:
            if message.error() is None:
                by_partition[message.partition()].append(message)
            else:
                self._failed(message)
        now, now_us = monotonic(), self._now_us()
        for number, records in by_partition.items():
            held = self.held.get(number)
            if held and held.gatherer and not held.needs_offset and self._begins_right(held, records[0].offset()):
                held.gatherer.take(records, now=now, now_us=now_us)
                self._tell_foreign(held, now)

    def _begins_right(self, held: HeldPartition, first: int) -> bool:
        """Whether a first record is the one asked for; a later one may be left over from before it was asked."""
        if held.begin is None:
            return True
        if first > held.begin and held.gap_tries < GAP_TRIES:
            held.gap_tries += 1
            self._reader.begin_at(held, held.begin)
            return False
        held.begin, held.gap_tries = None, 0
        return True

    def _failed(self, message: Any) -> None:
        error, number = message.error(), message.partition()
        held = self.held.get(number) if number is not None else None
        if held and error.code() == self._kafka.KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 its public name
            held.needs_offset = True
        else:
            self._on_error(error)  # of the group or the topic, for example rights that are missing

    def _tell_foreign(self, held: HeldPartition, now: float) -> None:
        gatherer = held.gatherer
        if gatherer is None or gatherer.first_foreign is None:
            return
        if now >= self._foreign_at.get(held.number, 0.0):
            self._foreign_at[held.number] = now + FOREIGN_SECONDS
            offset, reason = gatherer.first_foreign
            so_far = self.totals.taken.foreign.total()
            then = "not stored; the topic has them as long as it keeps records"
            log.warning(
                "foreign_records", partition=held.number, offset=offset, reason=reason, so_far=so_far, then=then
            )
        gatherer.first_foreign = None

    def _relieve(self) -> None:
        """Write the largest groups where they take too much together, and read nothing while that does not help."""
        limit = self._bounds.limit_bytes
        gathering = [(held.gatherer.open_size, held) for held in self.held.values() if held.gatherer]
        total = sum(size for size, _ in gathering)
        for size, held in sorted(gathering, key=lambda one: -one[0]) if total >= limit else ():
            if total > limit // 2 and held.gatherer and not held.gatherer.sealed:
                self._steps.write(held)
                total -= size
        size = self.size
        if size >= 2 * limit and not self._reader.is_full:
            self._reader.is_full = True
            log.warning("reading_pauses", bytes=size, reason="the store does not take what was gathered fast enough")
        elif self._reader.is_full and size < limit + limit // 2:
            self._reader.is_full = False
            log.info("reading_goes_on", bytes=size)
        for held in self.held.values():
            if held.gatherer and held.is_paused != self._reader.is_full:
                (self._reader.pause if self._reader.is_full else self._reader.resume)(held)

    def _topic_changed(self) -> None:
        """Take leave of a topic that was deleted or made anew."""
        for held in self.held.values():
            if self._watch.topic_id is None:
                self._steps.write(held)  # gathered before anybody could make it anew
            elif held.key and held.key.topic_id != self._watch.topic_id:
                self._steps.leave(held)

    # Called back by consume() and close(), in this thread.

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        for one in partitions:
            one.offset = self._kafka.OFFSET_BEGINNING
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # nothing is taken of them before their chains are looked up
        self.was_assigned = True
        for one in partitions:
            self.held[one.partition] = HeldPartition(one.partition)
        log.info("assigned", partitions=sorted(one.partition for one in partitions))

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        if not self._stopping.is_set():
            self._steps.finish(
                [self.held[one.partition] for one in partitions if one.partition in self.held],
                REVOKE_SECONDS,
                self._came_round,
            )
        self._forget(consumer, partitions)
        log.info("revoked", partitions=sorted(one.partition for one in partitions))

    def _lost(self, consumer: Any, partitions: list[Any]) -> None:
        """Write nothing: another has owned them for a while, and begins where the store ends."""
        self._forget(consumer, partitions)
        self.totals.lost += len(partitions)
        log.warning("lost", partitions=sorted(one.partition for one in partitions), then="what was gathered is dropped")

    def _forget(self, consumer: Any, partitions: list[Any]) -> None:
        for one in partitions:
            if held := self.held.pop(one.partition, None):
                held.drop()
        consumer.incremental_unassign(partitions)
