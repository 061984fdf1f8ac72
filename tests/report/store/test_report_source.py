"""Stores that are not what they should be: a sentence each, never a figure of a part."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.collector.store import SCHEMA, Footer, write_file
from abside.report.page.text.document import write_report
from abside.report.page.text.pen import Pen
from abside.report.problem import ForeignFiles, NoEvents
from abside.report.report import Report
from abside.report.store.engine import Engine
from abside.report.store.source import live_store, open_source
from abside.snapshot import Snapshot


@pytest.fixture
def store(till: Any) -> Path:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    folder: Path = till.close()
    return folder


def day(store: Path) -> Path:
    return store / "dt=2026-11-02"


def test_a_directory_that_is_no_store_is_named_with_what_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(NoEvents, match="is no directory"):
        live_store(tmp_path / "nowhere")
    with pytest.raises(NoEvents, match=r"holds no dt=YYYY-MM-DD/.*it must be what the collector was given as --store"):
        live_store(tmp_path)


def test_the_home_of_abside_up_is_told_from_its_store(store: Path) -> None:
    with pytest.raises(NoEvents, match=rf"did you mean {store}\?"):
        live_store(store.parent)


def test_a_file_without_rows_is_no_problem(
    store: Path, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    write_file(day(store) / "empty.parquet", [], Footer(("e",)))
    assert len(report_on(store, documents()).pages) == 1


def test_a_store_of_empty_files_has_no_experiment(
    tmp_path: Path, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    (tmp_path / "dt=2026-11-02").mkdir()
    write_file(tmp_path / "dt=2026-11-02" / "empty.parquet", [], Footer(("e",)))
    report = report_on(tmp_path, documents())
    assert (report.rows, report.overview.last, report.pages) == (0, None, ())


def test_a_store_in_the_middle_of_a_compaction_counts_every_row_once(store: Path, engine: Engine, till: Any) -> None:
    till.expose(3, "control", user_id="u3")
    till.close()
    files = sorted(day(store).glob("*.parquet"))
    tables = [pq.read_table(path, schema=SCHEMA) for path in files]
    write_file(day(store) / "merged~0001.parquet", tables, Footer(("b",), tuple(path.name for path in files)))
    (day(store) / "_half.parquet.tmp").write_bytes(b"PAR1 and then nothing")
    files[0].unlink()
    source = open_source(engine, store)
    assert source.rows == 3
    assert [row["n"] for row in engine.rows("n", source.events.agg(n=source.events.count()))] == [3]


def test_files_beside_the_days_are_left_alone(store: Path) -> None:
    (store / "notes.parquet").write_bytes(b"mine")
    (store / "README").write_bytes(b"mine")
    (day(store) / "README").write_bytes(b"mine")
    assert len(live_store(store)) == 1


def faults(store: Path) -> str:
    with pytest.raises(ForeignFiles) as raised:
        live_store(store)
    return str(raised.value)


def test_a_foreign_file_is_named_with_what_it_lacks(store: Path) -> None:
    pq.write_table(pa.table({"event_id": ["1"], "colour": ["red"]}), day(store) / "theirs.parquet")
    said = faults(store)
    assert "theirs.parquet is not a Parquet file that can be read: it has no column type, ts," in said
    assert "move it out and ask again" in said


def test_a_file_with_one_column_less_is_named_with_it(store: Path) -> None:
    (file,) = day(store).glob("*.parquet")
    pq.write_table(pq.read_table(file, schema=SCHEMA).drop_columns(["variant"]), day(store) / "old.parquet")
    assert "it has no column variant" in faults(store)


def test_a_column_of_another_type_is_named_with_both(store: Path) -> None:
    (file,) = day(store).glob("*.parquet")
    table = pq.read_table(file, schema=SCHEMA)
    at = SCHEMA.get_field_index("ts")
    pq.write_table(table.set_column(at, "ts", table["ts"].cast(pa.int64())), day(store) / "other.parquet")
    assert "a column has another type: ts is int64, not timestamp[us, tz=UTC]" in faults(store)


def test_every_bad_file_is_named_at_once(store: Path) -> None:
    (day(store) / "a.parquet").write_bytes(b"")
    (day(store) / "b.parquet").write_bytes(b"PAR1 no, not really PAR1")
    said = faults(store)
    assert "a.parquet" in said
    assert "b.parquet" in said


def test_columns_that_a_newer_collector_adds_are_ignored(store: Path, engine: Engine) -> None:
    (file,) = day(store).glob("*.parquet")
    table = pq.read_table(file, schema=SCHEMA)
    pq.write_table(table.append_column("later", pa.array(["x"] * len(table))), day(store) / "a-newer.parquet")
    source = open_source(engine, store)
    assert engine.rows("n", source.events.agg(n=source.events.count())) == [{"n": 4}]


@pytest.mark.timeout(60)
def test_what_is_no_file_is_named_like_any_other_and_never_waited_for(store: Path) -> None:
    (file,) = day(store).glob("*.parquet")
    os.mkfifo(day(store) / "fifo.parquet")
    os.mkfifo(day(store) / "merged~0001.parquet")
    (day(store) / "directory.parquet").mkdir()
    (day(store) / "device.parquet").symlink_to("/dev/zero")
    other = store / "dt=2026-11-03"
    other.mkdir()
    os.mkfifo(other / "fifo.parquet")
    shutil.copy(file, other / "whole.parquet")
    said = faults(store)
    assert "merged~0001.parquet is not a Parquet file that can be read: it is a FIFO" in said
    assert "dt=2026-11-03/fifo.parquet" in said
    (day(store) / "merged~0001.parquet").unlink()
    said = faults(store)
    for name in ("fifo", "directory", "device"):
        assert f"dt=2026-11-02/{name}.parquet" in said


def test_files_that_were_set_aside_are_in_no_figure_and_said(
    store: Path, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    for name in ("_x.parquet.unreadable", "y.parquet.unreadable2"):
        (day(store) / name).write_bytes(b"damaged")
    report = report_on(store, documents())
    assert (report.set_aside, len(report.pages)) == (2, 1)
    said = io.StringIO()
    write_report(report, Pen(said))
    assert "not in any figure: 2 damaged files that the collector set aside" in said.getvalue()
