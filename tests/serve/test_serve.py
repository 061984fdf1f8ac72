from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import orjson
import pytest

from abside.serve.address import split_address
from abside.serve.answer import Refusal, Response, Route, problem
from abside.serve.bounds import Bounds
from abside.serve.crowd import SLOW_SECONDS
from abside.serve.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

DEADLINE_SECONDS = 20.0
DEFAULTS = Bounds()
MARKER = "shopper-4711"


class Handlers:
    """Handlers of all kinds, and what they saw."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    def echo(self, _: web.BaseRequest, body: bytes) -> Response:
        self.seen.append(body)
        return Response(200, body, headers=(("X-Extra", "1"),))

    async def slow(self, _: web.BaseRequest, body: bytes) -> Response:
        self.entered.set()
        await self.release.wait()
        return Response(202, body)

    def bug(self, _: web.BaseRequest, body: bytes) -> Response:
        raise KeyError("a bug of ours")

    def refuse(self, _: web.BaseRequest, body: bytes) -> Response:
        raise Refusal(503, "SPOOL_FULL", "no room", path="a", index=3, retry_after_seconds=5)

    def routes(self) -> dict[str, dict[str, Route]]:
        json = frozenset({"application/json"})
        return {
            "/echo": {"POST": Route(self.echo, 1000, json), "GET": Route(self.echo)},
            "/slow": {"POST": Route(self.slow, 1000)},
            "/bug": {"POST": Route(self.bug, 1000)},
            "/refuse": {"POST": Route(self.refuse, 1000)},
            "/alive": {"GET": Route(self.echo, probe=True)},
        }


class Wire:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *lines: str, body: bytes = b"") -> None:
        self.writer.write("\r\n".join([*lines, "Host: x", "", ""]).encode() + body)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: its status, its headers in lower case, its body by Content-Length."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            line, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
            return int(line.split()[1]), headers, await self.reader.readexactly(int(headers.get("content-length", 0)))

    async def end(self) -> bytes:
        """Read until the other side closes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def listening(
    handlers: Handlers, bounds: Bounds = DEFAULTS
) -> AsyncIterator[tuple[Listener, Callable[[], Awaitable[Wire]]]]:
    """Return a listener on a free port, and what opens a connection to it."""
    listener = Listener(handlers.routes(), bounds)
    host, port = split_address(await listener.open("127.0.0.1:0"))
    wires: list[Wire] = []

    async def connect() -> Wire:
        wires.append(Wire(*await asyncio.open_connection(host, port)))
        return wires[-1]

    try:
        yield listener, connect
    finally:
        handlers.release.set()
        for wire in wires:
            await wire.close()
        await listener.close(1.0)


