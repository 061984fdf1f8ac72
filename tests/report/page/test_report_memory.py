from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pytest

from abside.report.command import main
from abside.report.engines.embedded import Embedded
from abside.report.memory import LEAST_BYTES, USUAL_BYTES, default_memory, engine_memory, whole_memory
from abside.report.problem import EngineFailed
from abside.report.settings import ReportSettings


def test_the_default_is_within_what_the_container_has(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2**30}\n")
    assert default_memory((limit,)) == int(0.8 * 2**30)
    unlimited = default_memory(())
    for text in ("max\n", "", "9223372036854771712\n"):
        limit.write_text(text)
        assert default_memory((limit, tmp_path / "none")) == unlimited <= USUAL_BYTES


def test_the_engine_gets_what_the_rest_of_the_process_leaves() -> None:
    for asked in (2**29, 2**30, 2**32):
        assert whole_memory(engine_memory(asked)) == pytest.approx(asked, abs=2)
    assert engine_memory(None) == max(LEAST_BYTES, engine_memory(default_memory()))


def test_a_memory_that_is_too_small_for_anything_is_refused(
    till: Any, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    till.expose(0, "control", user_id="u")
    assert main(ReportSettings(events=till.close(), config=(config_file(),), memory=300 * 2**20)) == 2
    assert "--memory 300MiB is too little: Python and the engine take 467MiB" in capsys.readouterr().err


def test_out_of_memory_names_the_option(
    till: Any, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_000):
        till.expose(0, "control", user_id=f"u{number}")
    store = till.close()
    opened = Embedded.open
    monkeypatch.setattr(Embedded, "open", lambda **more: opened(**{**more, "memory_bytes": 200_000}))
    assert main(ReportSettings(events=store, config=(config_file(),))) == 1
    assert "does not fit into its memory, even with what it spilled; give it more, for example --memory " in (
        capsys.readouterr().err
    )


class Narrow:
    """A connection in which a table takes more memory than there is, unless one thread makes it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.failed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def raw_sql(self, statement: str) -> Any:
        threads = self._connection.con.sql("SELECT current_setting('threads')").fetchone()[0]
        if statement.startswith("CREATE") and threads > 1:
            self.failed += 1
            raise duckdb.OutOfMemoryException("failed to pin block")
        return self._connection.raw_sql(statement)


def test_what_does_not_fit_is_done_again_by_one_thread_and_all_that_follows_too(tmp_path: Path) -> None:
    with Embedded.open(memory_bytes=2**28, spill=tmp_path / "spill") as engine:
        engine.connection.raw_sql("SET threads = 4")
        engine.connection = narrow = Narrow(engine.connection)
        for name in ("first", "second"):
            kept = engine.keep(name, name, ibis.range(10).unnest().name("number").as_table())
            assert engine.rows("counted", kept.agg(count=kept.count())) == [{"count": 10}]
        assert narrow.failed == 1


def test_a_full_disk_names_where_it_spills(tmp_path: Path) -> None:
    with Embedded.open(memory_bytes=20_000_000, spill=tmp_path / "spill") as engine:
        engine.connection.raw_sql("SET max_temp_directory_size = '100KB'")  # as much as a full disk has
        numbers = ibis.range(3_000_000).unnest().name("number").as_table()
        table = numbers.mutate(text=numbers.number.cast("string").hexdigest("md5"))
        with pytest.raises(EngineFailed, match="full where it spills; name another directory with --work"):
            engine.keep("many numbers", "numbers", table)


def test_a_full_disk_names_the_export(
    till: Any, config_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    till.config(0)
    for number in range(20):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".units.parquet.tmp").symlink_to("/dev/full")
    assert main(ReportSettings(events=till.close(), config=(config_file(),), export=folder)) == 1
    assert "abside report: --export units: the disk is full: " in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_a_table_is_kept_with_the_types_it_was_asked_for_also_in_place_of_the_one_it_is_made_of(tmp_path: Path) -> None:
    with Embedded.open(memory_bytes=2**28, spill=tmp_path / "spill") as engine:
        numbers = engine.keep("numbers", "kept", ibis.range(10).unnest().name('a "number"').as_table())
        whole = numbers.agg(total=numbers['a "number"'].sum())  # wider than 64 bits, where DuckDB chooses
        found = engine.keep("their sum", "kept", whole)
        assert found.schema() == ibis.schema({"total": "int64"})
        assert engine.rows("what was kept", engine.kept("kept")) == [{"total": 45}]
