"""Whose answer counts: a collector's own and nobody else's, whatever stands between it and us."""

from __future__ import annotations

import ast
import asyncio
import gzip
import random
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from abside.serve.answer import Response, Route
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.upstream.answer import MAX_ANSWER_BYTES, REFUSALS, TRANSIT, WAY
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Batch, Rejected, Retry, Timeouts, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from abside.upstream.contract import Encoding, Upstream

COLLECTOR = Path(__file__).resolve().parents[2] / "src" / "abside" / "collector"
OTHERS = {
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    *TRANSIT,
    "UNAUTHORIZED",
    "TIMEOUT",
    "TOO_LARGE",
}  # about the way, or a row of its own


@pytest.fixture
async def upstream(receiver: Any, now_us: Any) -> AsyncIterator[Upstream]:
    opened = open_upstream(receiver.url, now_us)
    yield opened
    await opened.close()


def named(batch: Batch, **changes: Any) -> str:
    return orjson.dumps({"batch": batch.id, "events": batch.count, "status": "stored", **changes}).decode()


@pytest.mark.parametrize(("status", "duplicate"), [(200, False), (208, True)])
async def test_an_answer_that_names_the_batch_and_its_count_acks(
    upstream: Any, receiver: Any, batch: Batch, status: int, duplicate: bool
) -> None:
    receiver.answer(status, body=named(batch), content_type="application/json")
    assert await upstream.send(batch) == Acked(duplicate=duplicate)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 204, 205, 206, 208, 226])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "text/plain"),
        ("<html>please log in</html>", "text/html"),
        ('{"status": "ok"}', "application/json"),
        ('{"batch": 1, "events": 3}', "application/json"),
        ('[{"batch": "pod-1.00000000000000000001-boot1", "events": 3}]', "application/json"),
        ('"pod-1.00000000000000000001-boot1"', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": 3', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": 2}', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": 3.0}', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": "3"}', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": true}', "application/json"),
        ('{"batch": "pod-1.00000000000000000002-boot1", "events": 3}', "application/json"),
        ('{"batch": "pod-1.00000000000000000001-boot1", "events": 3}' + " " * MAX_ANSWER_BYTES, "application/json"),
        ("[" * 10_000, "application/json"),
        ("x" * 1_000_000, "text/plain"),
    ],
)
async def test_a_success_of_anything_else_is_a_loud_retry(
    upstream: Any, receiver: Any, batch: Batch, status: int, body: str, content_type: str
) -> None:
    receiver.answer(status, body=body, content_type=content_type)
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert "something else answers at this address" in result.reason
    assert len(result.reason) < 300
    assert await upstream.send(batch) == Acked()


async def test_a_success_without_the_right_status_is_not_believed_either(
    upstream: Any, receiver: Any, batch: Batch
) -> None:
    for status in (201, 202, 203, 206, 226):
        receiver.answer(status, body=named(batch), content_type="application/json")
        result = await upstream.send(batch)
        assert isinstance(result, Retry)
        assert result.loud


@pytest.mark.parametrize("status", [400, 402, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 417, 418, 421])
@pytest.mark.parametrize("kind", ["nothing", "a page", "another's problem", "a code without its type", "another code"])
async def test_a_refusal_of_anything_else_buries_and_halves_nothing(
    upstream: Any, receiver: Any, batch: Batch, status: int, kind: str
) -> None:
    document = orjson.dumps({"code": "UNDECODABLE", "status": status}).decode()
    match kind:
        case "nothing":
            receiver.answer(status)
        case "a page":
            receiver.answer(status, body="<html><h1>nginx</h1></html>", content_type="text/html")
        case "another's problem":
            receiver.refuse(status, "VALIDATION_FAILED", detail="user_id u1 is unknown")
        case "a code without its type":
            receiver.answer(status, body=document, content_type="application/json")
        case "another code":  # ours, with a status it never has
            receiver.refuse(status, "UNDECODABLE" if status != 422 else "TOO_LARGE")
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert "u1" not in result.reason
    assert await upstream.send(batch) == Acked()


