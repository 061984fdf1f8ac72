from __future__ import annotations

import asyncio
import socket
import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
import zstandard
from aiohttp import web

from abside.upstream.contract import Batch
from kafka_topic import KafkaTopic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from kafka_broker import KafkaBroker

NOW_US = 1_700_000_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@dataclass(slots=True)
class Delivery:
    """One request as it came in."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def unpacked(self) -> bytes:
        """The body without its content encoding."""
        match self.headers.get("Content-Encoding", "identity"):
            case "zstd":
                return zstandard.ZstdDecompressor().decompress(self.body)
            case "gzip":
                return zlib.decompress(self.body, 16 + zlib.MAX_WBITS)
            case _:
                return self.body

    @property
    def events(self) -> list[Any]:
        """The events, whatever they were written in."""
        if self.headers["Content-Type"] == "application/json":
            return list(orjson.loads(self.unpacked))
        unpacker = msgpack.Unpacker()
        unpacker.feed(self.unpacked)
        return list(unpacker)


@dataclass(slots=True)
class Receiver:
    """A receiver on loopback that stores batches by id and misbehaves on command, once for each command."""

    url: str = ""
    commands: list[Callable[[web.Request], Any]] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    stored: dict[str, list[Any]] = field(default_factory=dict)
    connections: set[int] = field(default_factory=set)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))  # one more for each delivery
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        delivery = Delivery(request.path, request.query_string, request.headers.copy(), await request.read())
        self.deliveries.append(delivery)
        self.arrived.release()
        self.connections.add(id(request.transport))
        if self.commands:
            answer: web.StreamResponse = await self.commands.pop(0)(request)
            return answer
        known = delivery.headers["Idempotency-Key"] in self.stored
        self.stored.setdefault(delivery.headers["Idempotency-Key"], delivery.events)
        return web.Response(status=208 if known else 200, **self._acknowledgement(delivery))

    def _acknowledgement(self, delivery: Delivery) -> dict[str, Any]:
        """Answer as our collector does where a batch came to it, and without a word otherwise."""
        if delivery.headers["Content-Type"] != "application/msgpack":
            return {}
        named = {"batch": delivery.headers["Idempotency-Key"], "events": len(delivery.events), "status": "stored"}
        return {"body": orjson.dumps(named), "content_type": "application/json"}

    def refuse(self, status: int, code: str, **members: Any) -> None:
        """Refuse the next delivery with a problem document, as our collector writes it: it names the batch."""
        problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "code": code}

        async def command(request: web.Request) -> web.Response:
            body = orjson.dumps({**problem, "batch": request.headers["Idempotency-Key"], **members})
            return web.Response(status=status, body=body, content_type="application/problem+json")

        self.commands.append(command)

    def answer(self, status: int, *, body: str = "", content_type: str = "text/plain", **headers: str) -> None:
        """Answer the next delivery so; an underscore in a header's name stands for a hyphen."""

        async def command(_: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, text=body, content_type=content_type, headers=named)

        self.commands.append(command)

    def write(self, data: bytes) -> None:
        """Write these bytes instead of an answer to the next delivery, and cut the connection."""

        async def command(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.write(data)
            request.transport.close()
            return web.Response()

        self.commands.append(command)

    @property
    def nobody(self) -> str:
        """A URL where nothing listens."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return f"http://127.0.0.1:{taken.getsockname()[1]}"

    def be_busy(self, after_seconds: float | None = None) -> None:
        """Put the next delivery off, for a time if one is given."""
        self.answer(503, **({} if after_seconds is None else {"Retry_After": f"{after_seconds:g}"}))

    def forbid(self) -> None:
        """Answer the next delivery as one whose token is wrong."""
        self.answer(401)

    def find_too_large(self) -> None:
        """Refuse the next delivery for its size."""
        self.refuse(413, "TOO_LARGE")

    def reject(self) -> None:
        """Refuse the next delivery for what it contains."""
        self.refuse(422, "UNDECODABLE")

    def break_off(self) -> None:
        """Begin to answer the next delivery, and cut the connection."""
        self.write(b"HTTP/1.1 200 OK\r\nContent-Le")

    def recover(self) -> None:
        """Go on as usual: each command was about one delivery."""

    def keep_silent(self, after: bytes = b"") -> None:
        """Leave the next delivery without an answer, or with the beginning of one."""

        async def command(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.write(after)
            await self.released.wait()
            return web.Response()

        self.commands.append(command)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    state = Receiver()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", state.handle)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    state.url = f"http://{host}:{port}"
    yield state
    state.released.set()
    await runner.cleanup()


@pytest.fixture
def topic(kafka_broker: KafkaBroker) -> Iterator[KafkaTopic]:
    """A topic of its own."""
    made = KafkaTopic(kafka_broker)
    yield made
    made.recover()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound, so that nobody else takes it, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Three events, of every kind of value an event may hold."""
    events = [
        {"type": "click", "item_id": "é", "position": 1, "ts": NOW_US},
        {"type": "purchase", "value": 12.5, "bot": True, "user_id": None},
        {"type": "own", "properties": {"a": -1, "b": 2**63}, "items": ["x", "y"]},
    ]
    return Batch("pod-1.00000000000000000001-boot1", len(events), b"".join(map(msgpack.packb, events)))


@pytest.fixture(scope="session")
def now_us() -> Callable[[], int]:
    return lambda: NOW_US
