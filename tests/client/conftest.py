"""A real sidecar in a process of its own, peers that misbehave, and both clients behind one way to call them."""

from __future__ import annotations

import asyncio
import inspect
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from abside import event
from abside.assignment.condition import compile_eligibility
from abside.client import AsyncClient, Client
from abside.snapshot import Attribute, Experiment, Placement, Snapshot, Variant, assemble, encode
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from abside.client import Assignment, Receipt, Stats
    from abside.snapshot import Parameters

    Until = Callable[[Callable[[], bool]], Awaitable[None]]

PATIENCE_SECONDS = 30.0  # for what takes milliseconds: a shared machine may stall
BASE: Parameters = {"model": "ranker-v1", "item_count": 12}


@dataclass
class Process:
    """One sidecar that can be killed and started again at the same address."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    options: tuple[str, ...] = ()  # further ones, of the command

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def unix(self) -> str:
        return f"unix:{self.folder / 'abside.sock'}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        where = ["--snapshot", str(self.folder / "snapshot"), "--spool", str(self.folder / "spool")]
        listen = ["--listen", f"127.0.0.1:{self.port}", "--listen", self.unix, "--admin", "127.0.0.1:0"]
        command = [sys.executable, "-m", "abside", "sidecar", *where, *listen, "--linger-seconds", "0", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/v1/status", timeout=1) as status:
                return bool(status.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def publish(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place whole, as the agent does."""
        beside = self.folder / "snapshot.tmp"
        beside.write_bytes(encode(snapshot))
        beside.replace(self.folder / "snapshot")

    def await_no_local(self) -> None:
        """Wait until the sidecar has taken over every folder of a process that has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        local = self.folder / "spool" / "local"
        while local.is_dir() and any(path.is_dir() for path in local.iterdir()):
            assert time.monotonic() < deadline, list(local.rglob("*"))
            time.sleep(0.02)

    def spooled(self, kind: str) -> list[event.EventMap]:
        """Read back every event of one type, oldest first."""
        segments = sorted(path for path in (self.folder / "spool" / "q").iterdir() if path.suffix in {".open", ".seg"})
        events = [event.decode(one) for path in segments for one in good_frames(path.read_bytes()).payloads]
        return [one for one in events if one["type"] == kind]


class Peer:
    """Something that listens where the sidecar should, and treats each connection in its own bad way."""

    def __init__(self, behave: Callable[[socket.socket], None], *, accept: bool = True) -> None:
        self.connections = 0
        self._behave = behave
        self._closing = False
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)] if accept else []
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._behave(connection)

    def close(self) -> None:
        self._closing = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listening.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@dataclass
class Asked:
    """A client of either kind, called the same way; the blocking one in a thread, as a web framework would."""

    client: Client | AsyncClient

    async def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if isinstance(self.client, Client):
            return await asyncio.to_thread(method, *args, **options)
        result = method(*args, **options)
        return await result if inspect.isawaitable(result) else result

    async def assign(self, placement: str, **options: Any) -> Assignment:
        return await self._call(self.client.assign, placement, **options)  # type: ignore[no-any-return]

    async def assign_many(self, placements: list[str], **options: Any) -> dict[str, Assignment]:
        return await self._call(self.client.assign_many, placements, **options)  # type: ignore[no-any-return]

    async def event(self, kind: str, **options: Any) -> Receipt:
        return await self._call(self.client.event, kind, **options)  # type: ignore[no-any-return]

    async def expose(self, token: str | Iterable[str]) -> Receipt:
        return await self._call(self.client.expose, token)  # type: ignore[no-any-return]

    async def close(self) -> None:
        await self._call(self.client.close)

    @property
    def stats(self) -> Stats:
        return self.client.stats


@dataclass
class Clients:
    """Makes clients of one kind, and closes them."""

    kind: type[Client | AsyncClient]
    made: list[Asked] = field(default_factory=list)

    def __call__(self, address: str, **options: Any) -> Asked:
        """Make one. Its deadline is generous: what is tested is never how fast this machine is."""
        self.made.append(Asked(self.kind(address, **{"deadline_seconds": 10.0, **options})))
        return self.made[-1]


@pytest.fixture(params=[Client, AsyncClient], ids=["blocking", "asyncio"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Clients]:
    clients = Clients(request.param)
    yield clients
    for asked in clients.made:
        await asked.close()


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(behave: Callable[[socket.socket], None], *, accept: bool = True) -> Peer:
        made.append(Peer(behave, accept=accept))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def world() -> Snapshot:
    """Shoppers from Germany are in a 50/50 experiment at pdp; all others get the base parameters."""
    attributes = {"country": Attribute("string", log=True)}
    eligibility, errors = compile_eligibility([{"attribute": "country", "op": "eq", "value": "DE"}], attributes)
    assert not errors
    arms = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {"pdp": {"model": "ranker-v2"}}))
    reranker = Experiment("pdp-reranker", "Re-ranker", "Lifts.", "running", ("pdp",), arms, "control")
    reranker = replace(reranker, eligibility=tuple(eligibility), force={"qa-treatment": "treatment"})
    return assemble(attributes, [Placement("pdp", BASE), Placement("home", {"hero": True}), reranker], written_at_us=1)


@pytest.fixture
def absent(tmp_path: Path) -> Iterator[Process]:
    """A place for a sidecar, without one."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    process = Process(tmp_path, port)
    yield process
    process.kill()


@pytest.fixture
def sidecar(absent: Process, world: Snapshot) -> Process:
    """A running sidecar with the sample world."""
    absent.publish(world)
    absent.start()
    return absent


@pytest.fixture
def until() -> Until:
    """Poll until a condition is true; fail after a generous deadline."""

    async def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    return wait
