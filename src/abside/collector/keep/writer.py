"""The one process that owns a store: its lock, its recovery after a crash, the batch ids it knows, its whole files."""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol, Self

import pyarrow as pa

from abside.collector.keep.aside import set_aside
from abside.collector.keep.calendar import isolated, known_since, receipt_day
from abside.collector.keep.recovery import recover
from abside.collector.store import (
    BESIDE,
    NEXT,
    SCHEMA,
    SUFFIX,
    BatchIds,
    FileUnreadable,
    Footer,
    NotSynced,
    StoreFailed,
    date_of,
    day_folders,
    days_of,
    hidden,
    read_footer,
    reason_of,
    sync,
    write_file,
)
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

log = Log("abside.collector.keep.writer")
LOCK = "_LOCK"  # Arrow and Spark skip names that begin so
AGAIN = "@"  # before the number of a second file of one name; a batch id cannot contain one


class StoreOwned(Exception):  # noqa: N818 read as a sentence where it is caught
    """Another collector has this store open."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory

    def __str__(self) -> str:
        return f"{self.directory} belongs to a collector that is running; give each collector a store of its own"


class FewRows(Protocol):
    """The rows of a small batch that are not columns yet: a few rows take 100 KB as columns of their own."""

    @property
    def size(self) -> int:
        """Their bytes in memory."""

    def with_others(self, all_few: Sequence[Self]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all these batches, this one among them, as columns of SCHEMA."""


@dataclass(frozen=True, slots=True)
class ReceivedBatch:
    """One batch, decoded: its rows, as Arrow columns or a few that become such; when it was received (µs UTC)."""

    batch_id: str
    recv_us: int
    pieces: tuple[pa.RecordBatch, ...]
    few: FewRows | None = None

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return self.few.size if self.few else sum(piece.get_total_buffer_size() for piece in self.pieces)

    @property
    def day(self) -> date:
        """The UTC date of receipt."""
        return day_of(self.recv_us)


class Writer:
    """An open store. `write` is made for a thread; everything else belongs to the loop."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock
        self._known: defaultdict[date, BatchIds] = defaultdict(BatchIds)
        self._loose: dict[Path, set[str]] = {}  # directory not forced to disk → batches in its files

    @classmethod
    def open(cls, directory: Path, *, known_since: date) -> Writer:
        """Own a store, make it whole again, and learn the batch ids of the days since `known_since`.

        Raises StoreOwned, and OSError where the directory cannot be made, read or cleaned.
        """
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(lock)
            raise StoreOwned(directory) from exc
        writer = cls(directory, lock)
        try:
            folders = {day: folder for folder in day_folders(directory) if (day := date_of(folder))}
            apart = isolated(folders)
            for day, folder in folders.items():
                recover(folder)
                if day >= known_since or day in apart:
                    writer._learn(day, folder)
        except BaseException:
            writer.close()
            raise
        return writer

    def close(self) -> None:
        """Release the store."""
        os.close(self._lock)

    def check_owned(self) -> None:
        """Raise StoreFailed unless LOCK is still the file that was locked: behind it another collector may have begun.

        What that one stored is not known here, so its batches would be stored twice. A start finds out.
        """
        try:
            there = (self.directory / LOCK).stat()
        except OSError as exc:
            raise StoreFailed(self.directory / LOCK, f"{reason_of(exc)}; restart this collector") from exc
        if not os.path.samestat(there, os.fstat(self._lock)):
            raise StoreFailed(self.directory / LOCK, "it was replaced by another; restart this collector")

    @property
    def known_ids(self) -> int:
        """How many batch ids are known."""
        return sum(map(len, self._known.values()))

    def knows(self, batch_id: str) -> bool:
        """Whether this batch is in the store, as far back as ids are known."""
        return any(batch_id in ids for ids in self._known.values())

    def remember(self, batches: Sequence[ReceivedBatch]) -> None:
        """Know these batches from now on."""
        for batch in batches:
            self._known[batch.day].add(batch.batch_id)

    def forget(self, known_days: int) -> None:
        """Forget the ids of all but the newest days of the store, `known_days` and one."""
        self.forget_before(known_since(self._known, known_days))

    def forget_before(self, day: date) -> None:
        """Forget the ids of the days before `day`, except days that a wrong clock may have made."""
        apart = isolated(self._known)
        for old in [known for known in self._known if known < day and known not in apart]:
            del self._known[old]

    def receive(self, batches: Sequence[ReceivedBatch]) -> int:
        """Write batches of one day as `write` does; under the newest day of the store where the clock went back."""
        self.check_owned()
        try:
            day = receipt_day(days_of(self.directory), batches[0].day)
        except OSError as exc:
            raise StoreFailed(self.directory, reason_of(exc)) from exc
        if day != batches[0].day:
            log.error("clock_behind", clock=batches[0].day.isoformat(), stored_under=day.isoformat())
        return self.write(batches, day)

    def write(self, batches: Sequence[ReceivedBatch], day: date | None = None) -> int:
        """Write batches of one day as one file, whole and durable; return its rows. `day` None: their date of receipt.

        Raises StoreFailed; then none of them is in the store. Raises NotSynced; then all of them are.
        """
        folder = self.directory / f"dt={(day or batches[0].day).isoformat()}"
        try:
            if not folder.is_dir():
                folder.mkdir()
                sync(self.directory)
            path = _free_path(folder, batches[0].batch_id)
        except OSError as exc:
            raise StoreFailed(folder, reason_of(exc)) from exc
        table = pa.Table.from_batches(_pieces(batches), SCHEMA)
        names = tuple(batch.batch_id for batch in batches)
        try:
            return write_file(path, [table], Footer(names))
        except NotSynced:
            self._loose.setdefault(folder, set()).update(names)
            raise

    def is_loose(self, batch_id: str) -> bool:
        """Whether this batch is in a file whose directory could not be forced to disk."""
        return any(batch_id in ids for ids in tuple(self._loose.values()))

    def fasten(self) -> None:
        """Force to disk what could not be before. Raises StoreFailed where it still cannot."""
        for folder in tuple(self._loose):
            try:
                sync(folder)
            except OSError as exc:
                raise StoreFailed(folder, reason_of(exc)) from exc
            del self._loose[folder]

    def _learn(self, day: date, folder: Path) -> None:
        for path in sorted([*folder.glob(f"*{SUFFIX}"), *folder.glob(f"*{NEXT}")]):
            try:
                footer = read_footer(path)
                self._known[day].update(footer.batches, footer.ranges)
            except FileUnreadable as exc:
                set_aside(exc)
            except OSError as exc:  # one bad sector; its batches may be stored once more, if they come again
                log.error("file_not_read", file=str(path), reason=reason_of(exc))


def day_of(us: int) -> date:
    """Return the UTC date of µs since 1970."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).date()


def _pieces(batches: Sequence[ReceivedBatch]) -> list[pa.RecordBatch]:
    pieces = [piece for batch in batches for piece in batch.pieces]
    few = [batch.few for batch in batches if batch.few]
    return [*pieces, *few[0].with_others(few)] if few else pieces


def _free_path(folder: Path, batch_id: str) -> Path:
    """Name a file after its first batch; never like anything that is there, whole or not."""
    path = folder / f"{batch_id}{SUFFIX}"
    number = 1
    while os.path.lexists(path) or os.path.lexists(hidden(path, BESIDE)):
        number += 1
        path = folder / f"{batch_id}{AGAIN}{number}{SUFFIX}"
    return path
