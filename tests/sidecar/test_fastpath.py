"""The fast path beside what the differential test sees: whom it makes wait, and what it never mixes up."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest

from abside.snapshot import Placement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]
    Until = Callable[..., Awaitable[None]]

TEXT_CHARS = 10_000  # of a configuration: the socket below takes a part of such an answer, the transport keeps the rest
DEADLINE_SECONDS = 20.0


def request(user_id: str) -> bytes:
    body = orjson.dumps({"placement": "wide", "user_id": user_id})
    head = "POST /v1/assign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def answers(far: socket.socket, count: int, received: bytes = b"") -> list[bytes]:
    """Read so many whole answers, of which some bytes were received; give their bodies."""
    loop = asyncio.get_running_loop()
    found: list[bytes] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(found) < count:
            received += await loop.sock_recv(far, 65536)
            while (end := received.find(b"\r\n\r\n") + 4) > 3:
                size = int(received[:end].partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                if len(received) < end + size:
                    break
                found.append(received[end : end + size])
                received = received[end + size :]
    assert received == b""
    return found


def wide(world: World, **parameters: str) -> World:
    return replace(world, records=(*world.records, Placement("wide", {"text": "", **parameters})))


async def test_answers_that_the_socket_does_not_take_at_once_come_whole_and_in_order(
    start: Start, world: World, until: Until
) -> None:
    running = await start(wide(world, text="x" * TEXT_CHARS).snapshot())
    fast = running.sidecar.fast
    near, far = socket.socketpair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel's least
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        _, connection = await loop.connect_accepted_socket(fast, near)
        for number in range(4):
            await loop.sock_sendall(far, request(f"u{number}"))
            await until(lambda number=number: fast.answered == number + 1)
        received = far.recv(65536)  # the socket has room again, and the transport did not hear of it
        connection.data_received(request("u4"))
        got = [orjson.loads(body) for body in await answers(far, 5, received)]
        assert [one["config"]["text"] for one in got] == ["x" * TEXT_CHARS] * 5
        await loop.sock_sendall(far, request("u9"))  # and the connection goes on
        assert len(await answers(far, 1)) == 1
    assert fast.handed_over == 0


async def test_a_client_that_never_reads_makes_nobody_wait_and_holds_a_bounded_amount(
    start: Start, world: World, until: Until
) -> None:
    running = await start(wide(world, text="x" * 1_000_000).snapshot())
    fast = running.sidecar.fast
    near, far = socket.socketpair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(fast, near)
        await loop.sock_sendall(far, request("u1"))
        await until(lambda: fast.answered == 1)
        for number in range(20):
            await loop.sock_sendall(far, request(f"v{number}"))
        await running.assign(
            placement="pdp", user_id="u1"
        )  # another connection: answered after what was sent before it
        assert fast.answered == 2  # so the twenty were not even read
        assert transport.get_write_buffer_size() < 1_100_000


async def test_an_answer_to_a_connection_that_is_gone_reaches_nobody_else(start: Start, until: Until) -> None:
    running = await start()
    fast = running.sidecar.fast
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    transport, connection = await loop.connect_accepted_socket(fast, near)
    handle = near.fileno()
    transport.abort()
    far.close()
    await until(lambda: not fast.connections and near.fileno() == -1)
    one, other = socket.socketpair()
    with one, other:
        is_taken = handle in {one.fileno(), other.fileno()}
        if not is_taken:
            os.dup2(one.fileno(), handle)
        # The number that was the connection's is somebody else's now.
        connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for end in (one, other):
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.recv(1)
        if not is_taken:
            os.close(handle)
