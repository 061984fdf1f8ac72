"""How long answers took, by a clock that is told: what is timed, and for how many it counts."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.sidecar.fast.fastpath import DIRECT_ANSWERS, FastConnection, FastDoor
from abside.sidecar.fast.heads import FastRoute, FastRoutes
from abside.sidecar.fast.took import BOUNDS, Took

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = b"POST /v1/assign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n"


class Timed:
    """One connection of a door whose handler and disk take the time that a test gives them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handling = 0.0
        self.settling = 0.0
        routes = FastRoutes((FastRoute("/v1/assign", self.handle, 100, 200),), self.settle)
        self.door = FastDoor(Listener({}, Bounds()), routes, lambda: self.now)

    def handle(self, _: bytes) -> bytes:
        self.now += self.handling
        return b"{}"

    def settle(self) -> None:
        self.now += self.settling

    def counted(self) -> dict[float, int]:
        """Return how many answers took up to each bound that has any."""
        counts = self.door.took.counts
        return {bound: count for bound, count in zip((*BOUNDS, 9.9), counts, strict=True) if count}


@pytest.fixture
async def timed() -> Timed:
    return Timed()


@pytest.fixture
async def connection(timed: Timed) -> AsyncIterator[FastConnection]:
    near, far = socket.socketpair()
    _, protocol = await asyncio.get_running_loop().connect_accepted_socket(timed.door, near)
    assert isinstance(protocol, FastConnection)
    yield protocol
    protocol.close()
    far.close()


async def test_what_comes_together_counts_as_long_as_the_first_of_it(timed: Timed, connection: FastConnection) -> None:
    timed.handling, timed.settling = 0.000_01, 0.000_3
    for _ in range(5):
        connection.data_received(HEAD + b"{}")
    timed.now += 0.002
    await asyncio.sleep(0)
    assert timed.counted() == {0.002_5: 5}
    assert timed.door.took.seconds == pytest.approx(5 * (0.000_05 + 0.002 + 0.000_3))


async def test_of_those_that_come_alone_one_in_sixteen_is_timed_and_counts_for_all(
    timed: Timed, connection: FastConnection
) -> None:
    timed.handling = 0.000_04
    for number in range(1 + 2 * (DIRECT_ANSWERS + 1)):
        timed.handling = 7.0 if number % 16 else 0.000_04  # those between are not timed
        connection.data_received(HEAD + b"{}")
        await asyncio.sleep(0)
    assert timed.counted() == {0.000_05: timed.door.answered} == {0.000_05: 33}
    for _ in range(3):
        connection.data_received(HEAD + b"{}")
        await asyncio.sleep(0)
    assert timed.counted() == {0.000_05: 33}, "they count with the next that is timed"


async def test_a_request_that_goes_to_the_other_path_makes_none_after_it_look_slow(timed: Timed) -> None:
    loop = asyncio.get_running_loop()
    sides = [socket.socketpair() for _ in range(2)]
    first, second = [(await loop.connect_accepted_socket(timed.door, near))[1] for near, _ in sides]
    assert isinstance(first, FastConnection)
    assert isinstance(second, FastConnection)
    first.data_received(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
    timed.now += 100.0
    timed.handling = 0.000_2
    second.data_received(HEAD + b"{}")
    await asyncio.sleep(0)
    assert timed.counted() == {0.000_25: 1}
    second.close()
    for near, far in sides:
        near.close()
        far.close()


async def test_a_body_that_comes_later_is_timed_from_its_end(timed: Timed, connection: FastConnection) -> None:
    connection.data_received(HEAD)
    timed.now += 0.7
    connection.data_received(b"{}")
    await asyncio.sleep(0)
    assert timed.counted() == {0.000_05: 1}


def test_a_bound_belongs_to_its_own_bucket_and_there_are_ten() -> None:
    took = Took()
    for seconds in (0.0, *BOUNDS, 0.051, 60.0):
        took.add(seconds, 1)
    assert took.counts == [2, 1, 1, 1, 1, 1, 1, 1, 1, 2]
    assert len(took.counts) == 10
