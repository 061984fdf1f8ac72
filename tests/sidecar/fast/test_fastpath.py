"""The fast path beside what the differential test sees: whom it makes wait, what it never mixes up, what it lets go."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from abside.serve.address import split_address
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.sidecar.fast.fastpath import DIRECT_ANSWERS, FastDoor
from abside.sidecar.fast.heads import FastRoute, FastRoutes
from abside.snapshot import Placement, encode
from abside.supervise import new_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.sidecar.conftest import Process, Running, World

    from abside.serve.crowd import Crowd

    Start = Callable[..., Awaitable[Running]]
    Until = Callable[..., Awaitable[None]]

TEXT_CHARS = 10_000  # of a configuration: the socket below takes a part of such an answer, the transport keeps the rest
DEADLINE_SECONDS = 20.0


def request(user_id: str, placement: str = "wide") -> bytes:
    body = orjson.dumps({"placement": placement, "user_id": user_id})
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


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> int:
    """Send a request and read its whole answer; give the status."""
    writer.write(sent)
    async with asyncio.timeout(DEADLINE_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
    return int(head.split()[1])


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
        # Another connection: answered after what was sent before it.
        await running.assign(placement="pdp", user_id="u1")
        assert fast.answered == 2  # so the twenty were not even read
        assert transport.get_write_buffer_size() < 1_100_000


@pytest.mark.parametrize("cut", [1, 20, None])
async def test_a_connection_that_is_handed_over_with_an_answer_unread_goes_on_when_it_was_read(
    start: Start, world: World, until: Until, cut: int | None
) -> None:
    running = await start(wide(world, text="x" * 1_000_000).snapshot())
    fast = running.sidecar.fast
    near, far = socket.socketpair()
    with far:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(fast, near)
        await loop.sock_sendall(far, request("u1", "home"))  # from here on answers leave at once
        await answers(far, 1)
        following = b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        await loop.sock_sendall(far, request("u2")[:-5])
        await until(lambda: any(one._missing for one in fast.connections))
        await loop.sock_sendall(far, request("u2")[-5:] + following[:cut])
        await until(lambda: fast.handed_over == 1)
        if cut is not None:
            await loop.sock_sendall(far, following[cut:])
        first, second = [orjson.loads(body) for body in await answers(far, 2)]
        assert (len(first["config"]["text"]), second["code"]) == (1_000_000, "NOT_FOUND")


@pytest.mark.parametrize("fast_path", ["on", "off"])
async def test_a_slow_reader_gets_its_whole_answer_and_one_that_stops_reading_is_cut(
    start: Start, world: World, until: Until
) -> None:
    running = await start(wide(world, text="x" * 3_000_000).snapshot(), keepalive_seconds=1.0)
    decisions = running.sidecar.decisions
    loop = asyncio.get_running_loop()
    for reads in (True, False):
        near, far = socket.socketpair()
        with far:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            far.setblocking(False)
            await loop.connect_accepted_socket(decisions.factory, near)
            await loop.sock_sendall(far, request("u1"))
            got = await loop.sock_recv(far, 1000)
            if reads:  # for longer than a silent connection is kept
                async with asyncio.timeout(2 * DEADLINE_SECONDS):
                    while len(got) < 3_000_000:
                        await asyncio.sleep(0.1)
                        got += await loop.sock_recv(far, 100_000)
            else:
                await until(lambda: not decisions.open_connections)


async def test_a_client_that_leaks_connections_does_not_lock_the_others_out(start: Start, until: Until) -> None:
    running = await start(max_connections=4)
    leaked = []
    for number in range(12):  # each is asked once, and then forgotten
        leaked.append(await asyncio.open_connection(*running.address))
        assert await asked(*leaked[-1], request(f"u{number}", "home")) == 200
    reader, writer = await asyncio.open_connection(*running.address)
    for _ in range(20):
        assert await asked(reader, writer, request("u1", "home")) == 200
        await asyncio.sleep(0.1)
    decisions = running.sidecar.decisions
    await until(lambda: decisions.open_connections <= 4)
    assert await asked(reader, writer, request("u1", "home")) == 200  # the one that is used was never cut
    assert (decisions.crowd.gave_way, running.sidecar.fast.handed_over) == (9, 0)
    for _, connection in (*leaked, (reader, writer)):
        connection.close()


async def test_what_comes_together_is_settled_together_and_what_comes_alone_is_answered_at_once() -> None:
    listener = Listener({"/x": {}}, Bounds())
    settled: list[int] = []
    handled: list[bytes] = []

    def handle(body: bytes) -> bytes:
        handled.append(body)
        return b"{}"

    door = FastDoor(listener, FastRoutes((FastRoute("/x", handle, 100, 200),), lambda: settled.append(len(handled))))
    pairs = [socket.socketpair() for _ in range(3)]
    sent = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    loop = asyncio.get_running_loop()
    connections = [(await loop.connect_accepted_socket(door, near))[1] for near, _ in pairs]
    for connection in connections:  # one turn of the loop
        connection.data_received(sent)
    for _, far in pairs:
        far.setblocking(False)
        await answers(far, 1)
    assert settled == [3]
    connections[0].data_received(sent)
    await answers(pairs[0][1], 1)
    assert settled == [3, 4]
    for number in range(DIRECT_ANSWERS):
        connections[0].data_received(sent)
        assert pairs[0][1].recv(1000).startswith(b"HTTP/1.1 200 OK"), "at once, without a turn of the loop"
        assert settled[-1] == 5 + number
    for connection in connections:  # and now it looks again
        connection.data_received(sent)
    for _, far in pairs:
        await answers(far, 1)
        far.close()
    assert settled[-1] == 4 + DIRECT_ANSWERS + 3
    assert settled[-2] == 4 + DIRECT_ANSWERS


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, new_loop])
def test_a_connection_that_comes_as_a_drain_closes_the_door_is_closed_with_it(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], turns: int
) -> None:
    async def drain() -> None:
        listener = Listener({"/x": {}}, Bounds())
        door = FastDoor(listener, FastRoutes((), lambda: None))
        listener.factory = door
        _, port = split_address(await listener.open("127.0.0.1:0"))
        listener.retiring = True
        door.retire()
        with socket.create_connection(("127.0.0.1", port)) as late:
            late.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            door.close()
            await listener.close(0.1)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 1), DEADLINE_SECONDS) == b""
        assert listener.open_connections == 0

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(drain())


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


async def test_a_connection_is_kept_as_long_as_it_is_used_and_closed_when_it_was_idle_too_long(start: Start) -> None:
    running = await start(keepalive_seconds=1.0)
    reader, writer = await asyncio.open_connection(*running.address)
    for number in range(3):
        assert await asked(reader, writer, request(f"u{number}", "home")) == 200
        await asyncio.sleep(0.7)  # together more than a connection may be idle
    async with asyncio.timeout(DEADLINE_SECONDS):
        await reader.read()  # to its end: the sidecar closes
    writer.close()
    assert (running.sidecar.fast.answered, running.sidecar.fast.handed_over) == (3, 0)


async def test_a_unix_socket_is_answered_by_the_fast_path_too(start: Start, tmp_path: Path) -> None:
    running = await start(listen=("127.0.0.1:0", f"unix:{tmp_path / 'abside.sock'}"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "abside.sock"))
    for number in range(3):
        assert await asked(reader, writer, request(f"u{number}", "home")) == 200
    writer.close()
    assert (running.sidecar.fast.answered, running.sidecar.fast.handed_over) == (3, 0)


GOOD = request("u1", "home")
BROKEN = {
    "nothing": b"",
    "half a head": GOOD[:40],
    "half a body": GOOD[:-5],
    "a body that is announced": GOOD.replace(b"Content-Length: 3", b"Content-Length: 2147483648 "),
    "garbage": b"\x16\x03\x01" * 30,
    "ten thousand headers": GOOD.replace(b"Host: x\r\n", b"Host: x\r\n" + b"X-A: b\r\n" * 10_000),
    "a whole request, its answer never read": GOOD,
}


async def test_broken_clients_are_let_go_and_nobody_else_feels_them(
    sidecar_process: Callable[..., Awaitable[Process]], tmp_path: Path, world: World, until: Until
) -> None:
    (tmp_path / "abside.snapshot").write_bytes(encode(world.snapshot()))
    process = await sidecar_process("--header-seconds", "0.5", "--body-seconds", "0.5")
    host, _, port = process.url.removeprefix("http://").rpartition(":")
    place = Path(f"/proc/{process.child.pid}")

    def descriptors() -> int:
        return len(list((place / "fd").iterdir()))

    def resident_kib() -> int:
        return int((place / "status").read_text().partition("VmRSS:")[2].split()[0])

    async def broken(sent: bytes, number: int) -> None:
        """Send something, perhaps byte by byte, and end by a close, a reset, or silence."""
        _, writer = await asyncio.open_connection(host, int(port))
        try:
            for byte in sent[:20] if number % 4 == 0 else b"":
                writer.write(bytes([byte]))
                await asyncio.sleep(0.005)
            writer.write(sent[20:] if number % 4 == 0 else sent)
            if number % 4 == 1:
                linger = struct.pack("ii", 1, 0)  # closing resets
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            elif number % 4 == 2:
                await asyncio.sleep(1.0)  # longer than any of them may take
        finally:
            writer.close()

    async def round_of_them() -> None:
        cases = [sent for sent in BROKEN.values() for _ in range(40)]
        crowd = asyncio.gather(*(broken(sent, n) for n, sent in enumerate(cases)), return_exceptions=True)
        reader, writer = await asyncio.open_connection(host, int(port))
        while not crowd.done():
            assert await asked(reader, writer, GOOD) == 200
            await asyncio.sleep(0.002)
        writer.close()
        assert all(isinstance(one, ConnectionError | None) for one in await crowd)

    before = descriptors()
    await round_of_them()
    await until(lambda: descriptors() <= before)
    warm_kib = resident_kib()
    for _ in range(3):
        await round_of_them()
    await until(lambda: descriptors() <= before)
    assert resident_kib() - warm_kib < 4096  # a round sends 12 MB, and brings 280 connections


@pytest.fixture
def strangers() -> Iterator[list[socket.socket]]:
    """Close these at the end, also of a test that fails: else the next one gets the blame."""
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


def bodies_awaited(crowd: Crowd) -> int:
    now = asyncio.get_running_loop().time()
    return sum(not wait.head for wait, _ in crowd._waiting(now, now))


async def test_half_sent_bodies_of_strangers_push_no_client_out_and_log_nothing(
    start: Start, until: Until, strangers: list[socket.socket]
) -> None:
    running = await start(max_connections=64)
    crowd = running.sidecar.decisions.crowd
    # No look by the clock: on a slow machine one falls into a wave, where only idle clients have waited for long.
    crowd.burst, crowd.look_seconds, failures = 32, 3600.0, list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["message"]))
    kept = [await asyncio.open_connection(*running.address) for _ in range(8)]
    for reader, writer in kept:
        assert await asked(reader, writer, GOOD) == 200
    for wave in range(3):
        for _ in range(200):
            strangers.append(socket.create_connection(running.address))
            strangers[-1].sendall(GOOD.partition(b"Content-Length")[0] + b"Content-Length: 10000\r\n\r\n{")
            await asyncio.sleep(0)
        await until(lambda: len(crowd) <= crowd.most + crowd.burst)
        reader, writer = kept[wave]
        assert await asked(reader, writer, GOOD) == 200
    for connection in list(running.sidecar.fast.connections):
        connection.sweep(asyncio.get_running_loop().time() + 5.0)  # all of them are handed over in one turn
    await until(lambda: bodies_awaited(crowd) == len(crowd) - len(kept))
    for _ in range(2):
        crowd._look()
    assert len(crowd) == crowd.most
    for reader, writer in kept:
        assert await asked(reader, writer, GOOD) == 200
        writer.close()
    assert failures == []
    assert crowd.gave_way >= 500
