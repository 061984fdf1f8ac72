"""A route with a parameter in its path and answers of its own, tried over both paths: a door that no route uses yet."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import orjson
import pytest

from abside.serve.address import split_address
from abside.serve.answer import Refusal, Response, Route
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.sidecar.fast.fastpath import FastDoor
from abside.sidecar.fast.heads import FastRoute, FastRoutes, HeadCache
from abside.sidecar.routes import Paths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

PATH = "/trial/flags/{key}"
PREFIX = "/trial/flags/"
KEYS = ["pdp", "a", "0", "A-b_c.d~e", "k" * 64]
OTHER_KEYS = ["", "%70dp", "a%2Fb", "..", ".", ".x", "-x", "k" * 65, "a/b", "a?b=c", "a#b", "ü"]
DEADLINE_SECONDS = 20.0


def trial(key: str, body: bytes) -> bytes | Response:
    """Answer as a route to come may: with another status, with headers, with a refusal, or plainly."""
    match body:
        case b"absent":
            return Response(404, orjson.dumps({"key": key}), headers=(("ETag", f'"{key}"'),))
        case b"tagged":
            return Response(200, orjson.dumps({"key": key}), headers=(("ETag", '"1"'), ("Cache-Control", "no-store")))
        case b"text":
            return Response(202, key.encode(), "text/plain")
        case b"refused":
            raise Refusal(422, "WRONG_TYPE", "no", retry_after_seconds=7)
        case b"broken":
            raise RuntimeError("a bug")
    return orjson.dumps({"key": key, "body": body.decode()})


def over_aiohttp(request: web.BaseRequest, body: bytes) -> Response:
    answer = trial(request.path.removeprefix(PREFIX), body)
    return answer if isinstance(answer, Response) else Response(200, answer)


@pytest.fixture
async def sides() -> AsyncIterator[tuple[FastDoor, list[int]]]:
    """Serve the trial route over the fast path and over aiohttp's; return the fast door, and both ports."""
    listeners = [Listener(Paths({PATH: {"POST": Route(over_aiohttp, 100)}}), Bounds()) for _ in range(2)]
    door = FastDoor(listeners[0], FastRoutes((FastRoute(PATH, trial, 100, 200),), lambda: None))
    listeners[0].factory = door
    ports = [split_address(await one.open("127.0.0.1:0"))[1] for one in listeners]
    yield door, ports
    for one in listeners:
        await one.close(0.1)


async def exchanged(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send one request; return the status, the headers but for those of the moment, the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_SECONDS):
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(fields["content-length"]))
    writer.close()
    return int(head[0].split()[1]), {name: fields[name] for name in fields.keys() - {"date", "server"}}, body


def post(key: str, body: bytes) -> bytes:
    head = f"POST {PREFIX}{key} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("body", [b"", b"plain", b"absent", b"tagged", b"text", b"refused", b"broken"])
@pytest.mark.parametrize("key", [*KEYS, *OTHER_KEYS])
async def test_both_paths_give_the_same_answer(sides: tuple[FastDoor, list[int]], key: str, body: bytes) -> None:
    door, ports = sides
    for _ in range(3):  # read, its lines known, the whole head known
        one, other = [await exchanged(port, post(key, body)) for port in ports]
        assert {name: one[1][name].partition(";")[0] for name in one[1]} == {
            name: other[1][name].partition(";")[0] for name in other[1]
        }
        assert (one[0], one[2]) == (other[0], other[2])
    assert (door.answered, door.handed_over) == ((3, 0) if key in KEYS else (0, 3))


async def test_a_parameter_is_no_label_and_other_answers_are_counted_by_the_written_path(
    sides: tuple[FastDoor, list[int]],
) -> None:
    door, ports = sides
    for number in range(5):
        await exchanged(ports[0], post(f"key-{number}", b"absent"))
        await exchanged(ports[0], post(f"key-{number}", b"plain"))
    assert door.listener.answers == {(PATH, 404): 5}
    assert door.routes[0].good == 5


@pytest.mark.parametrize(
    "line", ["POST /trial/flags/", "POST /trial/flags/pdp HTTP/1.0", "GET /trial/flags/pdp HTTP/1.1"]
)
def test_a_request_line_that_is_not_whole_is_not_understood(line: str) -> None:
    heads = HeadCache([FastRoute(PATH, trial, 100, 200)])
    assert heads.read(f"{line}\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode()) is None


def test_a_remembered_head_keeps_its_own_parameter() -> None:
    heads = HeadCache([FastRoute(PATH, trial, 100, 200)])
    for _ in range(3):
        for key in KEYS:
            read = heads.read(f"POST {PREFIX}{key} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
            assert read is not None
            assert orjson.loads(read.handle(b"ok")) == {"key": key, "body": "ok"}  # type: ignore[arg-type]


def test_a_path_of_the_table_is_found_by_every_value_of_its_parameter_and_by_nothing_else() -> None:
    methods = {"POST": Route(over_aiohttp, 100)}
    paths = Paths({PATH: methods, "/v1/assign": {}})
    found: Callable[[str], object] = partial(paths.get)
    assert [found(f"{PREFIX}{key}") for key in ("pdp", "a.b")] == [methods, methods]
    assert [found(path) for path in (PREFIX, "/trial/flags", "/trial/flags/a/b", "/v1/assign/x", "/x")] == [None] * 5
    assert list(paths) == [PATH, "/v1/assign"]
    assert f"{PREFIX}pdp" not in paths
