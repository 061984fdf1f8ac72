"""Merged files are copied to a place, an archive: each row once, whatever is cut off, restored or done a second time.

A copy is named after the batches in it and created exclusively. `_archived` in a day's folder lists what was copied. A
copy that it does not list (a crash before that, a disk restored from a backup) is asked for its batches, and they are
not copied again. What is listed is never asked for: the archive may have dropped it, by a rule of its own.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from abside.collector.keep.compact import MERGED_BYTES, READ_ROWS, SMALL_BYTES
from abside.collector.store import (
    ARCHIVED,
    BESIDE,
    HIDDEN,
    MERGED,
    NEXT,
    SCHEMA,
    SUFFIX,
    BatchIds,
    FileUnreadable,
    Footer,
    day_folders,
    footer_of,
    hidden,
    live_files_of,
    read_footer,
    read_metadata,
    reading,
    whole_files,
    write_file,
)
from abside.collector.store.place import NameTaken, PlaceRefused, probe
from abside.files import read_regular, write_whole
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.collector.store.place import StorePlace

log = Log("abside.collector.keep.archive")
ID = "_ID"
MAX_ID_BYTES = 64
MAX_LIST_BYTES = 64 * 2**20
TAIL_BYTES = 64 * 2**10  # the footer of a usual file, in one request
_ID_TEXT = re.compile(r"[0-9a-f]{16}\n?")


class IdWrong(Exception):  # noqa: N818 read as a sentence where it is caught
    """The store's own id cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} does not contain the 16 hexadecimal digits that name this store in its archive; restore it"


