"""The sidecar as a process: signals, kills, restarts, and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from abside import snapshot
from abside.sidecar.app import GC_YOUNG_OBJECTS, _run
from abside.sidecar.settings import SidecarSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Process, World

    from abside.event import EventMap

    Spawn = Callable[..., Awaitable[Process]]
    ReadSpool = Callable[[Path], list[EventMap]]

MARKER = "shopper-4711"
DEADLINE_SECONDS = 20.0
IN_FLIGHT = GC_YOUNG_OBJECTS // 2  # objects that live at once; the usual threshold is 700


@pytest.fixture
def published(tmp_path: Path, world: World) -> Path:
    """A snapshot file in place."""
    path = tmp_path / "abside.snapshot"
    path.write_bytes(snapshot.encode(world.snapshot()))
    return path


async def post(http: aiohttp.ClientSession, url: str, body: Any) -> int:
    async with http.post(url, json=body) as response:
        await response.read()
        return response.status


async def keep_posting(http: aiohttp.ClientSession, url: str, name: str, acked: list[str]) -> None:
    """Post events and ask for assignments one after another until the process is gone; note what was accepted."""
    number = 0
    while True:
        event_id = f"{name}-{number}"
        event = {"type": "click", "user_id": MARKER, "event_id": event_id, "item_id": "a"}
        try:
            if await post(http, f"{url}/v1/events", event) == 202:
                acked.append(event_id)
            assert await post(http, f"{url}/v1/assign", {"placement": "pdp", "user_id": MARKER}) == 200
        except (aiohttp.ClientError, ConnectionError):
            return
        number += 1


async def keep_posting_for(
    http: aiohttp.ClientSession, url: str, name: str, acked: list[str], *, seconds: float
) -> None:
    """Do so for a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await keep_posting(http, url, name, acked)


def clicks(events: list[EventMap]) -> Counter[str]:
    return Counter(one["event_id"] for one in events if one["type"] == "click")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_it_under_load_and_it_exits_0_with_all_it_accepted_on_disk(
    sidecar_process: Spawn,
    http: aiohttp.ClientSession,
    published: Path,
    tmp_path: Path,
    read_spool: ReadSpool,
    until: Callable[..., Awaitable[None]],
    number: signal.Signals,
) -> None:
    process = await sidecar_process("--linger-seconds", "0.3")
    acked: list[str] = []
    async with asyncio.TaskGroup() as group:
        for client in range(3):
            group.create_task(keep_posting(http, process.url, f"c{client}", acked))
        await until(lambda: len(acked) > 50)
        process.child.send_signal(number)
        assert await process.stopped() == 0
    events = read_spool(tmp_path / "spool")
    assert clicks(events) == Counter(acked)
    assert events[-1]["type"] == "account"
    assert events[-1]["clean_end"] is True
    assert events[-1]["accepted"]["click"] == len(acked)
    assert events[-1]["accepted"]["exposure"] == sum(one["type"] == "exposure" for one in events)
    assert [path.suffix for path in (tmp_path / "spool" / "q").iterdir()] == [".seg"]
    logged = "".join(process.lines)
    assert MARKER not in logged
    assert "Traceback" not in logged
    assert [line.split()[3] for line in process.lines][-2:] == ["draining", "drained"]


async def test_a_drain_no_longer_than_its_linger_still_seals_and_says_what_is_left(
    sidecar_process: Spawn, http: aiohttp.ClientSession, published: Path, tmp_path: Path
) -> None:
    process = await sidecar_process("--linger-seconds", "0.2", "--drain-seconds", "0.2")
    event = {"type": "click", "user_id": "u1", "item_id": "a"}
    async with http.post(f"{process.url}/v1/events", json=event) as answer:
        assert answer.status == 202
    process.child.send_signal(signal.SIGTERM)
    assert await process.stopped() == 0
    said = "".join(process.lines)
    assert "last_seal_failed" not in said
    assert [path.suffix for path in (tmp_path / "spool" / "q").iterdir()] == [".seg"]
    assert "drained left_segments=1 " in said


