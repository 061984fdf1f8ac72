"""A collector refuses one event of a batch: that event lies in dead/, and every other one is stored once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgpack
import pyarrow.dataset as ds
import pytest

from abside.collector.app import collector
from abside.collector.settings import CollectorSettings
from abside.collector.store import SCHEMA
from abside.sidecar.ship.shipper import MANY_IN_A_ROW, Shipper, ShipperSettings
from abside.spool.frame import good_frames
from abside.spool.segment import parted, share
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from abside.upstream.contract import Batch, Result, Upstream

NOW_US = 1_790_078_400_000_000
QUICK = ShipperSettings("pod-1", first_seconds=0.001, longest_seconds=0.01, rejected_seconds=0.001, slow_seconds=0.02)
EVENTS = 400


def event(number: int, *, good: bool = True) -> bytes:
    """Return an event that a collector stores, or one whose quantity it refuses."""
    fields = {"event_id": f"e{number:05}", "type": "add_to_cart", "ts": NOW_US, "quantity": 1 if good else "two"}
    packed: bytes = msgpack.packb(fields)
    return packed


def ids(payloads: list[bytes]) -> Counter[str]:
    return Counter(msgpack.unpackb(payload)["event_id"] for payload in payloads)


def numbered(numbers: Any) -> Counter[str]:
    return Counter(f"e{number:05}" for number in numbers)


def start(directory: Path, boot: str = "boot1") -> Spool:
    return Spool.open(SpoolSettings(directory, floor_bytes=0, fsync="never"), boot, lambda: NOW_US)


async def filled(spool: Spool, bad: set[int], events: int = EVENTS) -> None:
    spool.append([event(number, good=number not in bad) for number in range(events)])
    await spool.seal()


def buried(spool: Spool) -> Counter[str]:
    files = (spool.settings.directory / "dead").glob("*.seg")
    return ids([payload for path in files for payload in good_frames(path.read_bytes()).payloads])


def stored(store: Path) -> Counter[str]:
    files = [str(path) for path in store.rglob("*.parquet")]
    return Counter(ds.dataset(files, SCHEMA).to_table(["event_id"])["event_id"].to_pylist()) if files else Counter()


@asynccontextmanager
async def collecting(store: Path) -> AsyncIterator[Upstream]:
    """Run a collector and open the upstream to it."""
    settings = CollectorSettings(store, "127.0.0.1:0", group_seconds=0.001, drain_seconds=1.0)
    async with collector(settings, lambda: NOW_US) as address:
        upstream = open_upstream(f"http://{address}", lambda: NOW_US)
        yield upstream
        await upstream.close()


@asynccontextmanager
async def shipping(shipper: Shipper) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(shipper.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline, "it did not come about within a minute"
        await asyncio.sleep(0.002)


BAD = {
    "the first": {0},
    "one in the middle": {137},
    "the last": {EVENTS - 1},
    "neighbours": {198, 199, 200, 201},
    "scattered": {3, 50, 51, 120, 250, 399},
    "all of a small batch": set(range(40)),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_refused_event_costs_only_itself(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    bad = BAD[name]
    events = len(bad) if name.startswith("all") else EVENTS
    spool = start(tmp_path / "spool")
    await filled(spool, bad, events)
    with caplog.at_level(logging.WARNING):
        async with collecting(tmp_path / "store") as upstream:
            shipper = Shipper(spool, upstream, ShipperSettings("pod-1"), lambda: NOW_US)  # no wait is in between
            async with shipping(shipper):
                await eventually(lambda: shipper.stats.acked_events + shipper.stats.dead_events == events)
    assert spool.sealed() == []
    assert buried(spool) == numbered(bad)
    assert stored(tmp_path / "store") == numbered(set(range(events)) - bad)
    stats = shipper.stats
    assert (stats.acked_events, stats.dead_events, stats.dead_batches) == (events - len(bad), len(bad), len(bad))
    assert stats.rejected >= len(bad)
    assert caplog.text.count("batch_dead") == len(bad)
    assert "batch_refused_for_one_event" in caplog.text
    assert "INVALID_EVENT" in stats.last_error or "WRONG_TYPE" in stats.last_error
    await spool.close()


async def test_a_frame_of_two_events_costs_only_itself(tmp_path: Path) -> None:
    spool = start(tmp_path / "spool")
    events = [event(number) for number in range(EVENTS)]
    events[77] += event(EVENTS)
    spool.append(events)
    await spool.seal()
    async with (
        collecting(tmp_path / "store") as upstream,
        shipping(Shipper(spool, upstream, QUICK, lambda: NOW_US)),
    ):
        await eventually(lambda: not spool.sealed())
    [path] = (spool.settings.directory / "dead").glob("*.seg")
    assert good_frames(path.read_bytes()).payloads == [events[77]]
    assert stored(tmp_path / "store") == numbered(set(range(EVENTS)) - {77})
    await spool.close()


class Killed:
    """An upstream whose sender is killed at its n-th delivery: before the batch arrives, or before the answer does."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, upstream: Upstream, kill_at: int, *, arrived: bool) -> None:
        self.upstream = upstream
        self.left = kill_at
        self.arrived = arrived
        self.reached = asyncio.Event()

    async def send(self, batch: Batch) -> Result:
        self.left -= 1
        if self.left < 0:
            if self.arrived:
                await self.upstream.send(batch)
            self.reached.set()
            await asyncio.Event().wait()
        return await self.upstream.send(batch)

    async def close(self) -> None:
        """The other one is closed by whoever opened it."""