@pytest.mark.parametrize("code", TRANSIT)
async def test_a_batch_whose_headers_were_changed_on_its_way_is_tried_again_slowly_and_loudly(
    upstream: Any, receiver: Any, batch: Batch, code: str
) -> None:
    receiver.refuse(TRANSIT[code], code, path="X-Batch-Count")
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert result.reason.startswith(f"HTTP {TRANSIT[code]}: {code}")
    assert "did not arrive as it was sent" in result.reason


@pytest.mark.parametrize("index", [0, 2])
async def test_a_refusal_that_names_an_event_is_about_that_event(
    upstream: Any, receiver: Any, batch: Batch, index: int
) -> None:
    receiver.refuse(422, "INVALID_EVENT", index=index)
    result = await upstream.send(batch)
    assert isinstance(result, Rejected)
    assert (result.final, result.some_of_it, result.index) == (True, True, index)


@pytest.mark.parametrize("index", [-1, 3, True, "1", 1.0, None, 2**53])
async def test_an_index_that_is_none_of_the_batch_names_nothing(
    upstream: Any, receiver: Any, batch: Batch, index: Any
) -> None:
    receiver.refuse(422, "INVALID_EVENT", index=index)
    result = await upstream.send(batch)
    assert isinstance(result, Rejected)
    assert (result.final, result.some_of_it, result.index) == (False, False, None)


async def test_a_count_that_differs_is_about_an_event_that_nothing_names(
    upstream: Any, receiver: Any, batch: Batch
) -> None:
    receiver.refuse(422, "COUNT_MISMATCH")
    result = await upstream.send(batch)
    assert isinstance(result, Rejected)
    assert (result.final, result.some_of_it, result.index) == (False, True, None)


async def test_the_status_in_a_problem_document_is_its_answers(upstream: Any, receiver: Any, batch: Batch) -> None:
    for status, code in ((422, "UNDECODABLE"), (413, "TOO_LARGE")):
        document = orjson.dumps({"code": code, "status": 503}).decode()
        receiver.answer(status, body=document, content_type="application/problem+json")
        result = await upstream.send(batch)
        assert isinstance(result, Retry)
        assert result.loud


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
async def test_another_process_of_ours_buries_nothing(batch: Batch, now_us: Any, encoding: Encoding) -> None:
    listener = Listener({"/v1/events": {"POST": Route(lambda *_: Response(202, b""), 2**20)}}, Bounds())
    upstream = open_upstream(f"http://{await listener.open('127.0.0.1:0')}", now_us, encoding=encoding)
    result = await upstream.send(batch)
    await upstream.close()
    await listener.close(0.1)
    assert isinstance(result, Retry)
    assert result.loud
    assert "an abside process answers here" in result.reason


@pytest.mark.parametrize("code", ["UNDECODABLE", "TOO_LARGE", "COUNT_MISMATCH", "INVALID_EVENT"])
@pytest.mark.parametrize("named", [None, "another.00000000000000000001-boot1", 1])
async def test_a_refusal_counts_only_where_it_names_the_batch(
    upstream: Any, receiver: Any, batch: Batch, code: str, named: Any
) -> None:
    status = 413 if code == "TOO_LARGE" else 422
    receiver.refuse(status, code, batch=named)
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert f"HTTP {status}: {code}: an abside process answers here" in result.reason


@pytest.mark.parametrize(
    ("status", "code"), [(400, "MALFORMED"), (415, "UNSUPPORTED_TYPE"), (415, "UNSUPPORTED_ENCODING")]
)
async def test_a_request_at_fault_costs_no_event(
    upstream: Any, receiver: Any, batch: Batch, status: int, code: str
) -> None:
    receiver.refuse(status, code, detail="what is wrong with it")
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert f"{code} " in result.reason
    assert "(what is wrong with it); the batch did not arrive as it was sent" in result.reason


async def test_a_wrong_address_of_ours_buries_nothing(upstream: Any, receiver: Any, batch: Batch) -> None:
    for status, code in ((404, "NOT_FOUND"), (405, "METHOD_NOT_ALLOWED"), (422, "NO_UNIT")):  # a sidecar, for example
        receiver.refuse(status, code)
        result = await upstream.send(batch)
        assert isinstance(result, Retry)
        assert result.loud


