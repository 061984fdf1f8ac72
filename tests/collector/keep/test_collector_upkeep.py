from __future__ import annotations

import os
import resource
import shutil
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from abside.collector.keep.compact import Interrupted, merge, publish
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import (
    SCHEMA,
    FileUnreadable,
    Footer,
    StoreFailed,
    live_files,
    read_footer,
    scan,
    write_file,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import Clock, Start, Views

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
MIDNIGHT_US = NOON_US + DAY_US // 2
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


def merged_through(day: Path) -> int:
    """Merge a day that is over, with the rounds after it."""
    publish(day)
    files = merge(day, again=True)
    for _ in range(2):
        publish(day)
    return files


@pytest.fixture
def day(store: Path) -> Path:
    """Make a day of three small files."""
    with opened(store) as writer:
        for name in NAMES:
            writer.write([batch(name)])
    return store / "dt=2026-09-22"


def test_a_days_small_files_become_one_that_keeps_rows_ids_and_schema(store: Path, day: Path) -> None:
    assert merged_through(day) == 3
    assert names(day) == ["merged~0001.parquet"]
    assert stored_ids(store) == expected(*NAMES)
    merged = day / "merged~0001.parquet"
    assert sorted(read_footer(merged).batches) == ["a", "b", "c"]
    assert pq.read_schema(merged).equals(SCHEMA, check_metadata=True)
    with opened(store) as writer:
        assert all(writer.knows(name) for name in NAMES)


def test_a_merged_file_lists_consecutive_ids_as_ranges_and_the_next_start_knows_each(store: Path) -> None:
    def numbered(number: int) -> str:
        return f"shop-1.pod.{number:020d}-3f2a1b"

    def write(*batch_ids: str) -> None:
        with opened(store) as writer:
            for batch_id in batch_ids:
                writer.write([batch(batch_id)])

    day = store / "dt=2026-09-22"
    write(*map(numbered, (7, 8, 9, 11)), "by-hand")
    assert merged_through(day) == 5
    footer = read_footer(day / "merged~0001.parquet")
    assert (footer.batches, footer.ranges) == (("by-hand", numbered(11)), ((numbered(7), 3),))
    write(numbered(10))
    assert merged_through(day) == 2
    footer = read_footer(day / "merged~0002.parquet")
    assert (footer.batches, footer.ranges) == (("by-hand",), ((numbered(7), 5),))
    assert len(stored_ids(store)) == 18
    with opened(store) as writer:
        assert writer.known_ids == 6
        found = [number for number in range(20) if writer.knows(numbered(number))]
        assert (found, writer.knows("by-hand")) == ([7, 8, 9, 10, 11], True)


def test_a_file_with_ranges_is_replaced_only_by_one_that_contains_all_their_ids(store: Path, day: Path) -> None:
    [first, *_] = live_files(store)
    first_id, table = "pod.00000000000000000001-f0", pq.read_table(first)
    small, merged = day / "small.parquet", day / "merged~0001.parquet"
    write_file(small, [table], Footer((), ranges=((first_id, 3),)))
    write_file(merged, [table], Footer((), ("small.parquet",), ((first_id, 2),)))
    assert small in live_files(store)
    merged.unlink()
    write_file(merged, [table], Footer((), ("small.parquet",), ((first_id, 4),)))
    assert small not in live_files(store)


def test_a_merged_day_is_left_alone_until_something_comes_late(store: Path, day: Path) -> None:
    merged_through(day)
    assert merged_through(day) == 0
    with opened(store) as writer:
        writer.write([batch("late")])
    assert merged_through(day) == 2
    assert names(day) == ["merged~0002.parquet"]
    assert stored_ids(store) == expected(*NAMES, "late")


@pytest.mark.parametrize("left", [NAMES, ("a",), ("c",)])
def test_a_crash_between_merging_and_removing_neither_loses_nor_doubles(
    store: Path, day: Path, tmp_path: Path, left: tuple[str, ...]
) -> None:
    shutil.copytree(day, tmp_path / "before")
    merged_through(day)
    for name in left:
        shutil.copy(tmp_path / "before" / f"{name}.parquet", day)
    assert stored_ids(store) == expected(*NAMES)
    assert [path.name for path in live_files(store)] == ["merged~0001.parquet"]
    with opened(store):
        assert names(day) == ["merged~0001.parquet"]
    assert stored_ids(store) == expected(*NAMES)


def test_a_crash_after_merging_a_second_time_neither_loses_nor_doubles(store: Path, day: Path, tmp_path: Path) -> None:
    shutil.copytree(day, tmp_path / "first")
    merged_through(day)
    with opened(store) as writer:
        writer.write([batch("late")])
    shutil.copytree(day, tmp_path / "second")
    merged_through(day)
    for before in ("first", "second"):
        shutil.copytree(tmp_path / before, day, dirs_exist_ok=True)
    assert len(names(day)) == 6
    assert stored_ids(store) == expected(*NAMES, "late")
    assert merged_through(day) == 0
    assert names(day) == ["merged~0002.parquet"]


def test_a_new_file_of_a_merged_files_name_is_not_taken_for_the_old_one(store: Path, day: Path) -> None:
    merged_through(day)
    with opened(store) as writer:  # a clock set back, a sender that begins its numbers again
        writer.write([batch("new"), batch("other")])
    (day / "new.parquet").rename(day / "a.parquet")
    assert stored_ids(store) == expected(*NAMES, "new", "other")
    with opened(store):
        assert stored_ids(store) == expected(*NAMES, "new", "other")


def test_a_merge_that_is_left_off_changes_nothing(store: Path, day: Path) -> None:
    asked = iter([False, True])
    with pytest.raises(Interrupted):
        merge(day, again=True, stopping=lambda: next(asked))
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]


