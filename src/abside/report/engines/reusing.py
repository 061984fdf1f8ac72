"""DuckDB that asks nothing twice: what it answered about the same files, for an earlier report, is read again.

An answer is known by its statement and by what that stands on: the statements of the tables in it, the names, sizes and
times of all files, and the engine's version. Whatever else changes (documents, options, code) is in the statements, or
is done with the answers afterwards. So none can be of another state of the store.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import ibis.expr.operations as ops
import orjson

from abside import __version__
from abside.report.engines.embedded import Embedded
from abside.report.problem import StoreChanged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from abside.report.engines.answers import Answers
    from abside.report.store.engine import Table

UNITS = "figures"  # the table of units, of which further questions may be asked: its rows are kept as well


class Reusing(Embedded):
    """DuckDB, and its answers in a directory. A table is made only when a question about it is new."""

    answers: Answers

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._state = hashlib.sha256(f"{__version__} {duckdb.__version__} {ibis.__version__}".encode())
        self._recipes: dict[str, tuple[str, Table]] = {}  # table → its key, and what it is made of
        self._made: set[str] = set()
        self._latest: dict[str, Table] = {}  # by the name that others give it

    def parquet(self, files: Sequence[Path], of: str = "the store", *, has_places: bool = False) -> Table:
        """Return the rows of Parquet files as a table; answers are about these files as they are now."""
        try:
            found = [(str(path), (status := path.stat()).st_size, status.st_mtime_ns) for path in files]
        except FileNotFoundError as exc:
            raise StoreChanged from exc
        self._state.update(orjson.dumps(found))
        return super().parquet(files, of, has_places=has_places)

    def kept(self, name: str) -> Table:
        """Return a table that was kept."""
        return self._latest[name]

    def _fetched(self, table: Table) -> pa.Table:
        key = self._key(table)
        found = self.answers.rows(key)
        self.asked_for += 1
        if found is not None:
            self.reused += 1
            return found
        self._bring(table)
        found = super()._fetched(table)
        self.answers.take_rows(key, found)
        return found

    def _kept(self, name: str, table: Table) -> Table:
        key = self._key(table)
        unique = f"{name}_{key[:16]}"
        before = self._latest.get(name)
        if before is not None and before.get_name() in self._made - {unique}:
            self._made.discard(before.get_name())
            self.connection.drop_table(before.get_name())
        self._recipes[unique] = (key, table)
        told = self.answers.text(f"{key}-schema")
        if told is None:
            self._make(unique)
            schema = self.connection.table(unique).schema()
            self.answers.take(f"{key}-schema", orjson.dumps({column: str(kind) for column, kind in schema.items()}))
        else:
            schema = ibis.schema(orjson.loads(told))
        self._latest[name] = ibis.table(schema, name=unique)
        return self._latest[name]

    def _write(self, table: Table, place: Path) -> None:
        self._bring(table)
        super()._write(table, place)

    def _key(self, table: Table) -> str:
        """Return the digest of a question: names of tables in it contain the digests of theirs."""
        statement = str(self.connection.compile(table))
        whole = self._state.copy()
        whole.update(statement.encode())
        return whole.hexdigest()

    def _bring(self, table: Table) -> None:
        """Make the tables that a question is about."""
        for node in table.op().find(ops.UnboundTable):
            if node.name in self._recipes and node.name not in self._made:
                self._make(node.name)

    def _make(self, unique: str) -> None:
        key, table = self._recipes[unique]
        is_units = unique.startswith(f"{UNITS}_")
        path = self.answers.table(key) if is_units else None
        if path is not None:
            self._attached(path, f"CREATE OR REPLACE TEMP TABLE {unique} AS FROM kept.units", "(READ_ONLY)")
        else:
            self._bring(table)
            super()._kept(unique, table)
            if is_units:
                made = f"CREATE TABLE kept.units AS FROM {unique}"
                self.answers.take_table(key, lambda beside: self._attached(beside, made))
        self._made.add(unique)

    def _attached(self, path: Path, statement: str, how: str = "") -> None:
        """Run a statement with a file as the database `kept`."""
        place = str(path).replace("'", "''")
        self.connection.raw_sql(f"ATTACH '{place}' AS kept {how}")
        try:
            self.connection.raw_sql(statement)
        finally:
            self.connection.raw_sql("DETACH kept")