@pytest.mark.parametrize("seed", range(6))
async def test_killed_at_any_moment_while_events_are_refused_nothing_is_lost_or_doubled(
    tmp_path: Path, seed: int
) -> None:
    directory, store = tmp_path / "spool", tmp_path / "store"
    chance = random.Random(seed)
    bad = set(chance.sample(range(EVENTS), 5))
    spool = start(directory)
    await filled(spool, bad)
    await spool.close()
    lives = 0
    async with collecting(store) as upstream:
        while list((directory / "q").glob("*.seg")):
            lives += 1
            spool = start(directory, f"boot{lives}")
            door = Killed(upstream, chance.randrange(8), arrived=chance.random() < 0.5)
            task = asyncio.get_running_loop().create_task(Shipper(spool, door, QUICK, lambda: NOW_US).run())
            await eventually(lambda: door.reached.is_set() or not spool.sealed())  # noqa: B023 those of this life
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            waiting = [
                payload
                for segment in spool.sealed()
                for payload in good_frames(segment.path.read_bytes()).payloads[share(segment.part, EVENTS).start :]
            ]
            acked = stored(store)
            accepted = ids(waiting) + buried(spool) + acked
            assert set(accepted) == set(numbered(range(EVENTS)))
            assert set(acked).isdisjoint(buried(spool))
            assert max(acked.values(), default=1) == max(buried(spool).values(), default=1) == 1
            await spool.close()
    assert lives > 3
    assert buried(spool) == numbered(bad)
    assert stored(store) == numbered(set(range(EVENTS)) - bad)


class RefusesAll:
    """A collector that refuses every event, and names the first one of a batch."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self) -> None:
        self.asked = 0

    async def send(self, batch: Batch) -> Result:
        self.asked += 1
        return Rejected("HTTP 422: INVALID_EVENT at index 0", final=True, some_of_it=True, index=0)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_kind_of_event_that_is_always_refused_is_not_asked_for_one_by_one_for_ever(tmp_path: Path) -> None:
    spool = start(tmp_path / "spool")
    await filled(spool, set(), 4000)
    await filled(spool, set(), 4000)
    upstream = RefusesAll()
    shipper = Shipper(spool, upstream, QUICK, lambda: NOW_US)
    async with shipping(shipper):
        await eventually(lambda: shipper.stats.dead_events == 8000)
    assert spool.sealed() == []
    assert shipper.stats.dead_batches < MANY_IN_A_ROW + 2 * 12, "the rest of both, cut in half twelve times at most"
    assert upstream.asked < 3 * MANY_IN_A_ROW
    assert buried(spool) == numbered(range(4000)) + numbered(range(4000))
    await spool.close()


@pytest.mark.parametrize("count", [2, 3, 7, 400])
def test_the_cursor_leads_to_a_piece_without_the_refused_event_or_to_it_alone(count: int) -> None:
    for bad in range(count):
        part = parted("", count, bad)
        piece = share(part, count)
        assert piece.start == 0
        assert list(piece) == [bad] or (bad not in piece and len(piece) >= 1)


async def test_one_event_that_arrives_ends_the_row(tmp_path: Path) -> None:
    spool = start(tmp_path / "spool")
    await filled(spool, set(), 10)
    shipper = Shipper(spool, RefusesAll(), QUICK, lambda: NOW_US)
    for _ in range(100):
        await shipper._step()
    assert spool.sealed() == []
    assert shipper._in_a_row == 10
    shipper._upstream = type("Takes", (RefusesAll,), {"send": staticmethod(_acked)})()
    await filled(spool, set(), 10)
    await shipper._step()
    assert shipper._in_a_row == 0
    await spool.close()


async def _acked(_: Batch) -> Result:
    return Acked()
