from __future__ import annotations

import asyncio
import resource
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from abside.spool.frame import good_frames
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

# A shared machine may stall for a second: how long an example takes says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

START_US = 1_700_000_000_000_000
ONE_DISK = {"floor_bytes": 0, "fsync": "never"}  # how full this machine's disk is, and how slow, is no test's matter


@dataclass(slots=True)
class Clock:
    """A clock that goes on when it is told to."""

    seconds: float = 0.0

    def now_us(self) -> int:
        return START_US + int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Opener:
    """Opens spools in one directory, one after another."""

    directory: Path
    clock: Clock = field(default_factory=Clock)
    opened: list[Spool] = field(default_factory=list)

    def __call__(self, boot: str = "boot1", now_us: Callable[[], int] | None = None, **changes: Any) -> Spool:
        chosen = SpoolSettings(**{"directory": self.directory, **ONE_DISK, **changes})
        spool = Spool.open(chosen, boot, now_us or self.clock.now_us, self.clock.monotonic)
        self.opened.append(spool)
        return spool


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_spool(tmp_path: Path, clock: Clock) -> Iterator[Opener]:
    opener = Opener(tmp_path / "spool", clock)
    yield opener
    for spool in opener.opened:
        asyncio.run(spool.close())


@pytest.fixture(scope="session")
def payloads_in() -> Callable[[Path], list[bytes]]:
    """List the good payloads of every segment file in a directory, in the order of the files' names."""

    def read(directory: Path) -> list[bytes]:
        files = sorted(path for path in directory.glob("*") if path.suffix in {".open", ".seg"})
        return [payload for path in files for payload in good_frames(path.read_bytes()).payloads]

    return read


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], bool]], Any]:
    """Wait on the event loop until something holds; fail after ten seconds."""

    async def wait(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10.0
        while not holds():
            assert time.monotonic() < deadline, "it did not come about within ten seconds"
            await asyncio.sleep(0.005)

    return wait


@contextmanager
def starved() -> Iterator[None]:
    """Leave this process no descriptor it could open; those that are open stay good."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="session")
def no_descriptors() -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager that leaves the process without descriptors."""
    return starved
