"""Real processes on loopback: started, watched, killed."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from abside.snapshot import Attribute, Experiment, Placement, Snapshot, Variant, assemble, encode

PATIENCE_SECONDS = 30.0  # how long anything may take on a busy machine before a test calls it hung


@dataclass
class Role:
    """One abside process that can be started again and again."""

    name: str
    arguments: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        assert self.process is None or self.process.poll() is not None
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "abside", *self.arguments]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.starts += 1

    def kill(self) -> None:
        """Kill by SIGKILL, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    @property
    def resident_bytes(self) -> int:
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Shopper:
    """A shopper of the experiment's second arm, on one connection to the sidecar; a failed wait shows `agent`'s log."""

    def __init__(self, listen: str, agent: Role, patience_seconds: float) -> None:
        self._agent = agent
        self._patience_seconds = patience_seconds
        self._connection = http.client.HTTPConnection(listen, timeout=patience_seconds)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the sidecar's answer; None while nothing answers."""
        text = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, text, {"Content-Type": "application/json"})
            return json.load(self._connection.getresponse())
        except OSError:
            self._connection.close()
            return None

    def model(self) -> str | None:
        """Return the model this shopper gets; None while nothing answers."""
        answer = self.ask("POST", "/v1/assign", {"placement": "pdp", "user_id": "u3", "expose": False})
        model: str | None = answer and answer.get("config", {}).get("model")
        return model

    def until(self, model: str, *, within: float | None = None, never: str = "") -> float:
        """Wait until this shopper gets a model, and `never` another; return the seconds it took."""

        def gets() -> bool:
            found = self.model()
            assert not never or found != never
            return found == model

        return self.wait(gets, within=within)

    def wait(self, holds: Callable[[], object], *, within: float | None = None) -> float:
        begun, most = time.monotonic(), self._patience_seconds if within is None else within
        while not holds():
            assert time.monotonic() - begun < most, f"not within {most} s: {self._agent.log.read_text()[-4000:]}"
            time.sleep(0.01)  # asking costs both sides: a figure of a third of a second needs no more
        return time.monotonic() - begun

    def close(self) -> None:
        self._connection.close()


@dataclass
class Stage:
    """A folder, free ports, and the processes of one test."""

    folder: Path
    ports: list[int]
    roles: list[Role] = field(default_factory=list)

    @property
    def listen(self) -> str:
        return f"127.0.0.1:{self.ports[0]}"

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @property
    def collector_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def snapshot(self) -> Path:
        return self.folder / "snapshot" / "abside.snapshot"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def paused(self) -> Path:
        return self.folder / "paused"

    def role(self, name: str, *arguments: str) -> Role:
        role = Role(name, [name, *arguments], self.folder / f"{name}.log")
        self.roles.append(role)
        return role

    def sidecar(self, *arguments: str) -> Role:
        admin = f"127.0.0.1:{self.ports[1]}"
        where = [
            "--snapshot",
            str(self.snapshot),
            "--spool",
            str(self.folder / "spool"),
            "--upstream",
            self.collector_url,
        ]
        return self.role(
            "sidecar", *where, "--listen", self.listen, "--admin", admin, "--linger-seconds", "0", *arguments
        )

    def collector(self, *arguments: str) -> Role:
        listen = self.collector_url.removeprefix("http://")
        return self.role("collector", "--listen", listen, "--store", str(self.store), *arguments)

    def agent(self, config: Path, *arguments: str) -> Role:
        self.paused.mkdir(exist_ok=True)
        where = ["--config", str(config), "--paused", str(self.paused), "--snapshot", str(self.snapshot)]
        return self.role("agent", *where, *arguments)

    def shopper(self, agent: Role, patience_seconds: float = PATIENCE_SECONDS) -> Shopper:
        return Shopper(self.listen, agent, patience_seconds)

    def publish(self, snapshot: Snapshot) -> None:
        """Put a snapshot in place as the agent does: whole."""
        self.snapshot.parent.mkdir(exist_ok=True)
        beside = self.snapshot.with_name(".beside")
        beside.write_bytes(encode(snapshot))
        beside.replace(self.snapshot)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    made = Stage(tmp_path, ports)
    yield made
    for role in made.roles:
        role.end()


@pytest.fixture
def one_experiment() -> Snapshot:
    """One placement, one 80/20 experiment: every answer logs one exposure with one assignment."""
    arms = (Variant("control", 0, 8000), Variant("treatment", 8000, 10_000, {"pdp": {"model": "ranker-v2"}}))
    experiment = Experiment("pdp-reranker", "PDP re-ranker", "Lifts.", "running", ("pdp",), arms, "control")
    placement = Placement("pdp", {"model": "ranker-v1", "item_count": 12})
    return assemble({"country": Attribute("string", log=True)}, [placement, experiment], written_at_us=1)


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[object]]], Awaitable[float]]:
    """Wait until a question is answered by true; return the seconds it took. A refused connection counts as false."""

    async def wait(ask: Callable[[], Awaitable[object]], patience_seconds: float = PATIENCE_SECONDS) -> float:
        since = time.monotonic()
        while time.monotonic() - since < patience_seconds:
            try:
                if await ask():
                    return time.monotonic() - since
            except (aiohttp.ClientError, ConnectionError):
                pass
            await asyncio.sleep(0.01)
        raise AssertionError(f"not within {patience_seconds} s")

    return wait
