"""The real process, killed at random moments and given a disk that refuses: nothing acked is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from datetime import date
from typing import TYPE_CHECKING

import aiohttp
import pytest

from abside import event
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import live_files, scan
from abside.environ import now_us

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collector.conftest import Collector, Views

DEADLINE_SECONDS = 60.0
DAY_US = 86_400 * 1_000_000


def occurrences(store: Path) -> Counter[str]:
    return Counter(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


async def post(session: aiohttp.ClientSession, address: str, batch_id: str, events: list[event.EventMap]) -> int:
    headers = {
        "Content-Type": "application/msgpack",
        "Idempotency-Key": batch_id,
        "X-Batch-Count": str(len(events)),
    }
    body = b"".join(map(event.encode, events))
    async with session.post(f"http://{address}/v1/batches", data=body, headers=headers) as response:
        return response.status


async def test_killed_at_random_moments_every_event_is_stored_exactly_once(
    process: Collector, store: Path, views: Views
) -> None:
    chance = random.Random(20260922)
    acked: list[str] = []
    sent = 0
    ending = False

    async def ship(number: int, session: aiohttp.ClientSession) -> None:
        """Send batch after batch, each until it is acked, like a sidecar."""
        nonlocal sent
        serial = 0
        while not ending:
            batch_id = f"pod-{number}.{serial}"
            serial += 1
            events = views(batch_id, 5)
            sent += len(events)
            status = 0
            while status not in (200, 208):
                try:
                    status = await post(session, process.address, batch_id, events)
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.01)
                assert status in (0, 200, 208, 503)
            acked.extend(one["event_id"] for one in events)

    process.start("--group-seconds", "0.02")
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ship(number, session))
        for _ in range(4):
            before = len(acked)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(acked) == before:  # noqa: ASYNC110 it works again after each start
                    await asyncio.sleep(0.005)
            await asyncio.sleep(chance.uniform(0, 0.1))
            await asyncio.to_thread(process.kill)
            there = occurrences(store)
            assert set(there.values()) <= {1}
            assert set(acked) <= there.keys()
            await asyncio.to_thread(process.start, "--group-seconds", "0.02")
        ending = True
    assert process.stop() == 0
    there = occurrences(store)
    assert sent == len(acked) == len(there) > 0
    assert set(there.values()) == {1}
    assert not list(store.rglob("*.tmp"))


@pytest.mark.parametrize("seen", ["__merged~0001.parquet.next.tmp", "_merged~0001.parquet.next"])
def test_killed_while_it_merges_a_day_nothing_is_lost_or_doubled(process: Collector, store: Path, seen: str) -> None:
    files = 80
    yesterday_us = now_us() - DAY_US - DAY_US // 2
    with closing(Writer.open(store, known_since=date(2000, 1, 1))) as writer:
        for number in range(files):
            fields = {"event_id": f"e{number}", "type": "click", "ts": yesterday_us}
            rows = rows_of(fields, batch_id=f"b{number}", recv_us=yesterday_us)
            writer.write([ReceivedBatch(f"b{number}", yesterday_us, (record_batch(rows),))])
    [day] = store.glob("dt=*")
    expected = Counter(f"e{number}" for number in range(files))
    process.launch()
    until = time.monotonic() + DEADLINE_SECONDS
    while not (day / seen).exists():  # as tight as can be: a few milliseconds later it is over
        assert time.monotonic() < until
    process.kill()
    print(f"killed with {len(list(day.glob('b*.parquet')))} of {files} files left to remove")
    assert occurrences(store) == expected
    process.start()
    assert process.stop() == 0
    assert occurrences(store) == expected


@contextmanager
def no_room_beyond(process: Collector, size: int) -> Iterator[None]:
    """Allow the process no file larger than `size` bytes, as a disk does that fills up in the middle of one."""
    before = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux")
async def test_a_disk_that_fills_up_in_the_middle_of_a_file_acks_nothing_and_recovers(
    process: Collector, store: Path, views: Views
) -> None:
    await asyncio.to_thread(process.start)
    async with aiohttp.ClientSession() as session:
        assert await post(session, process.address, "kept", views("kept", 3)) == 200
        kept = live_files(store)
        with no_room_beyond(process, 4096):
            statuses = await asyncio.gather(
                *(post(session, process.address, f"b{number}", views(f"b{number}", 3)) for number in range(4))
            )
            assert statuses == [503] * 4
            assert live_files(store) == kept
            assert not list(store.rglob("*.tmp"))
        statuses = await asyncio.gather(
            *(post(session, process.address, f"b{number}", views(f"b{number}", 3)) for number in range(4))
        )
        assert statuses == [200] * 4
    assert await asyncio.to_thread(process.stop) == 0
    assert len(occurrences(store)) == 15


async def test_sigterm_writes_and_acks_what_is_grouped_and_exits_0(
    process: Collector, store: Path, views: Views
) -> None:
    await asyncio.to_thread(process.start, "--group-seconds", "600")
    async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE_SECONDS):
        waiting = asyncio.ensure_future(post(session, process.address, "a", views("a", 3)))  # noqa: TID251 awaited below
        pending = 0
        while not pending:
            async with session.get(f"http://{process.address}/v1/status") as response:
                pending = (await response.json())["pending_bytes"]
        assert await asyncio.to_thread(process.stop) == 0
        assert await waiting == 200
    assert len(occurrences(store)) == 3


@pytest.mark.parametrize(
    ("options", "reason", "code"),
    [
        (("--listen", "127.0.0.1:99999"), "is not an address", 2),
        (("--max-batch-bytes", "0B"), "it must be 1 or more", 2),
        (("--listen", "192.0.2.1:7700"), "cannot_start", 1),
        (("--tls-cert", "cert.pem"), "--tls-key", 1),
        (("--token-file", "/nowhere/token"), "/nowhere/token", 1),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_sentence(
    process: Collector, options: tuple[str, ...], reason: str, code: int
) -> None:
    with pytest.raises(AssertionError, match=reason):
        process.start(*options)
    assert process.process.wait(DEADLINE_SECONDS) == code
    assert "Traceback" not in process.log.read_text()


def test_a_second_collector_on_one_store_does_not_start(process: Collector, store: Path, tmp_path: Path) -> None:
    process.start()
    with closing(type(process)(store, tmp_path / "second")) as second:
        with pytest.raises(AssertionError, match="belongs to a collector that is running"):
            second.start()
        assert second.process.wait(DEADLINE_SECONDS) == 1


@pytest.mark.parametrize("days", ["0", "-1", "soon"])
def test_keep_days_that_could_mean_two_things_are_refused(store: Path, days: str) -> None:
    command = [sys.executable, "-m", "abside", "collector", "--store", str(store), "--keep-days", days]
    done = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 2
    assert b"keep-days" in done.stderr
    assert not store.exists()
