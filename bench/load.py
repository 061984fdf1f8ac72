"""A caller at a fixed rate: raw HTTP over one kept connection, a fresh id in every request."""

from __future__ import annotations

import asyncio
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


def paced(port: int, rate: int, seconds: float) -> Load:
    """Ask at a fixed rate over one connection; a late answer counts from when its request was due."""
    return uvloop.run(_paced(port, rate, seconds))


async def _paced(port: int, rate: int, seconds: float) -> Load:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    micros: list[float] = []
    wrong = 0
    begun = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        writer.write(request(number))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))
        micros.append((time.perf_counter() - due) * 1e6)
        wrong += not head.startswith(b"HTTP/1.1 200")
    writer.close()
    return Load(micros, time.perf_counter() - begun, wrong)


def request(number: int) -> bytes:
    """Give a whole request with an id of its own."""
    body = b'{"placement":"pdp","user_id":"u%d","session_id":"s%d","attributes":{"country":"DE"}}' % (number, number)
    head = b"POST /v1/assign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