async def test_a_request_in_flight_when_the_signal_comes_is_finished(
    sidecar_process: Spawn, published: Path, tmp_path: Path, read_spool: ReadSpool
) -> None:
    process = await sidecar_process("--linger-seconds", "0")
    host, _, port = process.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = orjson.dumps({"type": "click", "user_id": "u1", "event_id": "slow-1"})
    writer.write(b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:9])
    await writer.drain()
    async with aiohttp.ClientSession() as other, other.get(f"{process.url}/v1/status") as response:
        assert response.status == 200  # by now the first half was read
    process.child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not any(" draining " in line for line in process.lines):  # noqa: ASYNC110 a log tells no one
            await asyncio.sleep(0.005)
        writer.write(body[9:])
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert b"Connection: close\r\n" in answer
    assert await process.stopped() == 0
    assert clicks(read_spool(tmp_path / "spool")) == Counter(["slow-1"])


async def test_killed_again_and_again_under_load_it_loses_nothing_it_accepted(
    sidecar_process: Spawn,
    http: aiohttp.ClientSession,
    published: Path,
    tmp_path: Path,
    read_spool: ReadSpool,
    until: Callable[..., Awaitable[None]],
) -> None:
    acked: list[str] = []
    for life in range(3):
        process = await sidecar_process("--seal-seconds", "0.1")
        before = len(acked)
        async with asyncio.TaskGroup() as group:
            for client in range(2):
                group.create_task(keep_posting(http, process.url, f"life{life}-{client}", acked))
            await until(lambda before=before: len(acked) > before + 40)
            process.child.send_signal(signal.SIGKILL)
            assert await process.stopped() == -signal.SIGKILL
        found = clicks(read_spool(tmp_path / "spool"))
        assert Counter(acked) - found == Counter()
        assert max(found.values()) == 1
    last = await sidecar_process()
    last.child.send_signal(signal.SIGTERM)
    assert await last.stopped() == 0
    found = clicks(read_spool(tmp_path / "spool"))
    assert Counter(acked) - found == Counter()
    assert sum(found.values()) - len(acked) <= 6  # written, but killed before their answer
    assert list((tmp_path / "spool" / "dead").iterdir()) == []


async def test_a_second_sidecar_on_the_same_spool_says_so_in_one_line_and_exits_1(
    sidecar_process: Spawn, http: aiohttp.ClientSession, published: Path
) -> None:
    first = await sidecar_process()
    second = await sidecar_process()
    assert await second.stopped() == 1
    (line,) = second.lines
    assert " ERROR sidecar cannot_start reason=" in line
    assert f"in use by another process (process {first.child.pid}): give each sidecar its own" in line
    assert await post(http, f"{first.url}/v1/assign", {"placement": "pdp", "user_id": "u1"}) == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "192.0.2.1:7600"), "--listen 192.0.2.1:7600 cannot be had: "),
        (("--admin", "192.0.2.1:7601"), "give --admin another"),
        (("--spool", "/dev/null/spool"), "could not prepare the directory /dev/null/spool"),
    ],
)
async def test_what_keeps_it_from_starting_is_one_line_and_exit_1(
    sidecar_process: Spawn, arguments: tuple[str, str], words: str
) -> None:
    process = await sidecar_process(*arguments)
    assert await process.stopped() == 1
    (line,) = [line for line in process.lines if " ERROR " in line]
    assert "cannot_start" in line
    assert words in line
    assert "Traceback" not in "".join(process.lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "127.0.0.1"), "'--listen': '127.0.0.1' is not an address: write host:port"),
        (("--admin", "127.0.0.1:http"), "'--admin': '127.0.0.1:http' is not an address"),
        (("--upstream", "ftp://collector"), "the scheme ftp is not known; write http:// or https://"),
        (("--upstream", "http://collector:7700/v1/batches"), "write http://collector:7700"),
        (("--max-connections", "0"), "'--max-connections': '0' is nothing: it must be 1 or more"),
    ],
)
async def test_a_setting_that_cannot_be_is_named_and_exit_2(
    sidecar_process: Spawn, arguments: tuple[str, str], words: str
) -> None:
    process = await sidecar_process(*arguments)
    assert await process.stopped() == 2
    assert words in "".join(process.lines)
    assert "Traceback" not in "".join(process.lines)


