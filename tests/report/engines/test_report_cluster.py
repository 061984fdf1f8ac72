"""What a person meets when Spark is not there, goes away, or does not have what was asked for."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
import pytest

from abside.collector.keep.compact import publish
from abside.collector.store import SCHEMA, Footer, write_file
from abside.report.command import main
from abside.report.engines.cluster import SparkConnect
from abside.report.problem import EngineAway, EngineFailed
from abside.report.settings import ReportSettings, engine_url
from abside.report.store.source import open_source


def ask(capsys: pytest.CaptureFixture[str], **settings: Any) -> tuple[int, str]:
    code = main(ReportSettings(**settings))
    return code, capsys.readouterr().err


@pytest.fixture
def asked(till: Any, config_file: Any) -> dict[str, Any]:
    till.expose(0, "control", user_id="u1")
    return {"events": till.close(), "config": (config_file(),)}


def test_an_engine_that_is_away_is_exit_code_3_and_no_token_is_shown(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code, err = ask(capsys, **asked, engine=f"sc://127.0.0.1:{port}/;token=secret")
    assert code == 3
    assert err == f"abside report: --engine 127.0.0.1:{port}: nobody answers there: Connection refused\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"engine": "sc://spark", "memory": 2**30}, "--memory is of DuckDB: what Spark may use is set where it runs"),
        ({"engine": "sc://spark", "work": Path("w")}, "--work is of DuckDB: where Spark spills is set where it runs"),
        ({"partitions": 8}, "--partitions is of Spark, and the engine is DuckDB: give it with --engine sc://…"),
        ({"dialect": "trino"}, "--dialect is that of --show-sql: give both"),
    ],
)
def test_what_an_engine_does_not_have_is_refused(
    asked: dict[str, Any], capsys: pytest.CaptureFixture[str], settings: dict[str, Any], words: str
) -> None:
    assert ask(capsys, **asked, **settings) == (2, f"abside report: {words}\n")


def test_an_engine_is_duckdb_or_a_url_of_spark_connect() -> None:
    assert engine_url(" DuckDB ") == "duckdb"
    assert engine_url("sc://spark:15002/;use_ssl=true") == "sc://spark:15002/;use_ssl=true"
    for wrong in ("spark", "http://spark", "sc://", "sc://spark:x", "sc://spark:0;token=secret"):
        with pytest.raises(ValueError, match="is no engine: write duckdb, or the URL") as caught:
            engine_url(wrong)
        assert "secret" not in str(caught.value)


def test_a_spark_that_goes_away_meanwhile_is_told_with_what_was_being_done(
    mortal: tuple[str, Callable[[], None]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url, end = mortal
    one = ibis.range(3).unnest().name("n").as_table()
    with SparkConnect.open(url, folder=tmp_path, tries=1) as engine:
        assert [row["n"] for row in engine.rows("three", one)] == [0, 1, 2]
        with pytest.raises(EngineFailed, match=r"^a sum: Spark says: .*no_such_table"):
            engine.rows("a sum", ibis.table({"n": "int64"}, name="no_such_table"))
        assert "ContextLogger" not in capfd.readouterr().err
        end()
        gone = rf"^--engine {url.removeprefix('sc://')}: went away meanwhile \(a sum\); ask again: "
        with pytest.raises(EngineAway, match=gone):
            engine.rows("a sum", one)


def merging(till: Any) -> tuple[Path, Path]:
    """Return a day whose two files were merged in this round, and the merged one: other readers keep to the two."""
    for number in range(2):
        till.expose(number, "control", user_id=f"u{number}")
        day = till.close() / "dt=2026-11-02"
    files = sorted(day.glob("*.parquet"))
    merged = day / "_merged~0001.parquet.next"
    tables = [pq.read_table(path, schema=SCHEMA) for path in files]
    write_file(merged, tables, Footer(("b",), tuple(path.name for path in files)))
    return day, merged


def test_spark_reads_every_row_once_while_small_files_become_one(till: Any, tmp_path: Path, connect: str) -> None:
    def people() -> tuple[list[str], list[str]]:
        source = open_source(engine, day.parent)
        return [path.name for path in source.files], sorted(row["user_id"] for row in engine.rows("all", source.events))

    day, merged = merging(till)
    small = sorted(path.name for path in day.glob("*.parquet"))
    with SparkConnect.open(connect, folder=tmp_path) as engine:
        assert people() == (small, ["u0", "u1"])
        publish(day)
        assert merged.exists()
        assert people() == (["merged~0001.parquet"], ["u0", "u1"])
        publish(day)
        assert people() == (["merged~0001.parquet"], ["u0", "u1"])


def test_rows_that_only_a_name_has_that_spark_skips_keep_its_figures_back(
    till: Any, config_file: Any, connect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    day, merged = merging(till)
    min(day.glob("b*.parquet")).unlink()  # a collector was killed between the removals
    asked = {"events": day.parent, "config": (config_file(),)}
    code, err = ask(capsys, **asked, engine=connect)
    assert code == 1
    assert err.startswith(f"abside report: {merged}: the collector has not given it its name yet, and Spark skips ")
    assert "--engine duckdb" in err
    assert ask(capsys, **asked)[0] == 0
