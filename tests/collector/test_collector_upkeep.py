from __future__ import annotations

import os
import resource
import shutil
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from abside.collector.keep.compact import Interrupted, compact
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, StoreFailed, live_files, read_footer, scan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import Clock, Start, Views

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
LONG_AGO = date(2000, 1, 1)
NAMES = ("a", "b", "c")


def batch(batch_id: str, recv_us: int = NOON_US) -> ReceivedBatch:
    events = [{"event_id": f"{batch_id}-{number}", "type": "click", "ts": NOON_US} for number in range(3)]
    rows = [row for event in events for row in rows_of(event, batch_id=batch_id, recv_us=recv_us)]
    return ReceivedBatch(batch_id, recv_us, (record_batch(rows),))


def expected(*names: str) -> list[str]:
    return sorted(f"{name}-{number}" for name in names for number in range(3))


def stored_ids(store: Path) -> list[str]:
    return sorted(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


def opened(store: Path) -> closing[Writer]:
    return closing(Writer.open(store, known_since=LONG_AGO))


def names(day: Path) -> list[str]:
    return sorted(path.name for path in day.iterdir())


@pytest.fixture
def day(store: Path) -> Path:
    """Make a day of three small files."""
    with opened(store) as writer:
        for name in NAMES:
            writer.write([batch(name)])
    return store / "dt=2026-09-22"


def test_a_days_small_files_become_one_that_keeps_rows_ids_and_schema(store: Path, day: Path) -> None:
    assert compact(day) == 3
    assert names(day) == ["merged~0001.parquet"]
    assert stored_ids(store) == expected(*NAMES)
    merged = day / "merged~0001.parquet"
    assert sorted(read_footer(merged).batches) == ["a", "b", "c"]
    assert pq.read_schema(merged).equals(SCHEMA, check_metadata=True)
    with opened(store) as writer:
        assert all(writer.knows(name) for name in NAMES)


def test_a_merged_day_is_left_alone_until_something_comes_late(store: Path, day: Path) -> None:
    compact(day)
    assert compact(day) == 0
    with opened(store) as writer:
        writer.write([batch("late")])
    assert compact(day) == 2
    assert names(day) == ["merged~0002.parquet"]
    assert stored_ids(store) == expected(*NAMES, "late")


@pytest.mark.parametrize("left", [NAMES, ("a",), ("c",)])
def test_a_crash_between_merging_and_removing_neither_loses_nor_doubles(
    store: Path, day: Path, tmp_path: Path, left: tuple[str, ...]
) -> None:
    shutil.copytree(day, tmp_path / "before")
    compact(day)
    for name in left:
        shutil.copy(tmp_path / "before" / f"{name}.parquet", day)
    assert stored_ids(store) == expected(*NAMES)
    assert [path.name for path in live_files(store)] == ["merged~0001.parquet"]
    with opened(store):
        assert names(day) == ["merged~0001.parquet"]
    assert stored_ids(store) == expected(*NAMES)


def test_a_crash_after_merging_a_second_time_neither_loses_nor_doubles(store: Path, day: Path, tmp_path: Path) -> None:
    shutil.copytree(day, tmp_path / "first")
    compact(day)
    with opened(store) as writer:
        writer.write([batch("late")])
    shutil.copytree(day, tmp_path / "second")
    compact(day)
    for before in ("first", "second"):
        shutil.copytree(tmp_path / before, day, dirs_exist_ok=True)
    assert len(names(day)) == 6
    assert stored_ids(store) == expected(*NAMES, "late")
    assert compact(day) == 0
    assert names(day) == ["merged~0002.parquet"]


def test_a_new_file_of_a_merged_files_name_is_not_taken_for_the_old_one(store: Path, day: Path) -> None:
    compact(day)
    with opened(store) as writer:  # a clock set back, a sender that begins its numbers again
        writer.write([batch("new"), batch("other")])
    (day / "new.parquet").rename(day / "a.parquet")
    assert stored_ids(store) == expected(*NAMES, "new", "other")
    with opened(store):
        assert stored_ids(store) == expected(*NAMES, "new", "other")


def test_a_merge_that_is_left_off_changes_nothing(store: Path, day: Path) -> None:
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        compact(day, stopping=lambda: next(asked))
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_merge_the_disk_does_not_take_changes_nothing(store: Path, day: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreFailed):
            compact(day)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]
    assert stored_ids(store) == expected(*NAMES)
    (day / "merged~0001.parquet.tmp").mkdir()  # it cannot be written over, and need not be
    assert compact(day) == 3
    assert stored_ids(store) == expected(*NAMES)


