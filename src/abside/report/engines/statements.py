"""What was asked of an engine, as SQL that a person can run: each statement after those that it stands on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import ibis
import sqlglot as sg
from ibis.common.exceptions import IbisError

from abside.report.store.engine import PLACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from abside.report.store.engine import Asked

# As a person names it: as Ibis does, and how a table is kept there.
DIALECTS = {
    "duckdb": ("duckdb", "CREATE OR REPLACE TEMP TABLE {} AS"),
    "spark": ("pyspark", "CREATE OR REPLACE TEMPORARY VIEW {} AS"),
    "bigquery": ("bigquery", "CREATE OR REPLACE TEMP TABLE {} AS"),
    "snowflake": ("snowflake", "CREATE OR REPLACE TEMPORARY TABLE {} AS"),
    "trino": ("trino", "CREATE OR REPLACE TABLE {} AS"),
    "clickhouse": ("clickhouse", "CREATE OR REPLACE TEMPORARY TABLE {} AS"),
}
ZONE = {"duckdb": "SET TimeZone = 'UTC'", "spark": "SET TIME ZONE 'UTC'"}


def script(asked: Sequence[Asked], dialect: str, *, ran: str) -> Iterator[str]:
    """Yield the statements, each with what it is for. `ran`: the dialect of the engine that ran them."""
    if dialect != ran:
        yield f"-- compiled for {dialect}, not run\n\n"
    if dialect in ZONE:
        yield f"{ZONE[dialect]};\n\n"
    for one in asked:
        yield f"-- {one.purpose}\n{_statement(one, dialect)}\n\n"


def _statement(asked: Asked, dialect: str) -> str:
    if asked.files:
        view = _VIEWS.get(dialect)
        if view is None:
            return f"-- {asked.kept_as} is a table with the rows of the store's files; its columns are in docs/store.md"
        return f"CREATE OR REPLACE TEMPORARY VIEW {asked.kept_as} AS\n{view(asked.files, asked.has_places)};"
    name, keep = DIALECTS[dialect]
    try:
        written = _compiled(asked.table, name)
    except ImportError:
        return "-- this takes pip install 'abside[spark]'"
    except IbisError as exc:
        return f"-- has no form in {dialect}: {exc}"
    return f"{keep.format(asked.kept_as)}\n{written};" if asked.kept_as else f"{written};"


def _compiled(table: Any, dialect: str) -> str:
    """Return a table's SQL, in which tables have no catalog: where they are is whoever runs it to say."""
    if dialect == "pyspark":
        _ = ibis.pyspark  # registers the options that its compiler reads
    compiler = import_module(f"ibis.backends.sql.compilers.{dialect}").compiler
    tree = compiler.to_sqlglot(table.unbind())
    for found in tree.find_all(sg.exp.Table):
        found.set("db", None)
        found.set("catalog", None)
    return str(tree.sql(dialect=compiler.dialect, pretty=True))


def _duckdb(files: Sequence[str], has_places: bool) -> str:
    listed = ",\n  ".join(sg.exp.Literal.string(file).sql("duckdb") for file in files)
    found = f"FROM read_parquet([\n  {listed}\n], hive_partitioning = false"
    if not has_places:
        return f"{found})"
    file, row = PLACE
    named = f"RENAME (filename AS {file}, file_row_number AS {row})"
    return f"SELECT * {named}\n{found}, filename = true, file_row_number = true)"


def _spark(files: Sequence[str], has_places: bool) -> str:  # noqa: ARG001 it never has them
    return "\nUNION ALL ".join(f"TABLE parquet.{sg.to_identifier(file, quoted=True).sql('spark')}" for file in files)


_VIEWS: dict[str, Callable[[Sequence[str], bool], str]] = {"duckdb": _duckdb, "spark": _spark}