@pytest.mark.parametrize("count", [1, 3], ids=["one", "several"])
async def test_an_answer_that_a_proxy_compressed_is_read_within_its_bound(
    upstream: Any, receiver: Any, batch: Batch, count: int
) -> None:
    for plain, believed in ((named(batch).encode(), True), (b" " * 50_000_000, False), (b"", False)):
        packed = gzip.compress(plain)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        receiver.write(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
        result = await upstream.send(batch)
        assert (result == Acked()) is believed
        assert believed or (isinstance(result, Retry) and result.loud)
    assert receiver.deliveries[0].headers["Accept-Encoding"] == "identity"
    for broken in (b"\x1f\x8b\x08", b"rubbish", gzip.compress(named(batch).encode())[:-9]):
        receiver.write(head + b"Content-Length: %d\r\n\r\n" % len(broken) + broken)
        assert isinstance(await upstream.send(batch), Retry)


async def test_an_answer_that_stops_in_the_middle_is_tried_again(receiver: Any, batch: Batch, now_us: Any) -> None:
    impatient = open_upstream(receiver.url, now_us, timeouts=Timeouts(5.0, 0.5))
    body = named(batch).encode()
    for part in (b"", body[:20], body):  # the whole document, and not the end that was promised
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1) + part
        for stopped in (receiver.keep_silent, receiver.write):
            stopped(data)
            assert await impatient.send(batch) == Retry("HTTP 200: the answer broke off", unheard=True)
    await impatient.close()


