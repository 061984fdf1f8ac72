"""Several batches are on their way at once: each is answered by itself, and no order or answer loses or doubles one."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgpack
import pyarrow.dataset as ds
import pytest

from abside.collector.app import collector
from abside.collector.settings import CollectorSettings
from abside.collector.store import SCHEMA
from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.frame import good_frames
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

    Until = Callable[..., Awaitable[None]]

MOST = 8
EVENT_BYTES = 8
QUICK = ShipperSettings("h", first_seconds=0.0005, longest_seconds=0.002, rejected_seconds=0.0005, slow_seconds=0.002)


def start(directory: Path, boot: str = "boot1") -> Spool:
    return Spool.open(SpoolSettings(directory, floor_bytes=0, fsync="never"), boot, lambda: 1)


async def filled(spool: Spool, segments: int, events: int = 8) -> list[bytes]:
    """Seal segments of events, and return the events."""
    accepted = []
    for _ in range(segments):
        first = spool.stats.appended_events
        payloads = [b"ev%06d" % (first + number) for number in range(events)]
        spool.append(payloads)
        await spool.seal()
        accepted += payloads
    return accepted


def segment_of(batch_id: str) -> str:
    return batch_id.split(".")[1]


def left(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.settings.directory / "q").glob("*.seg"))


def dead(spool: Spool) -> Counter[bytes]:
    files = (spool.settings.directory / "dead").glob("*.seg")
    return Counter(payload for path in files for payload in good_frames(path.read_bytes()).payloads)


class Door:
    """An upstream of which a test answers each batch, when and as it likes; `waiting` is what has no answer yet."""

    takes_large = True
    in_order = False

    def __init__(self, in_flight: int = MOST) -> None:
        self.in_flight = in_flight
        self.waiting: dict[str, asyncio.Future[Result]] = {}
        self.payloads: dict[str, bytes] = {}
        self.flying: set[str] = set()
        self.tried: list[str] = []
        self.most = 0

    async def send(self, batch: Batch) -> Result:
        segment = segment_of(batch.id)
        assert segment not in self.flying, "one segment, one flight"
        self.flying.add(segment)
        self.most = max(self.most, len(self.flying))
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.waiting[batch.id] = answer
        self.payloads[batch.id] = batch.payload
        self.tried.append(batch.id)
        try:
            return await answer
        finally:
            self.flying.remove(segment)
            self.waiting.pop(batch.id, None)

    def answer(self, number: int, result: Result) -> str:
        """Answer the n-th of those that wait, by when they were sent; return its segment."""
        batch_id = list(self.waiting)[number]
        self.waiting.pop(batch_id).set_result(result)
        return segment_of(batch_id)

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def shipping(spool: Spool, door: Any, settings: ShipperSettings = QUICK) -> AsyncIterator[Shipper]:
    shipper = Shipper(spool, door, settings, lambda: 1)
    task = asyncio.get_running_loop().create_task(shipper.run())
    try:
        yield shipper
        assert shipper._draining or not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert shipper.in_flight == 0


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = start(tmp_path / "spool")
    yield opened
    await opened.close()


async def test_eight_are_in_flight_and_each_is_unlinked_by_itself(spool: Spool, until: Until) -> None:
    await filled(spool, MOST + 3)
    names, door = left(spool), Door()
    async with shipping(spool, door) as shipper:
        await until(lambda: len(door.waiting) == MOST)
        assert [f"{segment_of(one)}.seg" for one in door.tried] == names[:MOST], "the oldest first"
        assert shipper.in_flight == MOST
        for number in (7, 3, 0):
            names.remove(f"{door.answer(number, Acked())}.seg")
            await until(lambda: left(spool) == names and len(door.waiting) == MOST)
        assert [f"{segment_of(one)}.seg" for one in door.tried[MOST:]] == names[-3:]
        await filled(spool, 1)
        for _ in range(MOST + 1):
            await until(lambda: bool(door.waiting))
            door.answer(-1, Acked(duplicate=True))
            await asyncio.sleep(0)
        await until(lambda: not left(spool))
    assert (shipper.stats.acked_batches, shipper.stats.duplicates, door.most) == (MOST + 4, MOST + 1, MOST)


async def test_an_upstream_that_takes_one_has_one(spool: Spool, until: Until) -> None:
    await filled(spool, 4)
    door = Door(in_flight=1)
    async with shipping(spool, door):
        while left(spool):
            await until(lambda: bool(door.waiting) or not left(spool))
            for _ in list(door.waiting):
                door.answer(0, Acked())
    assert (door.most, len(door.tried)) == (1, 4)
    assert door.tried == sorted(door.tried)


async def test_large_segments_are_in_flight_by_their_bytes(spool: Spool, until: Until) -> None:
    for _ in range(5):
        spool.append([b"x" * 64 * 1024] * 96)  # 6 MiB
        await spool.seal()
    door = Door()
    async with shipping(spool, door):
        for waiting in (5, 4, 3, 2, 1):
            await until(lambda: len(door.waiting) == min(3, waiting))  # noqa: B023 awaited here
            door.answer(0, Acked())
            await until(lambda: len(left(spool)) == waiting - 1)  # noqa: B023 awaited here
    assert door.most == 3


async def test_after_a_failure_one_goes_alone_and_each_that_arrives_brings_one_more(
    spool: Spool, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool, 24)
    names, door = left(spool), Door()
    with caplog.at_level(logging.INFO):
        async with shipping(spool, door) as shipper:
            await until(lambda: len(door.waiting) == MOST)
            for _ in range(MOST - 1):
                door.answer(0, Retry("HTTP 503"))
            await until(lambda: len(door.waiting) == 1 and shipper.stats.retries == MOST - 1)
            assert shipper._patience.backoff.attempt == 1, "seven failures at once are one"
            door.answer(0, Acked())  # it was sent before: no sign that the upstream is well
            await until(lambda: len(left(spool)) == 23)
            await until(lambda: len(door.tried) == MOST + 1)
            assert (len(door.waiting), shipper.stats.failing_since_us) == (1, 1)
            assert f"{segment_of(door.tried[-1])}.seg" == names[MOST], "the oldest that has not failed"
            door.answer(0, Retry("HTTP 503"))
            await until(lambda: len(door.tried) == MOST + 2)
            assert (len(door.waiting), shipper._patience.backoff.attempt) == (1, 2)
            for flying in range(2, MOST + 1):
                door.answer(0, Acked())
                await until(lambda: len(door.waiting) == flying)  # noqa: B023 awaited here
            assert (shipper.stats.failing_since_us, shipper._patience.backoff.attempt) == (0, 0)
    assert caplog.text.count("upstream_failing") == 1
    assert caplog.text.count("upstream_recovered") == 1


async def test_a_batch_that_fails_each_time_waits_alone_by_name_and_all_others_arrive(
    spool: Spool, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool, 24)
    door, poison = Door(), left(spool)[0].removesuffix(".seg")

    async def serve(ill: bool) -> None:
        while len(left(spool)) > ill:
            await until(lambda: bool(door.waiting) or len(left(spool)) <= ill)
            for batch_id in list(door.waiting):
                its_turn = ill and segment_of(batch_id) == poison
                door.answer(0, Retry("HTTP 403", loud=True) if its_turn else Acked())

    settings = ShipperSettings("h", first_seconds=0.0005, longest_seconds=0.002, slow_seconds=0.05)
    async with shipping(spool, door, settings) as shipper:
        await serve(ill=True)
        for _ in range(4):
            await filled(spool, 12)
            await serve(ill=True)
        assert left(spool) == [f"{poison}.seg"]
        assert {name: one.reason for name, one in shipper.turns.alone.items()} == {poison: "HTTP 403"}
        assert (shipper.stats.failing_since_us, shipper.stats.loud) == (0, "")
        assert shipper._patience.in_flight > 1
        await serve(ill=False)
        await until(lambda: not shipper.turns.alone)
    assert caplog.text.count(f"segment_waits_alone segment={poison}") == 1
    assert caplog.text.count("upstream_needs_a_person") == 1, "the first failure may be the upstream's"
    assert shipper.stats.acked_batches == 24 + 4 * 12


async def test_where_the_order_counts_none_passes_a_batch_that_fails(spool: Spool, until: Until) -> None:
    await filled(spool, 4)
    door = Door(in_flight=1)
    async with shipping(spool, door) as shipper:
        for tries in range(1, 20):
            await until(lambda: bool(door.waiting))
            assert (len(door.tried), len(set(door.tried))) == (tries, 1)
            door.answer(0, Retry("HTTP 503"))
        await until(lambda: bool(door.waiting))
        door.answer(0, Acked())
        await until(lambda: len(set(door.tried)) == 2)
        assert not shipper.turns.alone


async def test_what_fails_with_its_upstream_does_not_wait_alone_when_that_is_back(
    spool: Spool, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool, 12)
    door = Door()
    async with shipping(spool, door) as shipper:
        for _ in range(3):  # it is away, for longer than each has been tried, and comes back for one batch
            tries = len(door.tried) + 40
            while len(door.tried) < tries:
                await until(lambda: bool(door.waiting))
                for _ in list(door.waiting):
                    door.answer(0, Retry("HTTP 503"))
            await until(lambda: len(door.waiting) == 1)
            door.answer(0, Acked())
            await until(lambda: len(door.waiting) == 2)
        assert shipper.stats.failing_since_us == 0
        assert len(shipper.turns.alone) <= 2, "one that fails first is not told from one that fails alone"
    assert len(set(door.tried)) == 12, "the turn goes round"


async def test_the_longest_wait_that_any_answer_asks_for_holds_for_all(spool: Spool, until: Until) -> None:
    await filled(spool, 10)
    door = Door()
    async with shipping(spool, door, ShipperSettings("h", slow_seconds=900.0)) as shipper:
        await until(lambda: len(door.waiting) == MOST)
        door.answer(0, Retry("HTTP 503"))
        door.answer(1, Retry("HTTP 429", after_seconds=100.0))
        door.answer(2, Retry("HTTP 401", loud=True))
        door.answer(3, Acked())
        await until(lambda: shipper.in_flight == 4)
        assert 450.0 <= shipper._patience.until_next() <= 900.0
        assert (len(door.tried), shipper.stats.loud) == (MOST, "HTTP 401")


async def test_what_one_batch_needs_costs_none_of_its_neighbours(spool: Spool, until: Until) -> None:
    accepted = await filled(spool, 4)
    door = Door()
    async with shipping(spool, door) as shipper:
        await until(lambda: len(door.waiting) == 4)
        door.answer(0, TooLarge())
        door.answer(0, Rejected("HTTP 422", final=True, some_of_it=True, index=7))
        while left(spool):
            await until(lambda: bool(door.waiting) or not left(spool))
            for batch_id in list(door.waiting):
                index = door.payloads[batch_id].find(accepted[15]) // EVENT_BYTES
                refused = Rejected("HTTP 422", final=True, some_of_it=True, index=index)
                door.answer(0, Acked() if index < 0 else refused)
    assert dead(spool) == Counter([accepted[15]])
    assert shipper.stats.acked_events == len(accepted) - 1
    assert (shipper.stats.halved, shipper.stats.retries) == (1, 0)


async def test_a_drain_waits_for_all_in_flight_and_ships_the_rest(spool: Spool, until: Until) -> None:
    await filled(spool, 12)
    door = Door()
    async with shipping(spool, door) as shipper:
        await until(lambda: len(door.waiting) == MOST)
        draining = asyncio.gather(shipper.drain(60.0))
        for _ in range(12):
            await until(lambda: bool(door.waiting))
            assert not draining.done()
            door.answer(-1, Acked())
            await asyncio.sleep(0)
        await draining
    assert (left(spool), len(door.tried), door.most) == ([], 12, MOST)


async def test_a_drain_cuts_off_what_is_in_flight_at_its_deadline_and_leaves_it(spool: Spool, until: Until) -> None:
    await filled(spool, 10)
    door = Door()
    async with shipping(spool, door) as shipper:
        await until(lambda: len(door.waiting) == MOST)
        await shipper.drain(0.05)
        assert (len(door.waiting), shipper.in_flight) == (0, 0)
    assert len(left(spool)) == 10


async def test_a_collector_that_restarts_with_eight_in_flight_stores_each_event_once(
    tmp_path: Path, until: Until
) -> None:
    spool = start(tmp_path / "spool", boot="boot2")
    for segment in range(40):
        spool.append(
            [msgpack.packb({"event_id": f"e{segment}-{n}", "type": "click", "ts": 1}) for n in range(EVENT_BYTES)]
        )
        await spool.seal()
    store = tmp_path / "store"
    address, most = "127.0.0.1:0", 0
    async with AsyncExitStack() as stack:
        shipper = None
        for lasts in (16, 24, 40):
            settings = CollectorSettings(store, address, group_seconds=0.05, drain_seconds=0.01)
            async with collector(settings, lambda: 1) as address:
                if shipper is None:
                    upstream = open_upstream(f"http://{address}", lambda: 1)
                    stack.push_async_callback(upstream.close)
                    shipper = await stack.enter_async_context(shipping(spool, upstream))
                await until(lambda: shipper.stats.acked_batches >= lasts)  # noqa: B023 awaited here
                most = max(most, shipper.in_flight)
        await until(lambda: not left(spool))
    files = [str(path) for path in store.rglob("*.parquet")]
    stored = ds.dataset(files, SCHEMA).to_table(["event_id"])["event_id"].to_pylist()
    assert Counter(stored) == Counter(f"e{segment}-{n}" for segment in range(40) for n in range(EVENT_BYTES))
    assert most > 1
    await spool.close()