@pytest.mark.parametrize("promised", [2, 4], ids=["more rows than promised", "fewer rows than promised"])
def test_a_merge_that_reads_other_rows_than_the_files_promise_replaces_nothing(day: Path, promised: int) -> None:
    path = day / "b.parquet"
    data = path.read_bytes()
    rows, row_groups = b"\x16%c", b"\x19\x1c"  # Thrift: a zigzag number of rows, and the list that follows it
    assert data.count(rows % (2 * 3) + row_groups) == 1
    path.write_bytes(data.replace(rows % (2 * 3) + row_groups, rows % (2 * promised) + row_groups))
    with pytest.raises(StoreFailed, match=f"9 rows were read of {6 + promised}"):
        compact(day)
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]


def test_upkeep_merges_days_that_are_over_and_leaves_today(store: Path, clock: Clock) -> None:
    with opened(store) as writer:
        for name, recv_us in (("a", NOON_US - DAY_US), ("b", NOON_US - DAY_US), ("c", NOON_US), ("d", NOON_US)):
            writer.write([batch(name, recv_us)])
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        upkeep.once()
        assert names(store / "dt=2026-09-21") == ["merged~0001.parquet"]
        assert names(store / "dt=2026-09-22") == ["c.parquet", "d.parquet"]
        clock.us = 1_790_121_600_000_000  # midnight: groups of yesterday may still be on their way
        upkeep.once()
        assert len(names(store / "dt=2026-09-22")) == 2
        clock.us += DAY_US // 24
        upkeep.once()
        assert names(store / "dt=2026-09-22") == ["merged~0001.parquet"]
    assert stored_ids(store) == expected("a", "b", "c", "d")


def test_upkeep_drops_days_beyond_keeping_and_only_those(store: Path, clock: Clock) -> None:
    with opened(store) as writer:
        for age in (0, 1, 2, 3, 30):
            writer.write([batch(f"age{age}", NOON_US - age * DAY_US)])
        Upkeep(writer, clock, known_days=7, keep_days=None).once()
        assert len(stored_ids(store)) == 15
        Upkeep(writer, clock, known_days=7, keep_days=2).once()
    assert stored_ids(store) == expected("age0", "age1", "age2")
    assert [path.name for path in sorted(store.glob("dt=*"))] == ["dt=2026-09-20", "dt=2026-09-21", "dt=2026-09-22"]


def test_one_bad_day_does_not_stop_the_others(store: Path, clock: Clock) -> None:
    with opened(store) as writer:
        for name, age in (("a", 3), ("b", 3), ("c", 2), ("d", 2)):
            writer.write([batch(name, NOON_US - age * DAY_US)])
        bad = store / "dt=2026-09-19" / "b.parquet"
        whole = bad.read_bytes()
        os.truncate(bad, len(whole) // 2)
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        upkeep.once()
        assert "2026-09-19" in (upkeep.last_error or "")
        assert names(store / "dt=2026-09-20") == ["merged~0001.parquet"]
        bad.write_bytes(whole)
        upkeep.once()
        assert upkeep.last_error is None
    assert stored_ids(store) == expected("a", "b", "c", "d")


async def test_a_collector_merges_at_start_and_still_knows_every_batch(
    start: Start, store: Path, day: Path, views: Views, clock: Clock
) -> None:
    clock.us = NOON_US + DAY_US
    async with start(clock) as sender:
        for name in NAMES:
            assert (await sender.send(name, views(name))).status == 208
    async with start(clock) as sender:
        for name in NAMES:
            assert (await sender.send(name, views(name))).status == 208
    assert stored_ids(store) == expected(*NAMES)
