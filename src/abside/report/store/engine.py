"""The engine's contract: Ibis expressions in, a few rows out. Units stay in it. Its kinds are in abside.report.engines.

An expression holds nothing that only one engine has: no JSON, no SQL, no file function, no approximate count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    from abside.report.problem import EngineFailed

Table = Any  # an ibis table: the library has no types
Row = dict[str, Any]
EVENTS = "events"  # the view of the files; of those opened later, with a number


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement that ran, and what for; or files that were opened as a table. `kept_as`: the name it got."""

    purpose: str
    table: Table
    kept_as: str | None = None
    files: tuple[str, ...] = ()


class Engine(ABC):
    """A connection, and all that was asked of it. `tell` hears what is being done."""

    dialect: ClassVar[str]  # of what `asked` was written in
    faults: ClassVar[tuple[type[Exception], ...]]  # what a statement that fails raises

    def __init__(self, connection: Any, tell: Callable[[str], None] | None = None) -> None:
        self.connection = connection
        self.asked: list[Asked] = []
        self._opened = 0
        self._tell = tell or (lambda _purpose: None)

    @property
    @abstractmethod
    def name(self) -> str:
        """The engine as the page names it."""

    def parquet(self, files: Sequence[Path]) -> Table:
        """Return the rows of Parquet files of one schema as a table. Raises EngineFailed."""
        names = [str(path) for path in files]
        view = f"{EVENTS}_{self._opened}" if self._opened else EVENTS
        self._opened += 1
        with self._running("opening the files"):
            table = self._parquet(names, view)
        self.asked.append(Asked(f"{len(names):,} files of the store", table, view, tuple(names)))
        return table

    def rows(self, purpose: str, table: Table) -> list[Row]:
        """Run a table that has few rows. Raises EngineFailed."""
        with self._asking(purpose, table):
            found: list[Row] = self._fetched(table).to_pylist()
            return found

    def keep(self, purpose: str, name: str, table: Table) -> Table:
        """Run a table once and keep its rows in the engine, under a name. Raises EngineFailed."""
        with self._asking(purpose, table, name):
            return self._kept(name, table)

    def columns(self, purpose: str, table: Table) -> dict[str, Any]:
        """Run a table of many narrow rows; give its columns as numpy arrays. Raises EngineFailed."""
        with self._asking(purpose, table):
            found = self._fetched(table)
            return {name: found[name].to_numpy(zero_copy_only=False) for name in found.column_names}

    def write(self, purpose: str, table: Table, place: Path) -> None:
        """Write the rows of a table to a Parquet file. Raises EngineFailed; then nothing of the file stays."""
        beside = place.with_name(f".{place.name}.tmp")
        try:
            with self._running(purpose):
                self._write(table, beside)
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)

    def kept(self, name: str) -> Table:
        """Return a table that was kept."""
        return self.connection.table(name)

    @abstractmethod
    def _parquet(self, files: list[str], name: str) -> Table:
        """Return the rows of Parquet files as a table of this name."""

    @abstractmethod
    def _fetched(self, table: Table) -> pa.Table:
        """Run a table; its times are UTC, with their zone."""

    @abstractmethod
    def _kept(self, name: str, table: Table) -> Table:
        """Run a table and keep its rows under a name, in place of what had it."""

    @abstractmethod
    def _write(self, table: Table, place: Path) -> None:
        """Write the rows of a table to one Parquet file here."""

    @abstractmethod
    def _failed(self, purpose: str, fault: Exception) -> EngineFailed:
        """Say in one line why a statement failed, and what would help."""

    @contextmanager
    def _asking(self, purpose: str, table: Table, kept_as: str | None = None) -> Iterator[None]:
        self.asked.append(Asked(purpose, table, kept_as))
        with self._running(purpose):
            yield

    @contextmanager
    def _running(self, purpose: str) -> Iterator[None]:
        self._tell(purpose)
        try:
            yield
        except self.faults as exc:
            raise self._failed(purpose, exc) from exc
