"""DuckDB in this process: the default engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from abside.report.memory import whole_memory
from abside.report.problem import EngineFailed
from abside.report.store.engine import PLACE, Engine, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DISK_FULL = "No space left on device"
SPILLED = "duckdb_temp_storage"  # in the name of what it spills into
SPILL_FULL = "max_temp_directory_size"  # its bound is the room on that disk
UTC_TIME = dt.Timestamp("UTC")


# In the engine times are UTC and have no zone: arithmetic on times with one is sixteen times slower, and these
# functions are what makes one of the other.
_builtin: Any = ibis.udf.scalar.builtin
_epoch_us = _builtin(lambda _time: None, name="epoch_us", signature=((UTC_TIME,), dt.int64))
_timezone = _builtin(
    lambda _zone, _time: None, name="timezone", signature=((dt.string, dt.Timestamp(scale=6)), UTC_TIME)
)
_make_timestamp = _builtin(lambda _us: None, name="make_timestamp", signature=((dt.int64,), dt.Timestamp(scale=6)))


def utc(found: pa.Table) -> pa.Table:
    """Return what an engine without zones found, with its times as UTC."""
    times = {one.name: pa.timestamp("us", "UTC") for one in found.schema if pa.types.is_timestamp(one.type)}
    return found.cast(pa.schema([pa.field(one.name, times.get(one.name, one.type)) for one in found.schema]))


class Embedded(Engine):
    """DuckDB with a bound on its memory; beyond it, it spills into a directory."""

    dialect = "duckdb"
    reads_urls = False
    reads_hidden = True
    faults = (duckdb.Error,)
    has_places = True

    def __init__(
        self, connection: Any, folder: Path, memory_bytes: int, tell: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(connection, folder, tell)
        self.memory_bytes = memory_bytes
        self.is_narrow = False  # all is done by one thread

    @classmethod
    @contextmanager
    def open(cls, *, memory_bytes: int, spill: Path, tell: Callable[[str], None] | None = None) -> Iterator[Embedded]:
        """Open DuckDB in this process; it spills into `spill`."""
        connection = ibis.duckdb.connect(
            memory_limit=f"{memory_bytes}B",
            temp_directory=str(spill),
            preserve_insertion_order=False,  # no figure depends on it, and keeping it costs memory
            autoinstall_known_extensions=False,  # nothing is fetched from a network
        )
        connection.raw_sql("SET parquet_metadata_cache = true")  # one statement after the other opens the same files
        try:
            yield cls(connection, spill, memory_bytes, tell)
        finally:
            connection.disconnect()

    @property
    def name(self) -> str:
        """The engine as the page names it."""
        return f"DuckDB {duckdb.__version__}"

    def in_utc(self, times: Any, zone: str) -> Any:
        """Return times that were written down in a zone without its name, in UTC."""
        return _make_timestamp(_epoch_us(_timezone(zone, times.cast(dt.Timestamp(scale=6)))))

    def _parquet(self, files: list[str], name: str, *, has_places: bool) -> Table:
        more = {"filename": True, "file_row_number": True} if has_places else {}
        found = self.connection.read_parquet(files, table_name=f"{name}_files", hive_partitioning=False, **more)
        if has_places:
            found = found.rename(dict(zip(PLACE, more, strict=True)))
        zoned = [column for column, kind in found.schema().items() if kind.is_timestamp() and kind.timezone]
        bare = found.mutate(**{column: _make_timestamp(_epoch_us(found[column])) for column in zoned})
        return self.connection.create_view(name, bare, overwrite=True)

    def _fetched(self, table: Table) -> pa.Table:
        """Run a table. Ibis's own way loads pandas, which takes a fifth of a second."""
        query, kinds = str(self.connection.compile(table)), table.schema().to_pyarrow()
        found = self._fitted(lambda: self.connection.con.sql(query).to_arrow_table())
        return utc(pa.table({one.name: found[one.name].cast(one.type) for one in kinds}))

    def _kept(self, name: str, table: Table) -> Table:
        """Run a table into one of this name. Ibis's own way writes the rows twice, and asks five questions more."""
        kind_of = self.connection.compiler.type_mapper.to_string
        columns = [f"{_quoted(one)}::{kind_of(kind)} AS {_quoted(one)}" for one, kind in table.schema().items()]
        rows = f"SELECT {', '.join(columns)} FROM ({self.connection.compile(table)})"  # noqa: S608 of our own words
        self._fitted(lambda: self.connection.raw_sql(f"CREATE OR REPLACE TEMP TABLE {_quoted(name)} AS {rows}"))
        return self.connection.table(name)

    def _write(self, table: Table, place: Path) -> None:
        times = [name for name, kind in table.schema().items() if kind.is_timestamp()]
        written = table.mutate(**{name: table[name].cast(UTC_TIME) for name in times})
        self._fitted(lambda: self.connection.to_parquet(written, place))

    def _fitted(self, run: Callable[[], Any]) -> Any:
        """Run a statement; what does not fit into the memory runs again, in one thread: each has buffers of its own."""
        try:
            return run()
        except duckdb.OutOfMemoryException as exc:
            if self.is_narrow or SPILL_FULL in str(exc):
                raise
        self.is_narrow = True
        self.connection.raw_sql("SET threads = 1")
        return run()

    def _failed(self, purpose: str, fault: Exception) -> EngineFailed:
        return EngineFailed(purpose, self._reason(fault))

    def _reason(self, fault: Exception) -> str:
        text = str(fault)
        more = f"--memory {whole_memory(2 * self.memory_bytes) // 2**20}MiB"
        if SPILL_FULL in text or (DISK_FULL in text and SPILLED in text):
            return f"the disk is full where it spills; name another directory with --work, or give it {more}"
        if isinstance(fault, duckdb.OutOfMemoryException):
            return f"does not fit into its memory, even with what it spilled; give it more, for example {more}"
        return f"the disk is full: {text.partition(': ')[2]}" if DISK_FULL in text else text.partition("\n")[0]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
