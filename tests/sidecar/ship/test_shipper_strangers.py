"""A stranger answers where the collector was, for a while: nothing is unlinked, buried or sent in a rush."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

START_US = 1_700_000_000_000_000
SEGMENTS, EVENTS = 6, 64
QUICK = ShipperSettings("pod-1", first_seconds=0.001, longest_seconds=0.01, rejected_seconds=0.001, slow_seconds=0.02)


@dataclass(slots=True)
class Clock:
    us: int = START_US

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool.open(SpoolSettings(tmp_path / "spool", floor_bytes=0, fsync="never"), "boot1", lambda: START_US)
    yield opened
    asyncio.run(opened.close())


async def filled(spool: Spool, segments: int = SEGMENTS) -> int:
    """Seal segments of events, and return how many events were accepted."""
    for number in range(segments):
        spool.append([msgpack.packb({"type": "click", "n": number * EVENTS + n}) for n in range(EVENTS)])
        await spool.seal()
    return segments * EVENTS


def dead(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.settings.directory / "dead").glob("*.seg"))


def response(status: int, body: bytes = b"", content_type: str = "text/html", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body if status != 204 else b"")


@dataclass(slots=True)
class Door:
    """A socket where the stranger's bytes are the answer, or, where there are none, the collector's."""

    stranger: Callable[[], bytes]
    url: str = ""
    asked: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                named = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head}
                body = await reader.readexactly(int(named["content-length"]))
                self.asked += 1
                written = self.stranger() or self.collect(named, body)
                writer.write(written)
                await writer.drain()
                if b"Content-Length" not in written:
                    break
        writer.close()

    def collect(self, named: dict[str, str], body: bytes) -> bytes:
        known = named["idempotency-key"] in self.stored
        self.stored.setdefault(named["idempotency-key"], body)
        word = {"batch": named["idempotency-key"], "events": int(named["x-batch-count"]), "status": "stored"}
        return response(208 if known else 200, orjson.dumps(word), "application/json")

    def events(self) -> Counter[int]:
        return Counter(event["n"] for body in self.stored.values() for event in msgpack.Unpacker(BytesIO(body)))


@asynccontextmanager
async def door(stranger: Callable[[], bytes]) -> AsyncIterator[Door]:
    made = Door(stranger)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, limit=2**20)
    host, port = server.sockets[0].getsockname()[:2]
    made.url = f"http://{host}:{port}"
    yield made
    server.close()


@asynccontextmanager
async def shipping(shipper: Shipper) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(shipper.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


STRANGERS = {
    "a login page": response(200, b"<html>log in</html>"),
    "JSON of something else": response(200, b'{"status":"ok"}', "application/json"),
    "another batch, from a cache": response(200, b'{"batch":"b","events":64}', "application/json"),
    "nothing": response(204),
    "a redirect": response(302, b"", "text/html", "Location: /login"),
    "not found": response(404, b"<html>nginx</html>"),
    "too large": response(413, b"<html>nginx</html>"),
    "unprocessable": response(422, b'{"detail":"no such field"}', "application/json"),
    "forbidden": response(403, b"<html>"),
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_a_stranger_in_between_costs_nothing_and_everything_arrives_once_when_it_is_gone(
    spool: Spool, until: Callable[..., Awaitable[None]], name: str
) -> None:
    accepted = await filled(spool)
    there = [True]
    async with door(lambda: STRANGERS[name] if there else b"") as made:
        upstream = open_upstream(made.url, lambda: START_US, encoding="identity")
        shipper = Shipper(spool, upstream, QUICK, Clock())
        async with shipping(shipper) as task:
            await until(lambda: made.asked >= 12)
            stats = shipper.stats
            assert (stats.acked_events, stats.dead_events, stats.halved, stats.rejected) == (0, 0, 0, 0)
            assert len(spool.sealed()) == SEGMENTS
            assert stats.loud
            there.clear()
            await until(lambda: not spool.sealed())
            assert not task.done()
        await upstream.close()
    assert made.events() == Counter(range(accepted))
    assert (shipper.stats.acked_events, shipper.stats.loud, dead(spool)) == (accepted, "", [])


WISHES = [
    *("9" * 5000, "-1", "1e400", "nan", "-inf", "1_0", "[1, 2]", "", ";", "\udcff\udcd9", "14 Nov", "()", "0x10"),
    "Tue, 14 Nov 99999999999 22:13:20 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Tue, 14 Nov 2023 22:13:20 +99999999999999999999",
    "Tue, 14 Nov 2023 99999999999:1:1 GMT",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "1\r\nRetry-After: 2",
    "0\r\nDate: Tue, 14 Nov 99999999999 22:13:20 GMT",
]


async def test_no_wish_of_any_shape_ends_shipping(spool: Spool, until: Callable[..., Awaitable[None]]) -> None:
    accepted = await filled(spool, 1)
    wishes = [
        (status, header, wish)
        for status in (200, 404, 429, 503)
        for header in ("Retry-After", "Date")
        for wish in WISHES
    ]

    def stranger() -> bytes:
        if not wishes:
            return b""
        status, header, wish = wishes.pop()
        head = f"HTTP/1.1 {status} X\r\n{header}: {wish}\r\n"
        if header == "Date":
            head += "Retry-After: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        return head.encode("utf-8", "surrogateescape") + b"Content-Length: 0\r\n\r\n"

    settings = ShipperSettings(
        "pod-1", first_seconds=0.001, longest_seconds=0.01, slow_seconds=0.002, max_retry_after_seconds=0.01
    )
    async with door(stranger) as made:
        upstream = open_upstream(made.url, lambda: START_US, encoding="identity")
        async with shipping(Shipper(spool, upstream, settings, Clock())) as task:
            await until(lambda: not spool.sealed() or task.done())
            assert not task.done()
        await upstream.close()
    assert made.events() == Counter(range(accepted))


class Scripted:
    """An upstream that gives one answer for ever, or raises."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, answer: Result | Exception) -> None:
        self.answer = answer
        self.tried: list[str] = []

    async def send(self, batch: Batch) -> Result:
        self.tried.append(batch.id)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("answer", [TooLarge(), Rejected("HTTP 404: nothing here")])
