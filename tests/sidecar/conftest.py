"""A real sidecar on real files, in the test's own loop; and one in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from abside import event, snapshot
from abside.sidecar.app import Sidecar
from abside.sidecar.settings import SidecarSettings
from abside.snapshot import Attribute, Experiment, Placement, Snapshot, Variant
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from abside.snapshot import Record

DEADLINE_SECONDS = 20.0  # for what takes milliseconds: a shared machine may stall
NOW_US = 1_795_000_000_000_000
ATTRIBUTES = {
    "country": Attribute("string", log=True),
    "tier": Attribute("string"),
    "visits": Attribute("number", log=True),
    "app_version": Attribute("version", log=True),
    "since": Attribute("date", log=True),
    "member": Attribute("boolean", log=True),
    "tags": Attribute("list", log=True),
}
PDP = Placement("pdp", {"model": "ranker-v1", "feature_weights": {"margin": 0.0, "freshness": 1.0}, "item_count": 12})
# Of the golden vectors: u7603 is in bucket 0, u3325 in 7999, u7343 in 8000, u5382 in 9999 of this experiment.
RERANKER = Experiment(
    id="pdp-rank-2026-11",
    name="PDP re-ranker v2",
    hypothesis="More carts",
    status="running",
    placements=("pdp",),
    variants=(
        Variant("control", 0, 8000),
        Variant(
            "treatment",
            8000,
            10_000,
            {"pdp": {"model": "ranker-v2", "feature_weights": {"margin": 0.3, "freshness": 1.0}}},
        ),
    ),
    control="control",
    force={"qa-user-1": "treatment"},
)
BADGE = Experiment(
    id="pdp-badge",
    name="Badge",
    hypothesis="More clicks",
    status="paused",
    placements=("pdp",),
    variants=(Variant("control", 0, 5000), Variant("badge", 5000, 10_000, {"pdp": {"item_count": 8}})),
    control="control",
    force={"qa-user-2": "badge"},
)
FEED = Experiment(
    id="feed-ramp",
    name="Feed",
    hypothesis="Longer visits",
    status="running",
    placements=("newsfeed",),
    unit="session",
    variants=(Variant("control", 0, 5000), Variant("dense", 5000, 10_000, {"newsfeed": {"rows": 9}})),
    control="control",
    phase=2,
)
GERMAN = Experiment(
    id="search-de",
    name="Search in Germany",
    hypothesis="Better results",
    status="running",
    placements=("search",),
    variants=(Variant("control", 0, 1), Variant("german", 1, 10_000, {"search": {"stemmer": "de"}})),
    control="control",
    eligibility=({"attribute": "country", "type": "string", "op": "eq", "value": "DE"},),
)
RECORDS: tuple[Record, ...] = (
    PDP,
    Placement("newsfeed", {"rows": 5}),
    Placement("search", {"stemmer": "none"}),
    Placement("home", {"hero": True}),
    RERANKER,
    BADGE,
    FEED,
    GERMAN,
)


@dataclass(frozen=True, slots=True)
class World:
    """What the sample snapshot is made of, to be changed by a test."""

    attributes: dict[str, Attribute] = field(default_factory=lambda: dict(ATTRIBUTES))
    records: tuple[Record, ...] = RECORDS

    def snapshot(self, **changes: Mapping[str, Any]) -> Snapshot:
        """Assemble, with fields of records changed by record id (`-` in an id written as `_`)."""
        known = {name.replace("-", "_"): name for name in (record.id for record in self.records)}
        changed = {known[name]: fields for name, fields in changes.items()}
        records = [replace(record, **changed.get(record.id, {})) for record in self.records]
        return snapshot.assemble(self.attributes, records, written_at_us=NOW_US)

    def experiment(self, **changes: Any) -> Experiment:
        """Return the re-ranker, changed."""
        return replace(RERANKER, **changes)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(slots=True)
class Running:
    """A sidecar at work, and the client that talks to it."""

    sidecar: Sidecar
    http: aiohttp.ClientSession
    directory: Path

    @property
    def url(self) -> str:
        return f"http://{self.sidecar.addresses[0]}"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.sidecar.addresses[0].rpartition(":")
        return host, int(port)

    async def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        async with self.http.post(self.url + path, data=data, headers=given) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Reply:
        async with self.http.get(self.url + path) as response:
            return Reply(response.status, response.headers, await response.read())

    async def admin(self, path: str) -> Reply:
        async with self.http.get(f"http://{self.sidecar.admin_address}{path}") as response:
            return Reply(response.status, response.headers, await response.read())

    async def assign(self, **body: Any) -> Any:
        """Ask for an assignment that must succeed."""
        reply = await self.post("/v1/assign", body)
        assert reply.status == 200, reply.text
        return reply.json

    async def status(self) -> Any:
        reply = await self.get("/v1/status")
        assert reply.status == 200
        return reply.json

    async def metrics(self) -> dict[str, float]:
        """Scrape: every sample by its name and labels as Prometheus writes them."""
        self.sidecar.metrics.fresh_until = 0.0  # as a scrape a second later
        reply = await self.admin("/metrics")
        lines = [line.rpartition(" ") for line in reply.text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def spooled(self, kind: str | None = None) -> list[event.EventMap]:
        """Read back every event on disk, oldest first."""
        return spooled(self.directory / "spool", kind)

    def publish(self, published: Snapshot | bytes) -> None:
        publish(self.directory / "abside.snapshot", published)


def publish(path: Path, published: Snapshot | bytes) -> None:
    """Put a snapshot file in place whole, as the agent does."""
    beside = path.with_suffix(".tmp")
    beside.write_bytes(published if isinstance(published, bytes) else snapshot.encode(published))
    beside.replace(path)


def spooled(spool: Path, kind: str | None = None) -> list[event.EventMap]:
    paths = sorted(path for path in (spool / "q").iterdir() if path.suffix in {".open", ".seg"})
    payloads = [payload for path in paths for payload in good_frames(path.read_bytes()).payloads]
    events = [event.decode(payload) for payload in payloads]
    return [one for one in events if kind is None or one["type"] == kind]


async def polled(holds: Callable[[], Awaitable[bool] | bool]) -> None:
    """Poll until something holds; fail after a generous deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            result = holds()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class Process:
    """`python -m abside sidecar` in a process of its own."""

    child: asyncio.subprocess.Process
    url: str
    admin_url: str
    lines: list[str]
    reading: asyncio.Task[None]

    async def stopped(self) -> int:
        """Wait for its end and give its exit code, the log read to its end."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            code = await self.child.wait()
            await self.reading
        return code


async def _read_log(child: asyncio.subprocess.Process, lines: list[str]) -> None:
    assert child.stderr is not None
    while line := await child.stderr.readline():
        lines.append(line.decode())


async def spawn(*arguments: str, descriptors: int | None = None, **variables: str) -> Process:
    """Start it, with so many descriptors at most, and wait until it listens or ends."""
    limit = ("sh", "-c", f'ulimit -n {descriptors} && exec "$0" "$@"') if descriptors else ()
    child = await asyncio.create_subprocess_exec(
        *limit,
        *(sys.executable, "-m", "abside", "sidecar", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **variables},  # noqa: TID251 a child's own, made from ours
    )
    lines: list[str] = []
    process = Process(child, "", "", lines, asyncio.get_running_loop().create_task(_read_log(child, lines)))

    def listening() -> bool:
        found = re.search(r'decisions="?\[\\?"([^"\\]+).*admin=(\S+)', "".join(lines))
        if found:
            process.url, process.admin_url = f"http://{found[1]}", f"http://{found[2]}"
        return bool(found) or process.reading.done()

    await polled(listening)
    return process


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Poll until something holds; fail after a generous deadline."""
    return polled


