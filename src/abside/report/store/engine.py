"""The engine: Ibis expressions in, a few rows out; DuckDB in this process. Units stay in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import ibis

from abside.report.problem import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

Table = Any  # an ibis table: the library has no types
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement that ran, and what for. Its SQL is written when somebody wants to read it: that takes a while."""

    purpose: str
    table: Table
    kept_as: str | None = None

    @property
    def sql(self) -> str:
        """The statement as it ran."""
        written = str(ibis.to_sql(self.table, dialect="duckdb"))
        return f"CREATE TEMP TABLE {self.kept_as} AS\n{written}" if self.kept_as else written


@dataclass(slots=True)
class Engine:
    """A connection, and all that was asked of it. `tell` hears what is being done."""

    connection: Any
    memory_bytes: int
    tell: Callable[[str], None] = lambda _purpose: None
    asked: list[Asked] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, *, memory_bytes: int, spill: Path, tell: Callable[[str], None] | None = None) -> Iterator[Engine]:
        """Open DuckDB in this process, with a bound on its memory; beyond it, it spills into `spill`."""
        connection = ibis.duckdb.connect(
            memory_limit=f"{memory_bytes}B",
            temp_directory=str(spill),
            preserve_insertion_order=False,  # no figure depends on it, and keeping it costs memory
            autoinstall_known_extensions=False,  # nothing is fetched from a network
        )
        try:
            yield cls(connection, memory_bytes, tell or (lambda _purpose: None))
        finally:
            connection.disconnect()

    @property
    def name(self) -> str:
        """The engine as the page names it."""
        return f"DuckDB {duckdb.__version__}"

    def parquet(self, files: Sequence[Path]) -> Table:
        """Return the rows of Parquet files of one schema as a table."""
        with self._running("opening the files"):
            names = [str(path) for path in files]
            return self.connection.read_parquet(names, hive_partitioning=False)

    def rows(self, purpose: str, table: Table) -> list[Row]:
        """Run a table that has few rows. Raises EngineFailed."""
        with self._running(purpose):
            self.asked.append(Asked(purpose, table))
            found: list[Row] = self.connection.to_pyarrow(table).to_pylist()
            return found

    def keep(self, purpose: str, name: str, table: Table) -> Table:
        """Run a table once and keep its rows in the engine, under a name. Raises EngineFailed."""
        with self._running(purpose):
            self.asked.append(Asked(purpose, table, name))
            return self.connection.create_table(name, table, temp=True, overwrite=True)

    def columns(self, purpose: str, table: Table) -> dict[str, Any]:
        """Run a table of many narrow rows; give its columns as numpy arrays. Raises EngineFailed."""
        with self._running(purpose):
            self.asked.append(Asked(purpose, table))
            found = self.connection.to_pyarrow(table)
            return {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}

    def write(self, purpose: str, table: Table, place: Path) -> None:
        """Write the rows of a table to a Parquet file. Raises EngineFailed; then nothing of the file stays."""
        beside = place.with_name(f".{place.name}.tmp")
        try:
            with self._running(purpose):
                self.connection.to_parquet(table, beside)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)

    def kept(self, name: str) -> Table:
        """Return a table that was kept."""
        return self.connection.table(name)

    @contextmanager
    def _running(self, purpose: str) -> Iterator[None]:
        self.tell(purpose)
        try:
            yield
        except duckdb.OutOfMemoryException as exc:
            more = f"--memory {2 * self.memory_bytes // 2**20 or 1}MiB"
            reason = f"does not fit into its memory, even with what it spilled; give it more, for example {more}"
            raise EngineFailed(purpose, reason) from exc
        except duckdb.Error as exc:
            raise EngineFailed(purpose, str(exc).partition("\n")[0]) from exc
