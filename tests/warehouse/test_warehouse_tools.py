"""The page's queries for warehouse-native tools, on DuckDB over a store: the arms that `abside report` prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import duckdb
import pytest
import yaml  # noqa: TID251 of another program's file
from tests.warehouse.world import PAGE, TOOLS, UNITS, Tool, World, statement_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def database(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made, pytest.MonkeyPatch.context() as patch:
        patch.chdir(world.folder)
        made.execute(statement_of("DuckDB: events"))
        made.execute(statement_of("views"))
        yield made


@pytest.mark.parametrize("experiment", UNITS)
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_each_tools_queries_have_the_arms_of_the_report(
    tool: Tool, experiment: str, world: World, database: duckdb.DuckDBPyConnection
) -> None:
    assert database.execute(tool.statement(experiment)).fetchall() == world.reported[experiment]


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (" AND NOT coalesce(forced, false)", ""),
        (" AND NOT coalesce(forced, false) AND NOT bot", " AND NOT coalesce(forced, false)"),
        ("'-p', phase)", "'-p1')"),
        ("coalesce(user_id, member, session_id)", "coalesce(user_id, session_id)"),
        ("person, session_id;", "person, session_id, random();"),  # each copy is an outcome
    ],
    ids=["forced", "bots", "phases", "a login in a visit", "copies"],
)
def test_whatever_the_views_said_otherwise_would_show(said: str, wrong: str, world: World) -> None:
    views = statement_of("views")
    assert said in views
    with duckdb.connect() as database, pytest.MonkeyPatch.context() as patch:
        patch.chdir(world.folder)
        database.execute(statement_of("DuckDB: events"))
        database.execute(views.replace(said, wrong))
        found = {one: database.execute(TOOLS[2].statement(one)).fetchall() for one in UNITS}
    assert found != world.reported


def test_every_statement_of_the_page_is_run_by_a_test() -> None:
    titles = set(re.findall(r"^```sql\n-- (.+)$", PAGE.read_text(), re.MULTILINE))
    of_tools = {f"{tool.name}: {query}" for tool in TOOLS for query in (tool.assignments, tool.purchases)}
    ours = {"events of files", "events of an archive", "what arrives", "a copy of files", "exposures by cluster"}
    assert titles == of_tools | {f"ClickHouse: {title}" for title in ours} | {"DuckDB: events", "views"}


def test_the_files_for_vector_and_fluent_bit_are_yaml_and_lead_to_the_table() -> None:
    vector, fluent = (
        yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.+?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    )
    (sink,) = vector["sinks"].values()
    assert (sink["inputs"], sink["database"], sink["table"]) == ([*vector["sources"]], "abside", "arrived")
    assert sink["acknowledgements"]["enabled"]
    assert sink["skip_unknown_fields"]
    (taken,), (sent,) = fluent["pipeline"]["inputs"], fluent["pipeline"]["outputs"]
    assert taken["storage.type"] == "filesystem"
    for port in (vector["sources"]["abside"]["address"].rpartition(":")[2], taken["port"]):
        assert re.search(rf"http://[a-z-]+\.logging:{port}/\?format=json_array", PAGE.read_text())
    assert "INSERT%20INTO%20arrived%20FORMAT%20JSONEachRow&input_format_skip_unknown_fields=1" in sent["uri"]
