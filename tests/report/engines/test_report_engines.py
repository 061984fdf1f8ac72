"""One report over every engine: whatever is printed is the same to 1e-9."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from abside.report.ask import Ask
from abside.report.documents import read_documents
from abside.report.engines.embedded import Embedded
from abside.report.engines.statements import script
from abside.report.report import build
from abside.report.store.source import open_source
from alike import differing

Report = Callable[..., Any]
NO_FORM = {  # what Ibis does not write there
    "bigquery": ("'Quantile'",),
    "trino": ("'Quantile'",),
    "clickhouse": ("subsecond interval",),  # where a clock is corrected
}


def test_the_world_has_all_that_a_page_can_say(embedded: Any) -> None:
    page, visits = embedded.figures["experiments"]
    assert [one["what"] for one in page["timeline"]][:2] == ["started: 10 % of traffic, phase 1", "ramped 10 % → 100 %"]
    assert {one["key"] for one in page["cuts"]["by"]["country"]} >= {'say "hi"\\', "line\nbreak", "(no value)", "5"}
    assert {one["key"] for one in page["cuts"]["by"]["tags"]} == {"[]", '["a"]', '["a","b\\"]"]', "(no value)"}
    estimates = {one["metric"]: one for one in page["estimates"]}
    for name in ("deep", "rating", "basket", "inventory_exposure_gini", "page_load_mean"):
        assert estimates[name]["difference"], name
    assert page["values"]["quoted"] == {"control": pytest.approx(0.4), "treatment": pytest.approx(0.4)}
    assert page["sensitivity"]
    assert embedded.figures["events"]["clocks"]
    assert embedded.figures["events"]["duplicate_outcomes"] == 13
    assert page["exposures"]["accounts"]["control"] == {"accepted": 380, "lost": 4}
    assert page["fallbacks"]["calls"] == 15
    assert visits["unit"] == "session"
    assert visits["exposures"]["left_out"]["bots"]["rows"] == 6
    assert {name: len(rows) > 90 for name, rows in embedded.exported.items()} == {
        "units.parquet": True, "attribution.parquet": True
    }  # fmt: skip


def test_spark_connect_says_the_same(reported: Report, embedded: Any, connect: str) -> None:
    other = reported(engine=connect, partitions=2)
    assert list(differing(embedded.figures, other.figures)) == []
    assert embedded.exported == other.exported
    assert f" at {connect.removeprefix('sc://')}" in other.printed
    assert other.printed.startswith("SET TIME ZONE 'UTC';\n")


def test_the_sql_that_is_shown_makes_the_same_figures_in_a_duckdb_of_its_own(embedded: Any) -> None:
    statements = embedded.printed.split(";\n\n")[:-1]
    moments = {}
    with duckdb.connect() as connection:
        for statement in statements:
            found = connection.execute(statement)
            if purpose := re.search("^-- (.*): moments by variant$", statement, re.MULTILINE):
                moments[purpose[1]] = found.fetch_arrow_table().to_pylist()
    for page in embedded.figures["experiments"]:
        arms = {row["variant"]: row for row in moments[page["experiment"]]}
        for arm in page["arms"]:
            assert arms[arm["variant"]]["units"] == arm["units"] > 0
            assert {name: arms[arm["variant"]][f"sum_{name}"] for name in arm["sums"]} == arm["sums"]


def test_no_expression_holds_what_only_one_engine_has(embedded: Any) -> None:
    sql = embedded.printed.upper().rpartition(";\n\n")[0]
    for word in ("JSON", "APPROX", "LIST_", "STRUCT", "ROWID", " HASH("):
        assert word not in sql, word
    assert "MD5(" in sql


def test_the_sql_is_compiled_for_others_and_says_so(world: Path, tmp_path: Path) -> None:
    with Embedded.open(memory_bytes=2**28, spill=tmp_path) as engine:
        build(engine, open_source(engine, world / "store"), read_documents([world / "snapshot"]), Ask(("visits",)))
    kept = ("skews", "units", "hits", "figures")  # a part: to write SQL takes a while
    asked = [one for one in engine.asked if one.files or one.kept_as in kept or "moments by variant" in one.purpose]
    for dialect in ("bigquery", "snowflake", "trino", "clickhouse", "spark"):
        out = "".join(script(asked, dialect, ran="duckdb"))
        assert out.startswith(f"-- compiled for {dialect}, not run\n")
        assert '"main".' not in out
        without = set(re.findall("^-- has no form in .*: (.*)$", out, re.MULTILINE))
        assert all(any(word in one for word in NO_FORM.get(dialect, ())) for one in without), without
        assert "-- visits: moments by variant\nSELECT" in out
