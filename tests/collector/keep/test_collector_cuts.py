"""A merge cut off at each of its steps: our readers count every row once, other readers never one twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow.dataset as ds
import pytest

from abside.collector.keep.compact import merge, publish
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import Footer, live_files_of, scan, write_file

if TYPE_CHECKING:
    from collections.abc import Callable

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
FOLDER = "dt=2026-09-22"
LONG_AGO = date(2000, 1, 1)
CUT_OFF = Path(__file__).with_name("cut_off.py")


def write(store: Path, *names: str) -> None:
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        for name in names:
            rows = rows_of({"event_id": name, "type": "click", "ts": NOON_US}, batch_id=name, recv_us=NOON_US)
            writer.write([ReceivedBatch(name, NOON_US, (record_batch(rows),))])


def ours(store: Path) -> Counter[str]:
    return Counter(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


def theirs(store: Path) -> Counter[str]:
    """Return what DuckDB and Arrow see, who know nothing of our footers."""
    if not list(store.rglob("*.parquet")):  # both refuse a store of nothing
        return Counter()
    by_glob = duckdb.read_parquet(f"{store}/**/*.parquet").project("event_id").fetchall()
    by_directory = ds.dataset(store, partitioning="hive").to_table(columns=["event_id"]).column(0).to_pylist()
    assert Counter(name for (name,) in by_glob) == Counter(by_directory)
    return Counter(by_directory)


def cuts(store: Path, into: Path, mode: str) -> list[Path]:
    """Return copies of the store after 0, 1, … steps of merging; the last one is done."""
    command = [sys.executable, str(CUT_OFF), str(store), str(into), mode]
    subprocess.run(command, check=True, timeout=60)
    return sorted(into.iterdir(), key=lambda path: int(path.name))


def running_day(store: Path) -> tuple[str, ...]:
    write(store, "a", "b", "c")
    return ("a", "b", "c")


def day_that_is_over(store: Path) -> tuple[str, ...]:
    write(store, "a", "b")
    merge(store / FOLDER, again=False)
    write(store, "c", "d")
    merge(store / FOLDER, again=False)
    publish(store / FOLDER)
    publish(store / FOLDER)
    write(store, "e")
    return ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("make", "mode"), [(running_day, "once"), (day_that_is_over, "again")])
def test_at_every_cut_we_count_each_row_once_and_others_none_twice(
    store: Path, tmp_path: Path, make: Callable[[Path], tuple[str, ...]], mode: str
) -> None:
    expected = Counter(make(store))
    found = cuts(store, tmp_path / "cuts", mode)
    assert len(found) > 2 * len(live_files_of(store / FOLDER))
    for cut in found:
        assert ours(cut) == expected, cut
        assert set(theirs(cut).values()) <= {1}, cut
        shutil.copytree(cut, tmp_path / "next")
        with closing(Writer.open(cut, known_since=LONG_AGO)) as writer:  # a start finishes it
            assert all(writer.knows(name) for name in expected), cut
        assert theirs(cut) == ours(cut) == expected, cut
        day = tmp_path / "next" / FOLDER
        for _ in range(3):  # and so do the rounds of one that was not restarted
            publish(day)
            merge(day, again=mode == "again")
        assert theirs(tmp_path / "next") == ours(tmp_path / "next") == expected, cut
        assert not list(day.glob("*.next"))
        shutil.rmtree(tmp_path / "next")


def test_an_older_store_with_a_merged_file_beside_those_it_replaces_is_read_and_finished(
    store: Path, tmp_path: Path
) -> None:
    write(store, "a", "b", "c")
    day = store / FOLDER
    tables = [scan(store).to_table()]
    write_file(day / "merged~0001.parquet", tables, Footer(("a", "b", "c"), ("a.parquet", "b.parquet", "c.parquet")))
    assert ours(store) == Counter("abc")
    for cut in cuts(store, tmp_path / "cuts", "again"):
        assert ours(cut) == Counter("abc"), cut
    assert theirs(cut) == Counter("abc")