def test_every_refusal_of_the_collector_stands_in_the_table_of_its_codes() -> None:
    found: dict[str, int] = {}
    for path in sorted(COLLECTOR.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
                status, code = node.args[0], node.args[1]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    found[str(code.value)] = int(str(status.value))
    assert len(found) > 6
    refusals = {code: status for code, status in found.items() if 400 <= status < 500 and code not in OTHERS}
    assert refusals.items() <= {**dict.fromkeys(REFUSALS, 422), **TRANSIT}.items()


@asynccontextmanager
async def peer(answer: Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
    """Listen with a socket, read a little of each request, and answer however `answer` likes."""
    ended = asyncio.Event()
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            answering = asyncio.get_running_loop().create_task(answer(writer))
            await asyncio.wait([answering, ending], return_when=asyncio.FIRST_COMPLETED)
            answering.cancel()
            with suppress(asyncio.CancelledError):
                await answering
        writer.close()

    ending = asyncio.get_running_loop().create_task(ended.wait())
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    host, port = server.sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.close()
    ended.set()
    await ending
    await asyncio.gather(*(task for task in serving if task is not None))


async def endless(writer: asyncio.StreamWriter, begin: bytes, piece: bytes, pause_seconds: float = 0.0) -> None:
    writer.write(begin)
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_seconds)


HEAD = b"HTTP/1.1 200 OK\r\n"
ENDLESS = {
    "headers": (HEAD, b"X-More: and more\r\n" * 50, 0.0),
    "one header": (HEAD + b"X-Long: ", b"x" * 4096, 0.0),
    "status line": (b"HTTP/1.1 200 ", b"O" * 4096, 0.0),
    "body": (HEAD + b"\r\n", b"x" * 65_536, 0.0),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n" * 50, 0.0),
    "chunk extension": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;", b"x" * 4096, 0.0),
    "informational": (b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 20, 0.0),
    "drip": (HEAD, b"X: y\r\n", 0.05),
    "drip of a body": (HEAD + b"Content-Length: 999999\r\n\r\n", b"x", 0.05),
    "blank lines": (b"", b"\r\n" * 50, 0.0),
}


@pytest.mark.parametrize("form", ["", "?format=json_array"], ids=["msgpack", "json_array"])
@pytest.mark.parametrize("name", ENDLESS)
async def test_an_answer_without_an_end_ends_within_the_time_of_an_answer(
    now_us: Any, batch: Batch, name: str, form: str
) -> None:
    begin, piece, pause_seconds = ENDLESS[name]
    async with peer(lambda writer: endless(writer, begin, piece, pause_seconds)) as url:
        opened = open_upstream(url + form, now_us, timeouts=Timeouts(5.0, 0.5))
        async with asyncio.timeout(30.0):
            result = await opened.send(batch)
        await opened.close()
    by_its_status = form and name in {"body", "chunks", "chunk extension", "drip of a body"}
    assert isinstance(result, Acked if by_its_status else Retry)


def garbage(chance: random.Random, batch: Batch) -> bytes:
    """Return an answer of which something is wrong, mostly."""
    headers = [
        b"Content-Type: application/json",
        b"Content-Type: application/problem+json; charset=\xff\xfe",
        b"Content-Type: ;;;===",
        b"Content-Length: %d" % chance.choice([0, 3, 10**18, -1]),
        b"Content-Length: 99999999999999999999999999",
        b"Content-Encoding: gzip",
        b"Content-Encoding: br",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Retry-After: "
        + chance.choice([b"9" * 5000, b"nan", b"\xff\xd9", b"Tue, 14 Nov 99999999999 22:13:20 GMT", b"-1e999"]),
        b"Retry-After: [1, 2]",
        b"Date: Tue, 14 Nov 2023 22:13:20 +99999999999999999999",
        b"Set-Cookie: a=\x00; expires=never",
        b"Location: http://[::1",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"\x00: \x00",
        b"no colon",
        b" folded",
        bytes(chance.randrange(256) for _ in range(20)),
    ]
    bodies = [
        named(batch).encode(),
        b'{"batch":"\xff","events":3}',
        b'{"batch":"\\ud800","code":"UNDECODABLE","status":422}',
        b"5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"-5\r\n",
        b"[" * 5000,
        b"1e99999",
        bytes(chance.randrange(256) for _ in range(40)),
    ]
    status = chance.choice(
        [
            b"200 OK",
            b"208 X",
            b"413 \xff",
            b"422 U",
            b"503 ",
            b"000 0",
            b"99 X",
            b"1000 X",
            b"\xff",
            b"101 S",
            b"204 N",
            b"304 N",
        ]
    )
    version = chance.choice([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"http/1.1", b"ICY", b""])
    head = [version + b" " + status, *(chance.choice(headers) for _ in range(chance.randrange(5)))]
    written = b"\r\n".join(head) + b"\r\n\r\n" + chance.choice(bodies)
    return written[: chance.randrange(len(written))] if chance.random() < 0.2 else written


@pytest.mark.parametrize("form", ["", "?format=json_array"], ids=["msgpack", "json_array"])
async def test_no_answer_of_any_shape_raises(now_us: Any, batch: Batch, form: str) -> None:
    chance = random.Random(form)
    written = b""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(written)
        await writer.drain()

    seen: set[type] = set()
    async with peer(answer) as url:
        opened = open_upstream(url + form, now_us, timeouts=Timeouts(5.0, 0.3))
        for _ in range(1000):
            written = garbage(chance, batch)
            result = await opened.send(batch)
            seen.add(type(result))
            if isinstance(result, Retry | Rejected):
                orjson.dumps(result.reason)  # it stands in the status page
            if not form and isinstance(result, Acked):
                assert batch.id.encode() in written
                assert written[9:12] in {b"200", b"208"}
            if not form:
                assert not isinstance(result, Rejected | TooLarge)
        await opened.close()
    assert {Retry, Acked} <= seen


@pytest.mark.parametrize("form", ["", "?format=json_array"])
@pytest.mark.parametrize("status", [400, 401, 403, 408, 413, 422, 425, 429, 500, 502, 503, 504])
async def test_no_word_of_a_stranger_in_between_is_repeated(
    receiver: Any, batch: Batch, now_us: Any, status: int, form: str
) -> None:
    upstream = open_upstream(f"{receiver.url}{form}", now_us)
    quoted: dict[str, Any] = {"title": "shopper-1", "detail": "shopper-1", "index": "shopper-1"}
    for code in ("shopper-1", "NOT_FOUND", ""):
        receiver.refuse(status, code, **quoted)
        assert "shopper-1" not in str(await upstream.send(batch))
    for code, its_status in {**dict.fromkeys(REFUSALS, 422), **TRANSIT, **WAY}.items():
        if its_status != status:
            receiver.refuse(status, code, **quoted)
            assert "shopper-1" not in str(await upstream.send(batch))
    await upstream.close()


@pytest.mark.parametrize(("code", "status"), WAY.items())
async def test_what_our_collector_says_of_the_way_is_repeated(
    upstream: Any, receiver: Any, batch: Batch, code: str, status: int
) -> None:
    receiver.refuse(status, code, detail="a sentence")
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert f"{code} " in result.reason
    assert "(a sentence)" in result.reason