@pytest.fixture
def read_spool() -> Callable[[Path], list[event.EventMap]]:
    """Read back every event in a spool directory, oldest first."""
    return spooled


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS)) as session:
        yield session


API_SUITE = {
    "test_assign_api",
    "test_bad_input",
    "test_events_api",
    "test_ofrep",
    "test_own_events",
    "test_tokens",
    "test_track",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of the API suite that starts a sidecar over the fast path and over aiohttp's."""
    if "fast_path" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in API_SUITE:
        metafunc.parametrize("fast_path", ["on", "off"])


@pytest.fixture
def fast_path() -> str:
    """Which path answers, where a test does not run over both."""
    return "on"


@pytest.fixture
async def start(
    tmp_path: Path, http: aiohttp.ClientSession, world: World, fast_path: str
) -> AsyncIterator[Callable[..., Awaitable[Running]]]:
    """Start a sidecar over `tmp_path`; `published=None` starts it before the agent has written anything."""
    begun: list[Sidecar] = []
    usual = world.snapshot()

    async def begin(published: Snapshot | bytes | None = usual, **changes: Any) -> Running:
        cheap: dict[str, Any] = {
            "snapshot": tmp_path / "abside.snapshot",
            "spool": tmp_path / "spool",
            "listen": ("127.0.0.1:0",),
            "admin": "127.0.0.1:0",
            "linger_seconds": 0.0,
            "quiet_seconds": 0.0,
            "poll_seconds": 0.02,
            "pod": "pod-7",
            "app": "rec",
            "app_version": "1.4",
            "namespace": "recs",
            "cluster": "eu-1",
            "fast_path": fast_path,
        }
        if published is not None:
            publish(tmp_path / "abside.snapshot", published)
        sidecar = Sidecar.build(SidecarSettings(**{**cheap, **changes}))
        begun.append(sidecar)
        await sidecar.start()
        return Running(sidecar, http, tmp_path)

    yield begin
    for sidecar in begun:
        if not sidecar.health.draining:
            await sidecar.drain()


@pytest.fixture
async def sidecar_process(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start a real process over `tmp_path`; whatever still runs at the end of the test is killed."""
    begun: list[Process] = []

    async def begin(*arguments: str, descriptors: int | None = None, **variables: str) -> Process:
        places = ("--snapshot", str(tmp_path / "abside.snapshot"), "--spool", str(tmp_path / "spool"))
        doors = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--linger-seconds", "0.2", "--quiet-seconds", "0")
        process = await spawn(*places, *doors, *arguments, descriptors=descriptors, **variables)
        begun.append(process)
        return process

    yield begin
    for process in begun:
        with suppress(ProcessLookupError):
            process.child.send_signal(signal.SIGKILL)
        await process.stopped()