async def test_whoever_refuses_everything_is_asked_more_and_more_slowly(spool: Spool, answer: Result) -> None:
    await filled(spool, 21)
    shipper = Shipper(spool, Scripted(answer), ShipperSettings("pod-1"), Clock())
    shipper._patience.backoff.chance = random.Random(1)
    waits = [await shipper._step() for _ in range(60)]
    assert sum(waits) > 400.0, "without waits these steps are a loop on one core"
    assert sum(1 for wait in waits if wait == 0.0) == 0
    assert max(waits) <= 30.0 + 5.0
    shipper._upstream.answer = Acked()  # type: ignore[attr-defined]
    await shipper._step()
    assert await shipper._step() == 0.0
    assert shipper._patience.backoff.attempt == 0


async def test_an_upstream_that_raises_is_a_loud_retry(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    await filled(spool, 1)
    shipper = Shipper(spool, Scripted(RuntimeError("a bug")), QUICK, Clock())
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            await shipper._step()
    assert "delivery_broke" in caplog.text
    assert shipper.stats.loud == "the delivery broke: RuntimeError, see the log"
    assert len(spool.sealed()) == 1


async def test_what_fails_is_logged_when_it_changes_and_once_a_minute(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool, 1)
    clock = Clock()
    upstream = Scripted(Retry("HTTP 503: sick"))
    shipper = Shipper(spool, upstream, ShipperSettings("pod-1"), clock)

    async def lines(tries: int, seconds_apart: float) -> list[str]:
        caplog.clear()
        for _ in range(tries):
            clock.us += int(seconds_apart * 1_000_000)
            await shipper._step()
        return [record.message for record in caplog.records]

    with caplog.at_level(logging.INFO):
        assert len(await lines(30, 0.1)) == 1
        assert len(await lines(30, 10.0)) == 5
        upstream.answer = Retry("HTTP 200: a page", loud=True)
        [first, *_rest] = await lines(30, 0.1)
        assert not _rest
        assert "upstream_needs_a_person" in first
        assert len(await lines(30, 10.0)) == 5
        upstream.answer = Acked()
        assert "upstream_recovered" in (await lines(1, 1.0))[0]


async def test_what_nobody_of_ours_explains_becomes_loud_after_a_minute(
    spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(spool, 1)
    clock = Clock()
    upstream = Scripted(Retry("HTTP 503: a page", unheard=True))
    shipper = Shipper(spool, upstream, ShipperSettings("pod-1"), clock)

    async def tries(count: int) -> str:
        for _ in range(count):
            clock.us += 10_000_000
            await shipper._step()
        return shipper.stats.loud

    with caplog.at_level(logging.ERROR):
        assert await tries(6) == ""
        assert not caplog.records
        assert await tries(1) == "HTTP 503: a page"
        assert "upstream_needs_a_person" in caplog.text
        upstream.answer = Retry("HTTP 503: BUSY")  # our collector's word: it is there
        assert await tries(20) == ""
        upstream.answer = Retry("HTTP 503: a page", unheard=True)
        assert await tries(6) == ""
        assert await tries(1) == "HTTP 503: a page"
        upstream.answer = Acked()
        assert await tries(1) == ""


async def test_a_stranger_shows_in_status_and_metrics(
    start: Callable[..., Awaitable[Any]], until: Callable[..., Awaitable[None]]
) -> None:
    there = [True]
    async with door(lambda: STRANGERS["a login page"] if there else b"") as made:
        running = await start(upstream=made.url, seal_seconds=0.05)
        assert (await running.status())["degraded"] is False
        assert (await running.post("/v1/events", {"type": "click", "user_id": "u1"})).status == 202
        await until(lambda: bool(running.sidecar.shipper.stats.loud))
        status = await running.status()
        assert status["degraded"] is True
        assert "something else answers at this address" in status["upstream"]["loud"]
        metrics = await running.metrics()
        assert metrics["abside_upstream_needs_a_person"] == 1
        assert metrics["abside_upstream_acked_events_total"] == 0
        there.clear()
        await running.sidecar.drain()
    assert running.sidecar.shipper.stats.loud == ""
