"""A collector in this loop, a sender that speaks its protocol, and a clock that stands still until it is told."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from abside import event
from abside.collector.app import collector
from abside.collector.keep.group import Grouper
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import Writer
from abside.collector.receive.intake import Intake
from abside.collector.settings import CollectorSettings
from abside.collector.status import CollectorParts
from abside.environ import now_us
from abside.supervise import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from pathlib import Path

    from abside.event import EventMap

DEADLINE_SECONDS = 60.0
DAY_US = 86_400 * 1_000_000
NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z


@dataclass
class Clock:
    """µs UTC, as told."""

    us: int = NOON_US

    def __call__(self) -> int:
        return self.us


@dataclass
class Reply:
    status: int
    document: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Sender:
    """Posts batches to one collector."""

    address: str
    session: aiohttp.ClientSession
    scheme: str = "http"
    headers: dict[str, str] = field(default_factory=dict)

    async def send(
        self, batch_id: str, events: Sequence[EventMap] = (), *, body: bytes | None = None, **changed: str | None
    ) -> Reply:
        """Post a batch. `changed` replaces headers (X_Batch_Count="7"); None leaves one out."""
        headers = {
            "Content-Type": "application/msgpack",
            "Idempotency-Key": batch_id,
            "X-Batch-Count": str(len(events)),
            **self.headers,
        }
        for name, value in changed.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        data = io.BytesIO(packed(events) if body is None else body)
        return await self.ask("POST", "/v1/batches", data=data, headers=headers, skip_auto_headers=["Content-Type"])

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        async with self.session.request(method, f"{self.scheme}://{self.address}{path}", **options) as response:
            content = await response.read()
            document = orjson.loads(content) if content else {}
            if response.status >= 400:
                assert response.content_type == "application/problem+json"
                assert {"type", "title", "status", "detail", "code"} <= document.keys()
                assert document["status"] == response.status
            return Reply(response.status, document, dict(response.headers))

    async def metrics(self) -> dict[str, float]:
        """Return the samples of `/metrics` by name and labels, as they are written."""
        async with self.session.get(f"{self.scheme}://{self.address}/metrics") as response:
            assert (response.status, response.headers["Content-Type"]) == (200, "text/plain; version=0.0.4")
            lines = (await response.text()).splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def until_pending(self) -> None:
        """Wait until a batch is being read or gathered."""
        async with asyncio.timeout(20):
            while (await self.status())["pending_bytes"] == 0:  # noqa: ASYNC110 the collector tells no one
                await asyncio.sleep(0.01)

    async def status(self) -> dict[str, Any]:
        return (await self.ask("GET", "/v1/status")).document


class Collector:
    """`abside collector` as a process; killed and started again on one store."""

    def __init__(self, store: Path, log: Path) -> None:
        self.store = store
        self.log = log
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def launch(self, *options: str) -> None:
        """Start it and do not wait."""
        command = [sys.executable, "-m", "abside", "collector", "--listen", "127.0.0.1:0", "--store", str(self.store)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([*command, *options], stderr=log)

    def start(self, *options: str) -> None:
        self.launch(*options)
        self.address = self.said(r"listening address=(\S+)")

    def said(self, pattern: str) -> str:
        """Wait for a line of the log and give its first group."""
        until = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < until:
            if match := re.search(pattern, self.log.read_text()):
                return match[1]
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)
        raise AssertionError(self.log.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


Start = Callable[..., AbstractAsyncContextManager[Sender]]  # settings by name, and `clock`
Views = Callable[..., "list[EventMap]"]  # a name and a count


def packed(events: Iterable[EventMap]) -> bytes:
    return b"".join(map(event.encode, events))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def start(store: Path) -> AsyncIterator[Start]:
    """Return a function that runs a collector over `store` and yields a sender to it, which outlives the collector."""
    async with AsyncExitStack() as sessions:

        @asynccontextmanager
        async def run(clock: Callable[[], int] = now_us, **settings: Any) -> AsyncIterator[Sender]:
            chosen = {"store": store, "listen": "127.0.0.1:0", "group_seconds": 0.01, **settings}
            session = await sessions.enter_async_context(aiohttp.ClientSession())
            async with collector(CollectorSettings(**chosen), clock) as address:
                yield Sender(address, session)

        yield run


@pytest.fixture
async def parts(store: Path, clock: Clock) -> AsyncIterator[CollectorParts]:
    """Yield the parts of a collector, of which nothing runs."""
    with closing(Writer.open(store, known_since=date.min)) as writer:
        grouper = Grouper(writer, seconds=0.0, limit_bytes=2**20)
        bounds = {"max_batch_bytes": 2**20, "max_pending_bytes": 2**20, "body_seconds": 1.0}
        intake = Intake(grouper, clock, token=None, **bounds)  # type: ignore[arg-type]
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        yield CollectorParts(writer, grouper, intake, upkeep, None, Supervisor(print), None, None)
        grouper.close()
        intake.close()


@pytest.fixture
def views() -> Views:
    """Return a function that makes page views: `views("a", 3)` has the event ids a-0, a-1, a-2."""

    def make(name: str, count: int = 1) -> list[EventMap]:
        return [
            {
                "event_id": f"{name}-{number}",
                "type": "page_view",
                "ts": NOON_US,
                "seen_ts": NOON_US,
                "user_id": f"u{number}",
                "session_id": f"s{number}",
                "page_type": "pdp",
            }
            for number in range(count)
        ]

    return make


@pytest.fixture
def process(store: Path, tmp_path: Path) -> Iterator[Collector]:
    with closing(Collector(store, tmp_path / "log")) as collector:
        yield collector