async def test_a_request_gets_its_answer_and_the_connection_stays() -> None:
    handlers = Handlers()
    async with listening(handlers) as (_, connect):
        wire = await connect()
        for body in (b"{}", b"[1]"):
            wire.send("POST /echo HTTP/1.1", f"Content-Length: {len(body)}", body=body)
            status, headers, got = await wire.answer()
            assert (status, headers["content-type"], headers["x-extra"], got) == (200, "application/json", "1", body)
        assert handlers.seen == [b"{}", b"[1]"]


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        for body in (b"1", b"2", b"3"):
            wire.send("POST /echo HTTP/1.1", "Content-Length: 1", body=body)
        assert [(await wire.answer())[2] for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_body_in_chunks_and_in_many_segments_is_put_together() -> None:
    handlers = Handlers()
    async with listening(handlers) as (_, connect):
        wire = await connect()
        wire.send(
            "POST /echo HTTP/1.1", "Transfer-Encoding: chunked", body=b"2\r\n[1\r\n2\r\n,2\r\n1\r\n]\r\n0\r\n\r\n"
        )
        assert (await wire.answer())[2] == b"[1,2]"
        wire.send("POST /echo HTTP/1.1", "Content-Length: 4")
        for byte in (b"1", b"2", b"3", b"4"):
            await wire.writer.drain()
            await asyncio.sleep(0)
            wire.writer.write(byte)
        assert (await wire.answer())[2] == b"1234"


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Length: 2", "Expect: 100-continue")
        assert (await wire.answer())[0] == 100
        wire.writer.write(b"{}")
        assert (await wire.answer())[::2] == (200, b"{}")


async def test_a_client_that_waits_for_100_continue_with_a_body_too_large_is_refused_before_it_sends() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Length: 5000", "Expect: 100-continue")
        status, headers, body = await wire.answer()
        assert (status, headers["connection"], orjson.loads(body)["code"]) == (413, "close", "TOO_LARGE")


async def test_an_offer_to_upgrade_is_answered_in_http_1_1() -> None:
    async with listening(Handlers()) as (_, connect):
        for protocol in ("h2c", "websocket"):
            wire = await connect()
            wire.send(
                "POST /echo HTTP/1.1", "Content-Length: 2", "Connection: Upgrade", f"Upgrade: {protocol}", body=b"{}"
            )
            assert (await wire.answer())[::2] == (200, b"{}")


async def test_http_1_0_is_answered_and_closed() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.0", "Content-Length: 2", body=b"{}")
        answer = await wire.end()
        assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n{}")


async def test_head_is_get_without_its_body() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("HEAD /echo HTTP/1.1", "Connection: close")
        answer = await wire.end()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n")


async def test_a_bug_is_a_problem_document_and_its_traceback_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /bug HTTP/1.1", "Content-Length: 2", body=b"{}")
        status, headers, body = await wire.answer()
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert orjson.loads(body)["code"] == "INTERNAL"
        assert b"a bug of ours" not in body
        assert b"Traceback" not in body
        wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await wire.answer())[0] == 200
    assert caplog.messages == ["handler_failed route=POST"]
    assert caplog.records[0].exc_info is not None


async def test_a_refusal_becomes_its_problem_document_with_retry_after() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /refuse HTTP/1.1", "Content-Length: 0")
        status, headers, body = await wire.answer()
        assert (status, headers["retry-after"]) == (503, "5")
        assert orjson.loads(body) == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "no room",
            "code": "SPOOL_FULL",
            "path": "a",
            "index": 3,
        }


def test_a_problem_leaves_out_what_there_is_not() -> None:
    answer = problem(Refusal(404, "NOT_FOUND", "nothing"))
    assert answer.headers == ()
    assert orjson.loads(answer.body).keys() == {"type", "title", "status", "detail", "code"}
    assert str(Refusal(404, "NOT_FOUND", "nothing")) == "404 NOT_FOUND: nothing"


async def test_a_path_has_its_methods_and_says_which() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("DELETE /echo HTTP/1.1")
        status, headers, _ = await wire.answer()
        assert (status, headers["allow"]) == (405, "GET, POST")
        wire.send("POST /nothing HTTP/1.1", "Content-Length: 0")
        assert (await wire.answer())[0] == 404
        wire.send("CONNECT other:443 HTTP/1.1")
        assert (await wire.answer())[0] == 404


async def test_a_body_too_large_is_refused_and_its_answer_arrives_though_the_client_was_still_sending() -> None:
    handlers = Handlers()
    async with listening(handlers) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Length: 8000000", body=b"x" * 8_000_000)
        status, headers, body = await wire.answer()
        assert (status, headers["connection"], orjson.loads(body)["code"]) == (413, "close", "TOO_LARGE")
        assert await wire.end() == b""
        assert handlers.seen == []


async def test_exactly_the_bound_is_taken() -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        for size, expected in ((1000, 200), (1001, 413)):
            wire.send("POST /echo HTTP/1.1", f"Content-Length: {size}", body=b"x" * size)
            assert (await wire.answer())[0] == expected


