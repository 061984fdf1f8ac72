"""What an HTTP collector shows of itself: `/metrics` for Prometheus, `/readyz` with the reason."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from abside import collector
from abside.collector.keep.archive import Archive
from abside.collector.keep.archiving import Archiving
from abside.collector.keep.census import census
from abside.collector.keep.compact import SMALL_BYTES
from abside.collector.keep.writer import ReceivedBatch
from abside.collector.metrics import CODES, CollectorMetrics
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.status import FAILED_SECONDS, CollectorParts, CollectorStatus
from abside.collector.store.place import open_place
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client.core import Metric
    from tests.collector.conftest import Clock, Sender, Start, Views

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
HOUR_US = 3_600_000_000


async def seen(sender: Sender, is_so: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Return the first metrics that are so: a scrape may be a second old, and a round of upkeep has an end."""
    async with asyncio.timeout(20):
        while not is_so(found := await sender.metrics()):  # noqa: ASYNC110 the collector tells no one
            await asyncio.sleep(0.05)
    return found


async def test_metrics_count_what_came_what_was_dropped_and_what_was_refused(start: Start, views: Views) -> None:
    async with start(max_pending_bytes=5000) as sender:
        await sender.send("pod-1.17-ab", views("a", 3))
        await sender.send("pod-1.17-ab", views("a", 3))
        await sender.send("pod-1.18-ab", views("b", 2), X_Batch_Count="9")
        found = await seen(sender, lambda found: found["abside_collector_upkeep_seconds_count"] == 1)
        status = await sender.status()
    names = ("batches", "events", "duplicates", "files", "rows")
    assert [found[f"abside_collector_{name}_total"] for name in names] == [1, 3, 1, 1, 3]
    counted = {name: count for name, count in found.items() if "_refused_" in name or "route=" in name}
    assert {name: count for name, count in counted.items() if count} == {
        'abside_collector_refused_total{code="COUNT_MISMATCH"}': 1,
        'abside_collector_requests_total{route="/v1/batches",status="200"}': 1,
        'abside_collector_requests_total{route="/v1/batches",status="208"}': 1,
        'abside_collector_requests_total{route="/v1/batches",status="422"}': 1,
    } | {name: count for name, count in found.items() if 'route="/metrics"' in name}
    assert (found["abside_collector_pending_bytes"], found["abside_collector_pending_limit_bytes"]) == (0, 5000)
    assert found["abside_collector_known_batches"] == status["known_batches"] == 1
    assert found["abside_collector_store_free_bytes"] > 0
    assert [name for name in found if "archive_" in name] == []


def test_every_code_of_a_refusal_is_counted_from_zero_on() -> None:
    receive = Path(collector.__file__).parent / "receive"
    written = "".join(path.read_text() for path in receive.glob("*.py"))
    assert set(re.findall(r'Refusal\([0-9]+, "([A-Z_]+)"', written)) == set(CODES)


async def test_what_is_wrong_shows_in_the_metrics_and_makes_it_unready_until_it_is_mended(
    start: Start, store: Path, views: Views, clock: Clock
) -> None:
    async with start(clock) as sender:
        await sender.send("a", views("a"))
        assert (await sender.ask("GET", "/readyz")).document == {"ready": True, "errors": {}}
        (store / "_LOCK").rename(store / "elsewhere")
        assert (await sender.send("b", views("b"))).status == 503
        unready = await sender.session.get(f"http://{sender.address}/readyz")
        errors = (await unready.json())["errors"]
        assert (unready.status, [*errors]) == (503, ["store"])
        assert "restart this collector" in errors["store"]
        assert (await sender.metrics())['abside_collector_problem{what="store"}'] == 1
        (store / "elsewhere").rename(store / "_LOCK")
        assert (await sender.send("b", views("b"))).status == 200
        assert (await sender.ask("GET", "/readyz")).status == 200


