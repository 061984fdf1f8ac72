"""A load generator in one process: raw HTTP, kept connections, one request in flight on each, fresh ids in each."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import uvloop


@dataclass(frozen=True)
class Load:
    """What was measured: each request's time in µs, and the seconds it took."""

    micros: list[float]
    seconds: float
    wrong: int  # answers that were not 200

    def at(self, share: float) -> float:
        """Give a percentile in µs: 0.5, 0.99, 0.999."""
        ordered = sorted(self.micros)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]

    @property
    def a_second(self) -> float:
        """Requests a second."""
        return len(self.micros) / self.seconds


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, numbers: itertools.count[int], until: float, done: asyncio.Future[None]) -> None:
        self.numbers = numbers
        self.until = until
        self.done = done
        self.micros: list[float] = []
        self.wrong = 0
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        number = next(self.numbers)
        body = b'{"placement":"pdp","user_id":"u%d","session_id":"s%d","attributes":{"country":"DE"}}' % (
            number,
            number,
        )
        head = b"POST /v1/assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self.sent = time.perf_counter()
        self.transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            return
        now = time.perf_counter()
        self.micros.append((now - self.sent) * 1e6)
        self.wrong += not head.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def run(port: int, connections: int, seconds: float, first: int = 0) -> Load:
    """Load `POST /v1/assign` on a loopback port."""
    return uvloop.run(_run(port, connections, seconds, first))


async def _run(port: int, connections: int, seconds: float, first: int) -> Load:
    loop = asyncio.get_running_loop()
    numbers = itertools.count(first)
    since = time.perf_counter()
    callers = []
    for _ in range(connections):
        caller = Caller(numbers, since + seconds, loop.create_future())
        await loop.create_connection(lambda one=caller: one, "127.0.0.1", port)  # type: ignore[misc]
        callers.append(caller)
    await asyncio.gather(*(caller.done for caller in callers))
    took = time.perf_counter() - since
    return Load([one for caller in callers for one in caller.micros], took, sum(caller.wrong for caller in callers))