async def test_a_bomb_in_gzip_is_held_to_the_same_bound() -> None:
    import gzip  # noqa: PLC0415 for this test only

    bomb = gzip.compress(b"0" * 10_000_000)
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}", body=bomb)
        assert (await wire.answer())[0] in {400, 413}  # a body within its own bound, or one the parser gave up on


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip, gzip", "x-unknown"])
async def test_an_encoding_that_cannot_be_undone_is_named(encoding: str) -> None:
    async with listening(Handlers()) as (_, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", f"Content-Encoding: {encoding}", "Content-Length: 5", body=b"hello")
        status, _, body = await wire.answer()
        assert (status, orjson.loads(body)["code"]) == (415, "UNSUPPORTED_ENCODING")
        assert "Content-Encoding" in orjson.loads(body)["detail"]


async def test_a_body_that_breaks_off_is_no_traceback_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening(Handlers()) as (listener, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Encoding: gzip", "Content-Length: 12", body=MARKER.encode())
        status, _, body = await wire.answer()
        assert (status, orjson.loads(body)["code"]) == (400, "MALFORMED")
        gone = await connect()
        gone.send("POST /echo HTTP/1.1", "Content-Length: 99", body=MARKER.encode())
        await gone.writer.drain()
        await gone.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while listener.open_connections:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.005)
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("abside", "aiohttp"))] == []


async def test_a_connection_that_says_nothing_is_closed_and_one_that_spoke_is_kept() -> None:
    async with listening(Handlers(), Bounds(header_seconds=0.05, keepalive_seconds=60.0)) as (_, connect):
        spoke, silent = await connect(), await connect()
        spoke.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await spoke.answer())[0] == 200
        assert await silent.end() == b""
        spoke.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await spoke.answer())[0] == 200


async def test_an_idle_connection_is_closed_after_its_time_also_in_the_middle_of_a_second_head() -> None:
    async with listening(Handlers(), Bounds(keepalive_seconds=0.1)) as (_, connect):
        for rest in (b"", b"POST /echo HTT"):  # with the first request: what comes after the close would reset it
            wire = await connect()
            wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}" + rest)
            assert (await wire.answer())[0] == 200
            assert await wire.end() == b""


async def test_half_a_body_is_answered_408_and_the_others_are_served_meanwhile() -> None:
    async with listening(Handlers(), Bounds(body_seconds=0.1)) as (_, connect):
        half, whole = await connect(), await connect()
        half.send("POST /echo HTTP/1.1", "Content-Length: 99", body=b"{")
        whole.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await whole.answer())[0] == 200
        status, _, body = await half.answer()
        assert (status, orjson.loads(body)["detail"]) == (408, "the body did not arrive within 0.1 s")


async def test_beyond_the_bound_a_newcomer_is_served_and_who_waited_longest_gives_way() -> None:
    async with listening(Handlers(), Bounds(max_connections=3)) as (listener, connect):
        wires = [await connect() for _ in range(3)]
        for wire in reversed(wires):  # the last to come is the first to be idle
            wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
            assert (await wire.answer())[0] == 200
        assert (listener.open_connections, listener.crowd.gave_way) == (3, 0)
        newcomer = await connect()
        newcomer.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await newcomer.answer())[0] == 200
        assert await wires[2].end() == b""
        assert (listener.open_connections, listener.crowd.gave_way) == (3, 1)
        for wire in (wires[0], wires[1], newcomer):
            wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
            assert (await wire.answer())[0] == 200


SILENCES = {
    "nothing": b"",
    "half a head": b"POST /echo HTTP/1.1\r\nHost: x\r\nX-",
    "half a body": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
    "a refused body": b"POST /alive HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n{",
}


@pytest.mark.parametrize("sent", SILENCES.values(), ids=SILENCES)
async def test_nobody_who_is_silent_or_slow_keeps_a_probe_or_a_request_waiting(sent: bytes) -> None:
    async with listening(Handlers(), Bounds(max_connections=4)) as (listener, connect):
        crowd = [await connect() for _ in range(12)]
        for wire in crowd:
            wire.writer.write(sent)
        for _ in range(6):
            probe = await connect()
            probe.send("GET /alive HTTP/1.1")
            assert (await probe.answer())[0] == 200
            await asyncio.sleep(0.3)
        request = await connect()
        request.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await request.answer())[0] == 200
        async with asyncio.timeout(DEADLINE_SECONDS):
            while listener.open_connections > 4:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.01)