async def test_a_failed_write_is_forgotten_so_that_a_service_sends_it_the_next_batch(parts: CollectorParts) -> None:
    now = [1000.0]
    status = CollectorStatus(parts, lambda: now[0])
    request: Any = None  # it is not looked at
    parts.grouper.last_error, parts.grouper.failed_at = "the disk is full", now[0]
    assert status.ready(request, b"")[:2] == (503, b'{"ready":false,"errors":{"store":"the disk is full"}}')
    now[0] += FAILED_SECONDS - 0.1
    assert status.ready(request, b"").status == 503
    now[0] += 0.1
    assert status.ready(request, b"")[:2] == (200, b'{"ready":true,"errors":{}}')
    parts.supervisor.degraded["grouper"] = "ValueError: x"
    parts.intake.stopping = True
    assert orjson.loads(status.ready(request, b"").body)["errors"] == {
        "stopping": "this collector is about to end",
        "grouper": "ValueError: x",
    }


def test_a_store_is_counted_by_its_whole_files_and_the_oldest_that_is_small_and_unmerged(tmp_path: Path) -> None:
    def file(name: str, hours: int, size: int = 100) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as opened:
            opened.truncate(size)
        os.utime(path, ns=(0, hours * HOUR_US * 1000))

    assert census(tmp_path).oldest_unmerged_us is None
    file("dt=2026-09-21/merged~0001.parquet", 1)
    file("dt=2026-09-21/large.parquet", 2, SMALL_BYTES)
    file("dt=2026-09-22/_merged~0001.parquet.next", 3)
    file("dt=2026-09-22/b.parquet", 5)
    file("dt=2026-09-22/a.parquet", 4)
    file("dt=2026-09-22/_c.parquet.tmp", 1)
    file("dt=2026-09-22/d.parquet.unreadable", 1)
    counted = census(tmp_path)
    assert (counted.files, counted.bytes, counted.oldest_unmerged_us) == (5, 400 + SMALL_BYTES, 4 * HOUR_US)
    assert counted.free_bytes > 0


async def test_upkeep_counts_its_rounds_and_the_store_that_each_leaves(
    parts: CollectorParts, store: Path, clock: Clock
) -> None:
    upkeep = parts.upkeep
    for name in ("a", "b"):
        parts.writer.write([batch(name)])
        os.utime(store / "dt=2026-09-22" / f"{name}.parquet", ns=(0, (clock.us - HOUR_US) * 1000))
    await upkeep.round()
    assert (upkeep.rounds, upkeep.merged_files, upkeep.census.files) == (1, 2, 3)  # what is replaced goes a round later
    assert upkeep.census.bytes == sum(path.stat().st_size for path in store.glob("dt=*/*"))
    assert upkeep.seconds > 0
    assert figures(parts, clock)["abside_collector_oldest_unmerged_seconds"] == 3600
    await upkeep.round()
    assert upkeep.census.files == 1
    assert figures(parts, clock)["abside_collector_oldest_unmerged_seconds"] == 0


async def test_with_an_archive_metrics_show_what_it_has_and_what_waits_for_it(
    parts: CollectorParts, store: Path, tmp_path: Path, clock: Clock
) -> None:
    parts.writer.write([batch("a")])
    archiving = Archiving(Archive(store, open_place(str(tmp_path / "archive"))))
    parts = replace(parts, archiving=archiving)
    for _ in range(2):
        await parts.upkeep.round()
    await archiving.copy()
    found = figures(parts, clock)
    assert found["abside_collector_archive_files"] == 1
    assert found["abside_collector_archive_bytes"] == parts.upkeep.census.bytes
    assert found["abside_collector_archive_waiting_files"] == 0
    archiving.problem = "the bucket is away"
    problems = {one.labels["what"]: one.value for one in family(parts, clock, "abside_collector_problem").samples}
    assert problems == {"store": 0, "upkeep": 0, "clock": 0, "archive": 1, "token": 0, "tls": 0}


def family(parts: CollectorParts, clock: Clock, name: str) -> Metric:
    (found,) = [one for one in CollectorMetrics(parts, Listener({}, Bounds()), clock).collect() if one.name == name]
    return found


def figures(parts: CollectorParts, clock: Clock) -> dict[str, float]:
    """Return the figures that have no labels, by the names of their families."""
    families = CollectorMetrics(parts, Listener({}, Bounds()), clock).collect()
    return {one.name: sample.value for one in families for sample in one.samples if not sample.labels}


def batch(batch_id: str) -> ReceivedBatch:
    events = {"event_id": f"{batch_id}-0", "type": "click", "ts": NOON_US}
    return ReceivedBatch(batch_id, NOON_US, (record_batch(list(rows_of(events, batch_id=batch_id, recv_us=NOON_US))),))