def test_a_merge_the_disk_does_not_take_changes_nothing(store: Path, day: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreFailed):
            merged_through(day)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]
    assert stored_ids(store) == expected(*NAMES)
    (day / "__merged~0001.parquet.next.tmp").mkdir()  # it cannot be written over, and need not be
    assert merged_through(day) == 3
    assert stored_ids(store) == expected(*NAMES)


@pytest.mark.parametrize("promised", [2, 4], ids=["more rows than promised", "fewer rows than promised"])
def test_a_merge_that_reads_other_rows_than_the_files_promise_replaces_nothing(day: Path, promised: int) -> None:
    path = day / "b.parquet"
    data = path.read_bytes()
    rows, row_groups = b"\x16%c", b"\x19\x1c"  # Thrift: a zigzag number of rows, and the list that follows it
    assert data.count(rows % (2 * 3) + row_groups) == 1
    path.write_bytes(data.replace(rows % (2 * 3) + row_groups, rows % (2 * promised) + row_groups))
    with pytest.raises(FileUnreadable, match=f"b.parquet.* 3 rows were read of {promised}"):
        merged_through(day)
    assert names(day) == ["a.parquet", "b.parquet", "c.parquet"]


def test_upkeep_merges_the_running_day_every_round_and_a_day_that_is_over_once_more(store: Path, clock: Clock) -> None:
    day = store / "dt=2026-09-22"
    with opened(store) as writer:
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        for number in range(3):
            for name in (f"a{number}", f"b{number}"):
                writer.write([batch(name)])
            upkeep.once()
        upkeep.once()
        upkeep.once()
        first = [f"merged~{number:04d}.parquet" for number in (1, 2, 3)]
        assert names(day) == first
        written = {name: (day / name).stat().st_mtime_ns for name in first}
        clock.us = MIDNIGHT_US  # groups of yesterday may still be on their way
        upkeep.once()
        assert {name: (day / name).stat().st_mtime_ns for name in names(day)} == written
        clock.us += DAY_US // 24
        upkeep.once()
        assert names(day) == ["_merged~0004.parquet.next", *first]
        upkeep.once()
        upkeep.once()
        assert names(day) == ["merged~0004.parquet"]
        for name in ("late", "later"):
            writer.write([batch(name)])
            upkeep.once()
            upkeep.once()
            upkeep.once()
        assert names(day) == ["merged~0004.parquet", "merged~0005.parquet"]
    assert stored_ids(store) == expected("a0", "b0", "a1", "b1", "a2", "b2", "late", "later")


def test_rows_are_merged_in_the_order_of_their_receipt(store: Path) -> None:
    with opened(store) as writer:
        for at, name in enumerate(("z", "m", "a")):
            writer.write([batch(name, NOON_US + at)])
    day = store / "dt=2026-09-22"
    assert merge(day, again=False) == 3
    received = scan(store).to_table(columns=["recv_ts"]).column(0).to_pylist()
    assert received == sorted(received)
    assert read_footer(day / "_merged~0001.parquet.next").batches == ("z", "m", "a")


def test_a_report_that_has_begun_finds_its_files_for_a_round(store: Path, day: Path, clock: Clock) -> None:
    clock.us = NOON_US
    with opened(store) as writer:
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=None)
        for _ in range(3):
            begun = live_files(store)
            upkeep.once()
            assert all(path.exists() for path in begun)
    assert names(day) == ["merged~0001.parquet"]


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
        assert "_merged~0001.parquet.next" in names(store / "dt=2026-09-20")
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