async def test_a_client_that_feeds_its_head_byte_by_byte_is_no_less_silent() -> None:
    async with listening(Handlers(), Bounds(max_connections=1)) as (listener, connect):
        loris = await connect()
        newcomer = await connect()
        newcomer.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await newcomer.answer())[0] == 200
        async with asyncio.timeout(DEADLINE_SECONDS):
            while listener.open_connections > 1:
                loris.writer.write(b"P")
                await asyncio.sleep(0.01)
        newcomer.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await newcomer.answer())[0] == 200


async def test_beyond_the_bound_on_requests_at_once_a_request_is_refused_and_a_probe_is_answered() -> None:
    handlers = Handlers()
    async with listening(handlers, Bounds(max_connections=2)) as (listener, connect):
        busy = [await connect() for _ in range(2)]
        for wire in busy:
            wire.send("POST /slow HTTP/1.1", "Content-Length: 2", body=b"{}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while listener.in_flight < 2:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.005)
        surplus, probe = await connect(), await connect()
        surplus.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        status, headers, body = await surplus.answer()
        assert (status, headers["retry-after"], orjson.loads(body)["code"]) == (503, "1", "BUSY")
        assert listener.refused_requests == 1
        probe.send("GET /alive HTTP/1.1")
        assert (await probe.answer())[0] == 200
        await asyncio.sleep(1.2)  # longer than two looks: who is worked for is not cut
        handlers.release.set()
        assert [(await wire.answer())[0] for wire in busy] == [202, 202]


async def test_a_door_of_one_answer_closes_after_it_whatever_was_sent_behind() -> None:
    handlers = Handlers()
    async with listening(handlers, Bounds(one_answer=True)) as (_, connect):
        wire = await connect()
        for _ in range(50):
            wire.send("GET /echo HTTP/1.1")
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        with suppress(ConnectionResetError):
            assert await wire.end() == b""
        assert len(handlers.seen) == 1


async def test_closing_lets_what_is_in_flight_finish_and_takes_nothing_new() -> None:
    handlers = Handlers()
    async with listening(handlers) as (listener, connect):
        busy, idle = await connect(), await connect()
        idle.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert (await idle.answer())[0] == 200
        busy.send("POST /slow HTTP/1.1", "Content-Length: 2", body=b"{}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handlers.entered.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.close(DEADLINE_SECONDS))
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a turn for what was accepted, then the port is closed
            with pytest.raises(OSError):  # noqa: PT011 refused or reset, by platform
                await connect()
            handlers.release.set()
            assert (await busy.answer())[::2] == (202, b"{}")
        assert await idle.end() == b""
        assert listener.open_connections == 0


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_comes_as_the_listener_closes_is_closed_with_it(turns: int) -> None:
    async with listening(Handlers()) as (listener, _):
        port = listener._servers[0].sockets[0].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as late:
            late.setblocking(False)
            for _ in range(turns):  # two: accepted, but its transport is not yet made
                await asyncio.sleep(0)
            await listener.close(0.1)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(late, 1), DEADLINE_SECONDS) == b""
        assert listener.open_connections == 0


async def test_a_connection_out_of_a_handshake_that_outlasts_the_listener_is_closed_at_once() -> None:
    async with listening(Handlers()) as (listener, _):
        await listener.close(0.0)
        near, far = socket.socketpair()
        with far:
            far.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(listener.factory, near)
            assert await asyncio.wait_for(loop.sock_recv(far, 1), DEADLINE_SECONDS) == b""
        assert listener.open_connections == 0


async def test_a_close_that_is_cancelled_has_closed_the_port() -> None:
    async with listening(Handlers()) as (listener, connect):
        closing = asyncio.get_running_loop().create_task(listener.close(DEADLINE_SECONDS))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(OSError):  # noqa: PT011 refused or reset, by platform
            await connect()


async def test_closing_waits_for_the_rest_of_a_body() -> None:
    handlers = Handlers()
    async with listening(handlers) as (listener, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Length: 4", body=b"[1")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not listener.in_flight:  # noqa: ASYNC110 the listener notifies nobody
                await asyncio.sleep(0.005)
        async with asyncio.TaskGroup() as group:
            group.create_task(listener.close(DEADLINE_SECONDS))
            await asyncio.sleep(0.05)
            wire.writer.write(b",2")
            status, headers, body = await wire.answer()
        assert (status, headers["connection"], body) == (200, "close", b"[1,2")


@pytest.mark.parametrize("grace_seconds", [0.0, 0.1])
async def test_closing_cuts_what_does_not_finish_in_time(grace_seconds: float) -> None:
    handlers = Handlers()
    async with listening(handlers) as (listener, connect):
        wire = await connect()
        wire.send("POST /slow HTTP/1.1", "Content-Length: 2", body=b"{}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handlers.entered.wait()
            await listener.close(grace_seconds)
        assert await wire.end() == b""


async def test_a_listener_that_retires_closes_each_connection_with_its_answer() -> None:
    async with listening(Handlers()) as (listener, connect):
        wire = await connect()
        wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        assert "connection" not in (await wire.answer())[1]
        listener.retiring = True
        wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
        status, headers, _ = await wire.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await wire.end() == b""


async def test_a_unix_socket_is_made_open_to_the_pod_replaces_a_dead_one_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "abside.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    handlers = Handlers()
    listener = Listener(handlers.routes(), Bounds())
    assert await listener.open(f"unix:{path}") == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o666
    wire = Wire(*await asyncio.open_unix_connection(path))
    wire.send("POST /echo HTTP/1.1", "Content-Length: 2", body=b"{}")
    assert (await wire.answer())[0] == 200
    await wire.close()
    await listener.close(1.0)
    assert not path.exists()


async def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    listener = Listener(Handlers().routes(), Bounds())
    with pytest.raises(OSError):  # noqa: PT011 the system's own message
        await listener.open(f"unix:{path}")
    assert path.read_text() == "mine"
    await listener.close(0.1)
    assert path.read_text() == "mine"


async def test_a_port_that_is_taken_is_an_os_error() -> None:
    async with listening(Handlers()) as (listener, _):
        second = Listener(Handlers().routes(), Bounds())
        host, port = listener._servers[0].sockets[0].getsockname()
        with pytest.raises(OSError, match="in use"):
            await second.open(f"{host}:{port}")


async def test_bodies_that_are_still_coming_hold_a_bounded_amount_of_memory_together() -> None:
    def echo(_request: web.BaseRequest, body: bytes) -> Response:
        return Response(200, str(len(body)).encode())

    routes = {"/echo": {"POST": Route(echo, 1 << 20)}}
    listener = Listener(routes, Bounds(max_held_bytes=100_000, body_seconds=20.0))
    host, port = split_address(await listener.open("127.0.0.1:0"))
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    first_reader, first = await asyncio.open_connection(host, port)
    first.write(head + b"x" * 59_999)
    async with asyncio.timeout(20):
        while listener.bodies.held_bytes < 59_999:  # noqa: ASYNC110 a poll with a deadline
            await asyncio.sleep(0.01)
        second_reader, second = await asyncio.open_connection(host, port)
        second.write(head + b"x" * 59_999)
        assert b"503" in await second_reader.readline()
        first.write(b"x")
        assert b"200" in await first_reader.readline()
    assert listener.bodies.held_bytes == 0
    for writer in (first, second):
        writer.close()
    await listener.close(1.0)


async def test_bodies_that_dawdle_leave_room_for_those_that_come() -> None:
    def size(_request: web.BaseRequest, body: bytes) -> Response:
        return Response(200, str(len(body)).encode())

    listener = Listener({"/echo": {"POST": Route(size, 1 << 20)}}, Bounds(max_held_bytes=100_000, body_seconds=60.0))
    host, port = split_address(await listener.open("127.0.0.1:0"))
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    slow_reader, slow = await asyncio.open_connection(host, port)
    slow.write(head + b"x" * 59_999)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while listener.bodies.held_bytes < 59_999:  # noqa: ASYNC110 a poll with a deadline
            await asyncio.sleep(0.01)
        await asyncio.sleep(SLOW_SECONDS + 0.1)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head + b"x" * 60_000)
        assert b"200" in await reader.readline()
        with suppress(ConnectionResetError):
            assert await slow_reader.read() == b""
    for one in (slow, writer):
        one.close()
    await listener.close(1.0)
