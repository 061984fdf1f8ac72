"""The reading thread over a client that a test tells what to do: what it writes when it ends, and whose files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import TopicPartition
from obstore.store import MemoryStore

from abside.collector.consume.client import TopicAsker, TopicDescription, TopicMissing
from abside.collector.consume.gather import Gatherer
from abside.collector.consume.loop import ConsumeLoop
from abside.collector.consume.partition import HeldPartition
from abside.collector.consume.reader import TopicReader
from abside.collector.consume.steps import GroupBounds, PartitionSteps
from abside.collector.consume.topic import RETRY_SECONDS, WATCH_SECONDS, TopicWatch
from abside.collector.consume.totals import ConsumeTotals
from abside.collector.store.chain import ChainKey, ChainTip
from abside.collector.store.place.bucket import BucketPlace
from kafka_records import NOW_US, Message, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.collector.store.place import StorePlace

BOUNDS = GroupBounds(seconds=3600.0, limit_bytes=2**20, drain_seconds=0.5)


class Record(Message):
    """A record of partition 0."""

    def error(self) -> None:
        return None

    def partition(self) -> int:
        return 0


class Unreadable(Record):
    """A record for which there is no memory."""

    def value(self) -> bytes:
        raise MemoryError


class Asked:
    """A topic of one partition."""

    topic = "events"

    def __init__(self, *ids: str | None, low: int = 0) -> None:
        self.ids = list(ids)
        self.low = low

    def describe(self) -> TopicDescription:
        topic_id = self.ids.pop(0) if len(self.ids) > 1 else self.ids[0]
        if topic_id is None:
            raise TopicMissing(self.topic)
        return TopicDescription(topic_id, 1)

    def watermarks(self, number: int) -> tuple[int, int]:
        return self.low, 100


class Client:
    """A consumer with partition 0: `steps` are called in turn by consume(), once the partition is read."""

    def __init__(self, *steps: Callable[[], list[Any]]) -> None:
        self._steps = list(steps)
        self._calls: dict[str, Any] = {}
        self._assigned = self._reads = False

    def subscribe(self, _: list[str], **calls: Any) -> None:
        self._calls = calls

    def consume(self, _: int, seconds: float) -> list[Any]:
        if not self._assigned:
            self._assigned = True
            self._calls["on_assign"](self, [TopicPartition("events", 0)])
        return self._steps.pop(0)() if self._reads and self._steps else []

    def close(self) -> None:
        with suppress(KeyError):
            self._calls["on_revoke"](self, [TopicPartition("events", 0)])

    def resume(self, _: list[Any]) -> None:
        self._reads = True

    def pause(self, _: list[Any]) -> None:
        self._reads = False

    def incremental_assign(self, _: list[Any]) -> None:
        pass

    def incremental_unassign(self, _: list[Any]) -> None:
        pass

    def get_watermark_offsets(self, _: Any, *, cached: bool) -> tuple[int, int]:
        return 0, 100


def loop_over(client: Client, place: StorePlace) -> ConsumeLoop:
    asked = cast("TopicAsker", Asked("AbC"))
    watch = TopicWatch(asked.describe, ThreadPoolExecutor(1))
    return ConsumeLoop(client, asked, watch, place, BOUNDS, lambda: NOW_US, print)


def record(at: int, kind: type[Record] = Record) -> Record:
    made = message(at, "a", 1, at)
    return kind(made.at, made.content, made.given)


def run_and_stop(place: StorePlace) -> None:
    """Run a loop that is stopped once it has taken a record."""

    def stop() -> list[Any]:
        loop.stop()
        return []

    loop = loop_over(Client(lambda: [record(0)], stop), place)
    loop.run()


def files(place: StorePlace) -> list[str]:
    return [name for name in place.names() if name.endswith(".parquet")]


def test_what_is_gathered_is_written_at_the_end_and_not_after_an_error_in_between() -> None:
    place = BucketPlace("memory://", MemoryStore())
    run_and_stop(place)
    assert len(files(place)) == 1
    place = BucketPlace("memory://", MemoryStore())
    with pytest.raises(MemoryError):
        loop_over(Client(lambda: [record(0)], lambda: [record(1, Unreadable)]), place).run()
    assert files(place) == []


class Watched(Gatherer):
    """Counts how often it is looked at."""

    looks = 0

    @property
    def has_rows(self) -> bool:
        self.looks += 1
        return super().has_rows


def test_at_the_end_a_partition_that_waits_for_its_next_try_is_not_looked_at_without_pause() -> None:
    gatherer = Watched(ChainTip())
    gatherer.take([record(0)], now=0.0, now_us=NOW_US)
    held = HeldPartition(0, key=ChainKey("AbC", 0), gatherer=gatherer, not_before=monotonic() + 3600)
    place = BucketPlace("memory://", MemoryStore())
    asked = cast("TopicAsker", Asked("AbC"))
    steps = PartitionSteps(TopicReader(Client(), "events"), asked, place, BOUNDS, ConsumeTotals())
    steps.finish([held], 0.2)
    steps.close()
    assert 0 < gatherer.looks < 20


def test_while_it_is_ended_a_thread_that_waits_for_the_store_is_alive() -> None:
    gatherer = Gatherer(ChainTip())
    gatherer.take([record(0)], now=0.0, now_us=NOW_US)
    loop = loop_over(Client(), BucketPlace("memory://", MemoryStore()))
    loop.held[0] = HeldPartition(0, key=ChainKey("AbC", 0), gatherer=gatherer, not_before=monotonic() + 3600)
    loop.store_problem = None
    loop.stop()
    since = loop.turned = monotonic() - 3600
    loop.run()
    assert loop.turned > since + 3599


def test_what_retention_took_is_counted_once_however_often_the_partition_is_looked_up() -> None:
    totals, asked = ConsumeTotals(), Asked("AbC", low=50)
    place = BucketPlace("memory://", MemoryStore())
    steps = PartitionSteps(TopicReader(Client(), "events"), cast("TopicAsker", asked), place, BOUNDS, totals)
    held = HeldPartition(0, gatherer=Gatherer(ChainTip(10)), key=ChainKey("AbC", 0))
    seen = []
    for asked.low in (50, 50, 60, 60):
        held.needs_offset = True
        steps.step(held, 0.0)
        assert held.look is not None
        wait([held.look])
        steps.step(held, 0.0)
        seen.append((totals.overrun_records, held.begin))
        if asked.low == 60:  # another had it meanwhile, and stored nothing
            held = HeldPartition(0, gatherer=Gatherer(ChainTip(10)), key=ChainKey("AbC", 0))
    steps.close()
    assert seen == [(40, 50), (40, 50), (50, 60), (50, 60)]


def test_a_topic_that_was_seen_missing_before_it_was_made_anew_is_another() -> None:
    now = 0.0
    with ThreadPoolExecutor(1) as threads:
        watch = TopicWatch(Asked("first", None, "second").describe, threads)

        def turned() -> bool:
            nonlocal now
            now += WATCH_SECONDS + RETRY_SECONDS
            watch.turn(now)
            threads.submit(int).result()
            return watch.turn(now)

        assert [(turned(), watch.topic_id) for _ in range(4)] == [
            (True, "first"),
            (True, None),
            (True, "second"),
            (False, "second"),
        ]