class Archive:
    """Where merged files are copied. `copy` is made for a thread; the counts are since start."""

    def __init__(self, store: Path, place: StorePlace) -> None:
        self.place = place
        self.files = 0
        self.bytes = 0
        self.waiting = 0  # files that are merged and not copied
        self._store = store
        self._folder = ""
        self._probed = False
        self._one_at_a_time = threading.Lock()

    def copy(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Copy what is merged and not yet there, oldest day first. `stopping` is asked between files.

        Raises PlaceError, IdWrong, FileUnreadable, StoreFailed or OSError; what is not copied then is waiting.
        """
        with self._one_at_a_time:
            due = {day: files for day in day_folders(self._store) if (files := _final(self.missing(day)))}
            self.waiting = sum(map(len, due.values()))
            self._begin()
            for day, files in due.items():
                self._copy_day(day, files, stopping)

    def missing(self, day: Path) -> list[Path]:
        """List the files of a day that are not copied, those not yet merged too. Raises FileUnreadable and OSError."""
        copied = self._copied(day)
        if whole_files(day).keys() <= copied.keys():
            return []
        return [path for path in live_files_of(day) if _name(path) not in copied and _is_ours(path)]

    def _begin(self) -> None:
        self._folder = f"store={store_id(self._store)}"
        if not self._probed:
            probe(self.place)
            self._probed = True

    def _copy_day(self, day: Path, files: list[Path], stopping: Callable[[], bool]) -> None:
        copied = self._copied(day)
        there = self._batches_there(day, set(copied.values()))
        for path in files:
            if stopping():
                return
            copied[_name(path)] = self._copy_file(day, path, there)
            everything = self._listed(day) | {self.place.shown: copied}
            write_whole(day / ARCHIVED, orjson.dumps(everything))
            self.waiting -= 1

    def _copy_file(self, day: Path, path: Path, there: BatchIds) -> str | None:
        """Copy the rows of batches that are not there; return the copy's name, None where all of them are."""
        whole = _ids_of(read_footer(path))
        rest = whole.without(there)
        if whole and not rest:
            return None
        name = f"{self._folder}/{day.name}/merged{MERGED}{_digest(path, rest)}{SUFFIX}"
        with _source(day, path, whole, rest) as source:
            try:
                self.place.create(name, source)
            except NameTaken as exc:  # by another with this store's id: a copy of its disk
                if _listing(_ids_of(self._footer(name))) != _listing(rest):
                    raise PlaceRefused(exc.name, "another file has this name; move it elsewhere") from exc
            self.files += 1
            self.bytes += source.stat().st_size
        return name

    def _batches_there(self, day: Path, known: set[str | None]) -> BatchIds:
        """Find the batches in copies of a day that are not listed."""
        there = BatchIds()
        for name in self.place.names(f"{self._folder}/{day.name}"):
            if name not in known and name.endswith(SUFFIX):
                footer = self._footer(name)
                there.update(footer.batches, footer.ranges)
        return there

    def _footer(self, name: str) -> Footer:
        size = self.place.size(name)
        tail = self.place.read_range(name, max(0, size - TAIL_BYTES), min(size, TAIL_BYTES))
        wanted = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < wanted <= min(size, MERGED_BYTES):
            tail = self.place.read_range(name, size - wanted, wanted)
        path = Path(name)
        try:
            with reading(path):
                return footer_of(path, pq.read_metadata(pa.BufferReader(tail)))
        except FileUnreadable as exc:
            raise PlaceRefused(f"{self.place.shown}/{name}", "it is damaged or not ours; move it elsewhere") from exc

    def _copied(self, day: Path) -> dict[str, str | None]:
        return self._listed(day).get(self.place.shown, {})

    def _listed(self, day: Path) -> dict[str, dict[str, str | None]]:
        try:
            listed = orjson.loads(read_regular(day / ARCHIVED, MAX_LIST_BYTES))
        except FileNotFoundError:
            return {}
        except orjson.JSONDecodeError as exc:  # made again from the archive itself
            log.error("archive_list_damaged", file=str(day / ARCHIVED), reason=str(exc))
            return {}
        return listed if isinstance(listed, dict) else {}


def store_id(store: Path) -> str:
    """Return the id of a store, which names its folder in an archive; made at the first call. Raises IdWrong, OSError.

    It goes with the disk: an empty one is another store.
    """
    path = store / ID
    try:
        text = read_regular(path, MAX_ID_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        text = secrets.token_hex(8)
        write_whole(path, f"{text}\n".encode())
    if not _ID_TEXT.fullmatch(text):
        raise IdWrong(path)
    return text.strip()


def _name(path: Path) -> str:
    """Return the name that a file has, or will have once other readers see it."""
    return path.name.removeprefix(HIDDEN).removesuffix(NEXT) if path.name.endswith(NEXT) else path.name


def _final(files: list[Path]) -> list[Path]:
    return [path for path in files if MERGED in path.name or path.stat().st_size >= SMALL_BYTES]


def _is_ours(path: Path) -> bool:
    metadata = read_metadata(path)
    with reading(path):
        return bool(metadata.schema.to_arrow_schema().equals(SCHEMA))


def _ids_of(footer: Footer) -> BatchIds:
    return BatchIds(footer.batches, footer.ranges)


def _listing(ids: BatchIds) -> list[str]:
    """List ids and ranges of ids as lines: the same for the same ids, however they came together."""
    return sorted([*ids.alone(), *(f"{first} {count}" for first, count in ids.ranges())])


def _digest(path: Path, batches: BatchIds) -> str:
    """Name a content: its batches, or its bytes where a person's file says nothing of batches."""
    if batches:
        return hashlib.sha256("\n".join(_listing(batches)).encode()).hexdigest()[:16]
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@contextmanager
def _source(day: Path, path: Path, whole: BatchIds, batches: BatchIds) -> Iterator[Path]:
    """Return a file with the rows of some of its batches: itself, where these are all."""
    if len(batches) == len(whole):
        yield path
        return
    part = hidden(day / f"part{SUFFIX}", BESIDE)
    write_file(part, _rows(path, batches), Footer(tuple(batches.alone()), ranges=tuple(batches.ranges())))
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _rows(path: Path, batches: BatchIds) -> Iterator[pa.Table]:
    with reading(path), pq.ParquetFile(path) as source:
        for piece in source.iter_batches(batch_size=READ_ROWS, use_threads=False):
            ids = piece.column("batch_id").to_pylist()
            chosen = pa.array([one is not None and one in batches for one in ids], pa.bool_())
            yield pa.Table.from_batches([piece.filter(chosen)], SCHEMA)
