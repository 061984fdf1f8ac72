"""A disk that takes long for an fdatasync: the next segments are begun all the same, and nothing accepted is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import SpoolFailed, SpoolFull
from abside.spool.frame import frame
from abside.spool.queue.reader import read
from abside.spool.write.sealing import MOST_FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from abside.spool.write.writer import Spool

FRAMED = len(frame(b"e" * 92))  # 100 bytes
WAIT_SECONDS = 30.0  # a test that fails does not leave a thread for ever


class SlowDisk:
    """An fdatasync that does not end while the disk is `held`."""

    def __init__(self) -> None:
        self._sync = os.fdatasync
        self._free = threading.Event()
        self._free.set()
        self.waiting = 0
        self.broken = False

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    def __call__(self, handle: int) -> None:
        self.waiting += 1
        self._free.wait(WAIT_SECONDS)
        self.waiting -= 1
        if self.broken:
            raise OSError(5, "Input/output error")
        self._sync(handle)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk()
    monkeypatch.setattr(os, "fdatasync", slow)
    yield slow
    slow.release()


@asynccontextmanager
async def running(spool: Spool) -> AsyncIterator[None]:
    tasks = asyncio.gather(spool.run(), spool.run_ahead())
    try:
        yield
        assert not tasks.done()
    finally:
        tasks.cancel()
        with suppress(asyncio.CancelledError):
            await tasks


def event(number: int) -> bytes:
    return b"%092d" % number


async def fill(spool: Spool, segments: int, eventually: Any, events: int = 10) -> None:
    """Append so many segments' worth, each as soon as the next is begun."""
    for _ in range(segments):
        begun = spool._open
        for _ in range(events):
            spool.append([event(spool.stats.appended_events)])
        await eventually(lambda: spool._open is not begun)  # noqa: B023 awaited here


def refusal(spool: Spool) -> str:
    """Append until it is refused, and return why."""
    for _ in range(100):
        try:
            spool.append([event(spool.stats.appended_events)])
        except SpoolFull as exc:
            return exc.reason
    return ""


async def contents(spool: Spool) -> list[list[bytes]]:
    return [(await read(segment)).payloads for segment in spool.sealed()]


def batches(count: int, events: int = 10) -> list[list[bytes]]:
    return [[event(first + number) for number in range(events)] for first in range(0, count * events, events)]


SMALL: dict[str, Any] = {"fsync": "interval", "seal_events": 10, "seal_growth": 1, "seal_seconds": 3600.0}


@pytest.mark.parametrize("cause", ["seal", "sync"])
async def test_while_an_fdatasync_takes_long_the_next_segments_are_begun(
    open_spool: Any, disk: SlowDisk, eventually: Any, cause: str
) -> None:
    spool = open_spool(**SMALL, max_open_bytes=25 * FRAMED, fsync_seconds=0.02)
    async with running(spool):
        await asyncio.sleep(0)  # it has looked at the clock
        disk.hold()
        if cause == "seal":
            await fill(spool, 1, eventually)
        else:
            spool.append([event(0)])
            open_spool.clock.seconds += 1.0
        await eventually(lambda: disk.waiting == 1)
        if cause == "sync":
            await fill(spool, 1, eventually, events=9)
        await fill(spool, 3, eventually)  # more than the open one may have
        assert (spool.sealed(), spool.stats.full_events, disk.waiting) == ([], 0, 1)
        disk.release()
        await eventually(lambda: len(spool.sealed()) * 10 == spool.stats.appended_events)
    assert await contents(spool) == batches(len(spool.sealed()))


@pytest.mark.parametrize("end", ["released", "killed", "the disk fails"])
async def test_all_that_waits_for_a_slow_disk_is_sealed_in_order_whatever_happens(
    open_spool: Any, disk: SlowDisk, eventually: Any, payloads_in: Any, end: str
) -> None:
    spool = open_spool(**SMALL, max_open_bytes=25 * FRAMED)
    queue = open_spool.directory / "q"
    async with running(spool):
        disk.hold()
        await fill(spool, MOST_FILES, eventually)
        assert refusal(spool) == "stuck"
        assert spool.stats.full_events == 1
        accepted = [event(number) for number in range(spool.stats.appended_events)]
        assert payloads_in(queue) == accepted
        assert spool.used_bytes == sum(path.stat().st_size for path in queue.iterdir())
        if end == "killed":  # a new process finds this
            image = shutil.copytree(queue, open_spool.directory.parent / "image" / "q")
            disk.release()
            await spool.close()
            open_spool.directory = image.parent
            spool = open_spool("boot2")
            assert spool.stats.recovered_events == len(accepted)
        else:
            disk.broken = end == "the disk fails"
            disk.release()
            await eventually(lambda: sum(one.events for one in spool.sealed()) == len(accepted))
            assert bool(spool.stats.failures) == disk.broken
    assert [payload for batch in await contents(spool) for payload in batch] == accepted
    numbers = [segment.seq for segment in spool.sealed()]
    assert numbers == sorted(numbers)


async def test_one_that_cannot_be_sealed_is_waited_for_and_those_behind_it_are_durable(
    open_spool: Any, disk: SlowDisk, eventually: Any
) -> None:
    spool = open_spool(**SMALL | {"fsync": "always"}, max_open_bytes=25 * FRAMED)
    obstacle = spool._open.path.with_suffix(".seg")
    obstacle.mkdir()
    async with running(spool):
        await fill(spool, 3, eventually)
        spool.append([event(30)])
        await spool.sync()
        assert (spool._durable, spool.sealed()) == (spool.stats.appended_bytes, [])
        disk.broken = True
        spool.append([event(31)])
        with pytest.raises(SpoolFailed, match="make durable"):
            await spool.sync()
        disk.broken = False
        obstacle.rmdir()
        await eventually(lambda: len(spool.sealed()) == 3)
    assert await contents(spool) == batches(3)


async def test_each_segment_begun_ahead_has_its_account(open_spool: Any, disk: SlowDisk, eventually: Any) -> None:
    spool = open_spool(**SMALL, max_open_bytes=50 * FRAMED)
    spool.before_seal = lambda: [b"account of %d" % spool.stats.appended_events]
    async with running(spool):
        disk.hold()
        await fill(spool, 3, eventually)
        disk.release()
        await eventually(lambda: len(spool.sealed()) == 3)
    assert [batch[-1] for batch in await contents(spool)] == [b"account of 10", b"account of 21", b"account of 32"]


async def test_what_waits_in_memory_has_twice_the_bound_of_one(
    open_spool: Any, disk: SlowDisk, eventually: Any, tmp_path: Any
) -> None:
    spool = open_spool(**SMALL, max_open_bytes=25 * FRAMED, open_directory=tmp_path / "memory")
    async with running(spool):
        disk.hold()
        await fill(spool, 1, eventually)
        await fill(spool, 1, eventually, events=13)  # half the bound: each is copied by itself
        assert refusal(spool) == "stuck"
        sizes = sum(path.stat().st_size for path in (tmp_path / "memory").glob("*.open"))
        assert (sizes, spool.sealed()) == (spool.used_bytes, [])
        assert sizes <= 2 * 25 * FRAMED < sizes + 4 * FRAMED
        disk.release()
        await eventually(lambda: sum(one.events for one in spool.sealed()) == spool.stats.appended_events)
