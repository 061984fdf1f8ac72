"""The engine's contract: Ibis expressions in, a few rows out. Units stay in it. Its kinds are in abside.report.engines.

An expression holds nothing that only one engine has: no JSON, no SQL, no file function, no approximate count.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from abside.report.store.mirror import mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from abside.report.problem import EngineFailed

Table = Any  # an ibis table: the library has no types
Row = dict[str, Any]
MIRROR = "store"  # of an object store, a directory here
PLACE = ("file", "row")  # columns: the file that an event is in, and the number of its row there
EVENTS = "events"  # the view of the files; of those opened later, with a number
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement that ran, and what for; or files that were opened as a table, with or without PLACE.

    `kept_as`: the name it got.
    """

    purpose: str
    table: Table
    kept_as: str | None = None
    files: tuple[str, ...] = ()
    has_places: bool = False


class Engine(ABC):
    """A connection, and all that was asked of it. `tell` hears what is being done."""

    dialect: ClassVar[str]  # of what `asked` was written in
    reads_urls: ClassVar[bool]  # whether it reads an object store by itself
    reads_hidden: ClassVar[bool]  # whether it reads a file whose name begins with `_`
    faults: ClassVar[tuple[type[Exception], ...]]  # what a statement that fails raises
    has_places: bool = False  # whether it knows PLACE of a row, and finds a row by it without reading the others

    def __init__(self, connection: Any, folder: Path, tell: Callable[[str], None] | None = None) -> None:
        self.connection = connection
        self._folder = folder  # of its own, gone afterwards
        self._mirrored: tuple[Path, str] | None = None
        self.asked: list[Asked] = []
        self.asked_for = 0  # answers, where earlier ones may be used again
        self.reused = 0  # of them, those of an earlier report
        self._opened = 0
        self._tell = tell or (lambda _purpose: None)

    @property
    @abstractmethod
    def name(self) -> str:
        """The engine as the page names it."""

    def parquet(self, files: Sequence[Path], of: str = "the store", *, has_places: bool = False) -> Table:
        """Return the rows of Parquet files of one schema as a table; `of` whom they are.

        `has_places`: with the columns PLACE, where the engine has them. Raises EngineFailed.
        """
        has_places = has_places and self.has_places
        names = [self._read_at(path) for path in files]
        view = f"{EVENTS}_{self._opened}" if self._opened else EVENTS
        self._opened += 1
        with self._running("opening the files"):
            table = self._parquet(names, view, has_places=has_places)
        self.asked.append(Asked(f"{len(names):,} files of {of}", table, view, tuple(names), has_places))
        return table

    def near(self, url: str) -> Path:
        """Return a directory with what the report looks at of a store elsewhere. Raises what `mirror` raises."""
        folder = self._folder / MIRROR
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mirror(url, folder, whole=not self.reads_urls, tell=self._tell)
        if self.reads_urls:
            self._mirrored = (folder, url.rstrip("/"))
        return folder

    def _read_at(self, path: Path) -> str:
        """Return where the engine reads a file."""
        if self._mirrored is None or not path.is_relative_to(self._mirrored[0]):
            return str(path)
        return f"{self._mirrored[1]}/{path.relative_to(self._mirrored[0]).as_posix()}"

    def rows(self, purpose: str, table: Table) -> list[Row]:
        """Run a table that has few rows. Raises EngineFailed."""
        with self._asking(purpose, table):
            found = self._fetched(table)
            columns = [_values(found[name]) for name in found.column_names]
            return [dict(zip(found.column_names, row, strict=True)) for row in zip(*columns, strict=True)]

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

    def in_utc(self, times: Any, zone: str) -> Any:
        """Return times that were written down in a zone without its name, in UTC; of engines that take `--outcomes`."""
        raise NotImplementedError

    @abstractmethod
    def _parquet(self, files: list[str], name: str, *, has_places: bool) -> Table:
        """Return the rows of Parquet files as a table of this name, with PLACE where it is asked for."""

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
        """Return why a statement failed, in one line, and what would help."""

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


def us_of(moment: datetime) -> int:
    """Return a moment as µs since 1970."""
    return (moment - EPOCH) // MICROSECOND


def moment_of(us: int) -> datetime:
    """Return µs since 1970 as a moment."""
    return EPOCH + us * MICROSECOND


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return what is in a column. Arrow's own moments load pandas, which takes a fifth of a second."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    numbers = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()
    return [None if us is None else moment_of(us) for us in numbers]
