"""A disk that does not answer (a volume's snapshot freezes it for seconds): decisions, events and probes go on."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from abside import snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import aiohttp
    from tests.sidecar.conftest import Process, World

    from abside.event import EventMap

    Spawn = Callable[..., Awaitable[Process]]
    ReadSpool = Callable[[Path], list[EventMap]]

ANSWERS = 60  # of each route, one every 20 ms: several seals fall due meanwhile
DEADLINE_SECONDS = 60.0


@pytest.fixture
def disk() -> Iterator[Path]:
    """Mount a real file system that can be frozen, where this machine allows it."""
    place = Path(tempfile.mkdtemp(prefix="abside-frozen-"))
    image, mounted = place / "image", place / "disk"
    mounted.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(64 * 2**20)
        for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
            try:
                subprocess.run(command, check=True, capture_output=True, timeout=30)
            except (OSError, subprocess.SubprocessError):
                pytest.skip("file systems in a file cannot be mounted here")
        yield mounted
    finally:
        with suppress(OSError):
            freeze("-u", mounted)
            subprocess.run(["umount", "--lazy", str(mounted)], check=False, capture_output=True)
        shutil.rmtree(place, ignore_errors=True)


def freeze(how: str, disk: Path) -> int:
    return subprocess.run(["fsfreeze", how, str(disk)], check=False, capture_output=True, timeout=30).returncode


@pytest.fixture
def memory() -> Iterator[Path]:
    if not Path("/dev/shm").is_dir():  # noqa: S108 a file system in memory is what is tested
        pytest.skip("there is no file system in memory at /dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="abside-open-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


async def test_while_the_disk_is_frozen_every_route_is_answered_and_nothing_accepted_is_lost(
    sidecar_process: Spawn,
    http: aiohttp.ClientSession,
    world: World,
    tmp_path: Path,
    disk: Path,
    memory: Path,
    read_spool: ReadSpool,
) -> None:
    (tmp_path / "abside.snapshot").write_bytes(snapshot.encode(world.snapshot()))
    places = ("--spool", str(disk / "spool"), "--spool-open", str(memory))
    process = await sidecar_process(*places, "--spool-floor", "1MiB", "--seal-seconds", "0.2")
    accepted: list[str] = []

    async def ask(method: str, url: str, body: Any = None) -> None:
        async with http.request(method, url, json=body) as response:
            await response.read()
            assert response.status in {200, 202}

    async def everything(number: int) -> None:
        await ask("POST", f"{process.url}/v1/assign", {"placement": "pdp", "user_id": "u7603"})
        event = {"type": "click", "user_id": "u1", "event_id": f"e{number}", "item_id": "a"}
        await ask("POST", f"{process.url}/v1/events", event)
        accepted.append(f"e{number}")
        for path in ("/livez", "/readyz", "/metrics"):
            await ask("GET", f"{process.admin_url}{path}")
        await ask("GET", f"{process.url}/v1/status")

    await everything(0)
    if await asyncio.to_thread(freeze, "-f", disk):
        pytest.skip("file systems cannot be frozen here")
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for number in range(1, ANSWERS):
                await everything(number)
                await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(freeze, "-u", disk)
    process.child.send_signal(signal.SIGTERM)
    assert await process.stopped() == 0
    found = [one["event_id"] for one in read_spool(disk / "spool") if one["type"] == "click"]
    assert sorted(found) == sorted(accepted)
    assert len(accepted) == ANSWERS
