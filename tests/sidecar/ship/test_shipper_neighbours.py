"""One segment or one record that is wrong never costs its neighbours, nor the shipping of what comes after."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.frame import good_frames
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

NOW_US = 1_700_000_000_000_000
USUAL = ShipperSettings("pod-1", first_seconds=20.0, longest_seconds=600.0)  # who waits for another is seen to
EVENTS = 64


class Store:
    """An upstream that does something with each batch before it keeps it."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, meanwhile: Callable[[Batch], Result | None] = lambda _: None) -> None:
        self.meanwhile = meanwhile
        self.stored: dict[str, bytes] = {}

    async def send(self, batch: Batch) -> Result:
        if (result := self.meanwhile(batch)) is not None:
            return result
        self.stored.setdefault(batch.id, batch.payload)
        return Acked()

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def events(self) -> list[int]:
        unpacker = msgpack.Unpacker()
        for payload in self.stored.values():
            unpacker.feed(payload)
        return sorted(event["n"] for event in unpacker)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool.open(SpoolSettings(tmp_path / "spool", floor_bytes=0, fsync="never"), "boot1", lambda: NOW_US)
    yield opened
    asyncio.run(opened.close())


async def filled(spool: Spool, segments: int = 5) -> None:
    for number in range(segments):
        spool.append([msgpack.packb({"n": number * EVENTS + n}) for n in range(EVENTS)])
        await spool.seal()


def of(*segments: int) -> list[int]:
    return [number * EVENTS + n for number in segments for n in range(EVENTS)]


@asynccontextmanager
async def shipping(shipper: Shipper) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(shipper.run())
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_segments_that_cannot_be_read_wait_alone(
    spool: Spool, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool)
    for segment in spool.sealed()[:2]:
        segment.path.unlink()
        segment.path.mkdir()  # opens and cannot be read
    store = Store()
    shipper = Shipper(spool, store, USUAL, lambda: NOW_US)
    with caplog.at_level(logging.ERROR):
        async with shipping(shipper):
            await until(lambda: store.events == of(2, 3, 4))
            await filled(spool, 1)  # comes while all that waits waits alone
            await until(lambda: store.events == sorted(of(0, 2, 3, 4)))
    assert len(spool.sealed()) == 2
    assert shipper.stats.unreadable >= 2
    assert "is a directory" in shipper.stats.last_error
    assert caplog.text.count("segment_waits_alone") == 2, "logged once for each"


async def test_a_segment_that_somebody_removed_is_counted_with_its_events(spool: Spool, until: Any) -> None:
    await filled(spool)
    spool.sealed()[1].path.unlink()
    store = Store()
    shipper = Shipper(spool, store, USUAL, lambda: NOW_US)
    async with shipping(shipper):
        await until(lambda: not spool.sealed())
    assert store.events == of(0, 2, 3, 4)
    assert (spool.stats.lost_segments, spool.stats.lost_events) == (1, EVENTS)


async def test_what_dead_does_not_take_waits_alone(spool: Spool, until: Any) -> None:
    await filled(spool)
    refused = spool.sealed()[0]
    obstacle = spool.settings.directory / "dead" / refused.path.name
    obstacle.mkdir()
    store = Store(lambda batch: Rejected("no", final=True) if batch.id.endswith(refused.name) else None)
    shipper = Shipper(spool, store, USUAL, lambda: NOW_US)
    async with shipping(shipper):
        await until(lambda: store.events == of(1, 2, 3, 4))
    assert spool.sealed() == [refused]
    assert "could not bury" in shipper.stats.last_error


async def test_a_file_that_cannot_be_unlinked_is_said_and_the_others_go_on(
    spool: Spool, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool)
    first = spool.sealed()[0]

    def exchange(batch: Batch) -> None:
        if batch.id.endswith(first.name):
            first.path.unlink()
            first.path.mkdir()

    store = Store(exchange)
    shipper = Shipper(spool, store, USUAL, lambda: NOW_US)
    with caplog.at_level(logging.ERROR):
        async with shipping(shipper):
            await until(lambda: not spool.sealed())
    assert store.events == of(0, 1, 2, 3, 4)
    assert f"segment_not_unlinked segment={first.name}" in caplog.text
    assert spool.stats.failures == 1
    assert shipper.stats.acked_events == 5 * EVENTS


async def test_a_bug_that_one_batch_meets_does_not_keep_the_others(spool: Spool, until: Any) -> None:
    await filled(spool)
    first = spool.sealed()[0]

    def stumble(batch: Batch) -> None:
        if batch.id.endswith(first.name):
            raise RecursionError

    store = Store(stumble)
    settings = ShipperSettings("pod-1", first_seconds=0.001, longest_seconds=0.01, slow_seconds=600.0)
    async with shipping(Shipper(spool, store, settings, lambda: NOW_US)):
        await until(lambda: store.events == of(1, 2, 3, 4))
    assert spool.sealed() == [first]


@asynccontextmanager
async def receiver_of_json() -> AsyncIterator[tuple[str, list[Any]]]:
    """Listen for JSON arrays; give the address and the list that their events go into."""
    events: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                events.extend(orjson.loads(await reader.readexactly(size)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}/?format=json_array", events
    server.close()


@pytest.mark.parametrize(
    "odd",
    [
        b"\x81\xc4\x01a\x01",  # a key that is binary
        b"\x81\x01\x02",  # a key that is a number
        b"\x01",  # no map
        b"\xc1",  # no msgpack
        b"\x82\xa1n\x01",  # half a map
        b"\x81\xa1n\x01\x81\xa1n\x02",  # two of them in one frame
        b"\x81\xa1n" + b"\x91" * 600 + b"\x01",  # deeper than a reader goes
    ],
)
async def test_a_record_that_json_cannot_hold_dies_alone(spool: Spool, until: Any, odd: bytes) -> None:
    payloads = [msgpack.packb({"n": n}) for n in range(EVENTS)]
    spool.append([*payloads[:40], odd, *payloads[40:]])
    await spool.seal()
    await filled(spool, 1)
    async with receiver_of_json() as (url, events):
        upstream = open_upstream(url, lambda: NOW_US)
        shipper = Shipper(spool, upstream, USUAL, lambda: NOW_US)
        async with shipping(shipper):
            await until(lambda: not spool.sealed())
        await upstream.close()
    assert sorted(event["n"] for event in events) == sorted(of(0, 0))
    [path] = (spool.settings.directory / "dead").glob("*.seg")
    assert good_frames(path.read_bytes()).payloads == [odd]
    assert (shipper.stats.dead_events, shipper.stats.acked_events) == (1, 2 * EVENTS)
    assert "the batch cannot be sent as JSON" in path.with_name(path.name + ".reason").read_text()
