"""The one process that owns a store: its lock, its recovery after a crash, the batch ids it knows, its whole files."""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa

from abside.collector.store import (
    BESIDE,
    SCHEMA,
    SUFFIX,
    FileUnreadable,
    Footer,
    StoreFailed,
    date_of,
    day_folders,
    read_footer,
    superseded,
    sync,
    write_file,
)
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = Log("abside.collector.writer")
LOCK = "_LOCK"  # Arrow and Spark skip names that begin so
AGAIN = "@"  # before the number of a second file of one name; a batch id cannot hold one
SET_ASIDE = ".unreadable"


class StoreOwned(Exception):  # noqa: N818 read as a sentence where it is caught
    """Another collector has this store open."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory

    def __str__(self) -> str:
        return f"{self.directory} belongs to a collector that is running; give each collector a store of its own"


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, decoded: its rows as Arrow columns, and when it was received (µs UTC)."""

    batch_id: str
    recv_us: int
    pieces: tuple[pa.RecordBatch, ...]

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        return sum(piece.nbytes for piece in self.pieces)

    @property
    def day(self) -> date:
        """The UTC date of receipt."""
        return day_of(self.recv_us)


class Writer:
    """An open store. `write` is made for a thread; everything else belongs to the loop."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock
        self._known: defaultdict[date, set[str]] = defaultdict(set)

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
            for folder in day_folders(directory):
                _recover(folder)
                day = date_of(folder)
                if day and day >= known_since:
                    writer._learn(day, folder)
        except BaseException:
            writer.close()
            raise
        return writer

    def close(self) -> None:
        """Give the store up."""
        os.close(self._lock)

    @property
    def known_ids(self) -> int:
        """How many batch ids are known."""
        return sum(map(len, self._known.values()))

    def knows(self, batch_id: str) -> bool:
        """Whether this batch stands in the store, as far back as is known."""
        return any(batch_id in ids for ids in self._known.values())

    def remember(self, batches: Sequence[Batch]) -> None:
        """Know these batches from now on."""
        for batch in batches:
            self._known[batch.day].add(batch.batch_id)

    def forget_before(self, day: date) -> None:
        """Let go of the ids of the days before `day`."""
        for old in [known for known in self._known if known < day]:
            del self._known[old]

    def write(self, batches: Sequence[Batch]) -> int:
        """Write batches of one day as one file, whole and durable; give its rows.

        Raises StoreFailed; then none of them is in the store.
        """
        folder = self.directory / f"dt={batches[0].day.isoformat()}"
        try:
            if not folder.is_dir():
                folder.mkdir()
                sync(self.directory)
            path = _free_path(folder, batches[0].batch_id)
        except OSError as exc:
            raise StoreFailed(folder, exc.strerror or str(exc)) from exc
        table = pa.Table.from_batches([piece for batch in batches for piece in batch.pieces], SCHEMA)
        return write_file(path, [table], Footer(tuple(batch.batch_id for batch in batches)))

    def _learn(self, day: date, folder: Path) -> None:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                self._known[day].update(read_footer(path).batches)
            except FileUnreadable as exc:
                _set_aside(exc)


def day_of(us: int) -> date:
    """Give the UTC date of µs since 1970."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).date()


def days_before(us: int, days: int) -> date:
    """Give the UTC date so many days before a moment."""
    return day_of(us) - timedelta(days=days)


def _recover(folder: Path) -> None:
    """Finish what a crash left undone: files not yet whole, and files already merged into another."""
    leftovers = list(folder.glob(f"*{BESIDE}"))
    while True:
        try:
            leftovers += superseded(folder)
            break
        except FileUnreadable as exc:
            _set_aside(exc)
    for path in leftovers:
        log.info("leftover_removed", file=str(path))
        path.unlink()


def _set_aside(unreadable: FileUnreadable) -> None:
    """Rename a damaged file: it would break every reader of the store, and refusing to start would stop the rest."""
    path = unreadable.path
    log.error("file_set_aside", file=str(path), renamed=path.name + SET_ASIDE, reason=unreadable.reason)
    path.rename(path.with_name(path.name + SET_ASIDE))


def _free_path(folder: Path, batch_id: str) -> Path:
    """Name a file after its first batch; never like one that stands there."""
    path = folder / f"{batch_id}{SUFFIX}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{batch_id}{AGAIN}{number}{SUFFIX}"
    return path
