from __future__ import annotations

import resource
import shutil
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from abside.collector.keep.writer import ReceivedBatch, StoreOwned, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import FileUnreadable, StoreFailed, live_files, read_footer, scan

if TYPE_CHECKING:
    from pathlib import Path

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
FOLDER = "dt=2026-09-22"
LONG_AGO = date(2000, 1, 1)


def batch(batch_id: str, *event_ids: str, recv_us: int = NOON_US) -> ReceivedBatch:
    events = [{"event_id": event_id, "type": "click", "ts": NOON_US} for event_id in event_ids]
    rows = [row for event in events for row in rows_of(event, batch_id=batch_id, recv_us=recv_us)]
    return ReceivedBatch(batch_id, recv_us, (record_batch(rows),))


def stored_ids(store: Path) -> list[str]:
    return sorted(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


def opened(store: Path, known_since: date = LONG_AGO) -> closing[Writer]:
    return closing(Writer.open(store, known_since=known_since))


def test_a_store_has_one_owner_and_is_free_after_it(store: Path) -> None:
    with opened(store), pytest.raises(StoreOwned, match="belongs to a collector that is running"):
        Writer.open(store, known_since=LONG_AGO)
    with opened(store):
        pass


def test_a_second_file_of_one_name_never_takes_the_place_of_the_first(store: Path) -> None:
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
        writer.write([batch("a", "e2"), batch("b", "e3")])
        writer.write([batch("a", "e4")])
    assert [path.name for path in live_files(store)] == ["a.parquet", "a@2.parquet", "a@3.parquet"]
    assert stored_ids(store) == ["e1", "e2", "e3", "e4"]


def test_batch_ids_are_known_again_from_the_footers_of_the_last_days(store: Path) -> None:
    with opened(store) as writer:
        writer.write([batch("old", "e1", recv_us=NOON_US - DAY_US)])
        writer.write([batch("a", "e2"), batch("b", "e3")])
        assert not writer.knows("a")  # written is not yet told: the group tells, once it is done
    with opened(store, date(2026, 9, 22)) as writer:
        assert [writer.knows(name) for name in ("old", "a", "b", "c")] == [False, True, True, False]
    with opened(store, date(2026, 9, 21)) as writer:
        assert writer.knows("old")
        writer.forget_before(date(2026, 9, 22))
        assert [writer.knows("old"), writer.knows("a")] == [False, True]


def test_a_file_that_was_not_whole_is_removed_at_start(store: Path) -> None:
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
    (store / FOLDER / "_b.parquet.tmp").write_bytes(b"PAR1half")
    assert stored_ids(store) == ["e1"]
    with opened(store) as writer:
        assert not writer.knows("b")
    assert [path.name for path in (store / FOLDER).iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("damage", ["empty", "short", "flipped"])
def test_a_damaged_file_is_set_aside_and_the_others_are_known(store: Path, damage: str) -> None:
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
        writer.write([batch("b", "e2")])
    path = store / FOLDER / "a.parquet"
    whole = path.read_bytes()
    flipped = whole[:-1000] + bytes(byte ^ 0xFF for byte in whole[-1000:-8]) + whole[-8:]
    path.write_bytes({"empty": b"", "short": whole[:-100], "flipped": flipped}[damage])
    with pytest.raises(FileUnreadable):
        read_footer(path)
    with opened(store) as writer:
        assert [writer.knows("a"), writer.knows("b")] == [False, True]
    assert stored_ids(store) == ["e2"]
    assert (store / FOLDER / "_a.parquet.unreadable").exists()


def test_what_is_not_ours_in_the_directory_is_left_alone(store: Path) -> None:
    strange = store / "dt=2026-99-99"
    strange.mkdir(parents=True)
    (strange / "a.parquet").write_bytes(b"?")
    (store / "lost+found").mkdir()
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
    assert stored_ids(store) == ["e1"]
    assert (strange / "a.parquet").exists()


def test_a_failed_write_leaves_nothing_and_a_later_one_works(store: Path) -> None:
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            with pytest.raises(StoreFailed, match="File too large"):
                writer.write([batch("b", "e2")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [path.name for path in (store / FOLDER).iterdir()] == ["a.parquet"]
        writer.write([batch("b", "e2")])
    assert stored_ids(store) == ["e1", "e2"]


def test_what_has_the_name_of_a_file_to_be_written_is_in_nobodys_way(store: Path) -> None:
    with opened(store) as writer:
        writer.write([batch("a", "e1")])
        (store / FOLDER / "_b.parquet.tmp").mkdir()
        (store / FOLDER / "b@2.parquet").symlink_to("/nowhere")
        writer.write([batch("b", "e2")])
    assert sorted(path.name for path in (store / FOLDER).glob("b*.parquet")) == ["b@2.parquet", "b@3.parquet"]
    with opened(store) as writer:  # the directory cannot be removed, the link leads nowhere: both are said, and left
        assert writer.knows("b")
    assert stored_ids(store) == ["e1", "e2"]


def test_a_store_that_vanished_is_a_failure_not_a_new_store(store: Path) -> None:
    with opened(store) as writer:
        shutil.rmtree(store)
        with pytest.raises(StoreFailed, match="No such file"):
            writer.write([batch("a", "e1")])


def test_only_columns_that_repeat_have_a_dictionary(store: Path) -> None:
    with opened(store) as writer:
        fields = {"items": ["a", "b"], "type": "impression", "exposure_id": "x"}
        rows = rows_of({"event_id": "e", "ts": 1, **fields}, batch_id="b", recv_us=NOON_US)
        writer.write([ReceivedBatch("b", NOON_US, (record_batch(rows),))])
    [path] = live_files(store)
    group = pq.read_metadata(path).row_group(0)
    columns = {(one := group.column(number)).path_in_schema: one for number in range(group.num_columns)}
    assert columns["type"].has_dictionary_page
    assert columns["items.list.element"].has_dictionary_page
    assert not columns["event_id"].has_dictionary_page
    assert not columns["exposure_id"].has_dictionary_page
    assert not columns["position"].has_dictionary_page


def test_a_file_says_when_its_rows_are_from_and_nothing_about_its_ids(store: Path) -> None:
    with opened(store) as writer:
        rows = rows_of({"event_id": "e", "ts": 1, "type": "click", "user_id": "u"}, batch_id="b", recv_us=NOON_US)
        writer.write([ReceivedBatch("b", NOON_US, (record_batch(rows),))])
    [path] = live_files(store)
    group = pq.read_metadata(path).row_group(0)
    columns = {(one := group.column(number)).path_in_schema: one for number in range(group.num_columns)}
    said = {name for name, one in columns.items() if one.statistics and one.statistics.has_min_max}
    assert {"ts", "recv_ts", "type"} <= said
    assert not said & {"event_id", "user_id", "session_id", "unit_id"}