async def test_it_listens_where_the_environment_says_and_takes_a_snapshot_that_comes_later(
    sidecar_process: Spawn,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    world: World,
    read_spool: ReadSpool,
    until: Callable[..., Awaitable[None]],
) -> None:
    process = await sidecar_process(
        ABSIDE_POD="pod-9", ABSIDE_NAMESPACE="recs", ABSIDE_CLUSTER="eu-1", ABSIDE_POLL_SECONDS="0.02"
    )
    assert await post(http, f"{process.url}/v1/assign", {"placement": "pdp", "user_id": "u1"}) == 503
    (tmp_path / "abside.snapshot").write_bytes(snapshot.encode(world.snapshot()))

    async def answered() -> bool:
        return await post(http, f"{process.url}/v1/assign", {"placement": "pdp", "user_id": "u1"}) == 200

    await until(answered)
    async with http.get(f"{process.admin_url}/readyz") as response:
        assert response.status == 200
    async with http.get(f"{process.url}/v1/status") as response:
        assert (await response.json())["revision"] == world.snapshot().head.revision
    names = {"pod": "pod-9", "app": "", "version": "", "namespace": "recs", "cluster": "eu-1"}
    told = [one["source"] for one in read_spool(tmp_path / "spool") if one["type"] == "config"]
    assert told == [names] * len(told) != []


async def test_strangers_who_take_every_descriptor_lock_nobody_out_and_keep_nothing_busy(
    sidecar_process: Spawn, http: aiohttp.ClientSession, published: Path, until: Callable[..., Awaitable[None]]
) -> None:
    process = await sidecar_process(descriptors=64)
    addresses = [url.removeprefix("http://").rpartition(":") for url in (process.url, process.admin_url)]
    held = [await asyncio.open_connection(host, int(port)) for host, _, port in addresses for _ in range(200)]

    async def answered() -> bool:
        try:
            alive = (await http.get(f"{process.admin_url}/livez")).status == 200
            return alive and await post(http, f"{process.url}/v1/assign", {"placement": "pdp", "user_id": "u1"}) == 200
        except aiohttp.ClientError:
            return False

    await until(answered)  # within two looks at the crowd
    for _ in range(20):
        assert await answered()
    before, since = cpu_seconds(process.child.pid), time.monotonic()
    await asyncio.sleep(1.0)
    assert cpu_seconds(process.child.pid) - before < 0.5 * (time.monotonic() - since)
    for _, writer in held:
        writer.close()


def cpu_seconds(pid: int) -> float:
    """Return what a process used of a processor since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_removed_lock_ends_it_with_a_word_and_exit_1_and_all_it_accepted_is_on_disk(
    sidecar_process: Spawn, http: aiohttp.ClientSession, published: Path, tmp_path: Path, read_spool: ReadSpool
) -> None:
    assert published.exists()
    first = await sidecar_process("--fsync", "never")
    acked: list[str] = []
    posting = asyncio.gather(keep_posting(http, first.url, "a", acked), return_exceptions=True)
    await asyncio.sleep(0.3)
    (tmp_path / "spool" / "LOCK").unlink()
    second = await sidecar_process("--fsync", "never")  # it waits until the first lets go
    await keep_posting_for(http, second.url, "b", acked, seconds=0.3)
    assert await asyncio.wait_for(first.stopped(), DEADLINE_SECONDS) == 1
    await posting
    assert any("spool_taken" in line and "LOCK was removed or replaced" in line for line in first.lines)
    second.child.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(second.stopped(), DEADLINE_SECONDS) == 0
    found = clicks(read_spool(tmp_path / "spool"))
    assert len(acked) > 10
    assert set(acked) <= set(found)
    assert max(found.values()) == 1


async def test_once_it_listens_the_collector_of_cycles_stays_off_its_hot_path(
    tmp_path: Path, published: Path, until: Callable[..., Awaitable[None]]
) -> None:
    before, usual = gc.get_threshold(), gc.get_freeze_count()
    doors: dict[str, Any] = {"listen": ("127.0.0.1:0",), "admin": "127.0.0.1:0", "linger_seconds": 0.0}
    settings = SidecarSettings(snapshot=published, spool=tmp_path / "spool", **doors)
    running = asyncio.get_running_loop().create_task(_run(settings))
    try:
        await until(lambda: gc.get_threshold()[0] == GC_YOUNG_OBJECTS or running.done())
        assert gc.get_freeze_count() > usual, "what start-up made is never looked at again"
        collections = gc.get_stats()[0]["collections"]
        in_flight: list[list[int]] = [[] for _ in range(IN_FLIGHT)]
        assert gc.get_stats()[0]["collections"] == collections, f"{len(in_flight):,} objects start no collection"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(running, DEADLINE_SECONDS) == 0
    finally:
        running.cancel()
        gc.set_threshold(*before)
        if not usual:
            gc.unfreeze()
