"""Reading a store: which files count, and what their footers contain.

A store is a directory of `dt=<UTC date of receipt>/*.parquet`. A file counts unless it is superseded: a merged file
says in its footer which files it replaces. It counts from the moment it has the name `_….parquet.next`, which no other
reader takes; for those it is there once the files that it replaces are gone.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from abside.collector.store.ids import BatchIds, Range
from abside.collector.store.schema import SCHEMA
from abside.files import FileRefusedError, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow.dataset as ds

SUFFIX = ".parquet"
UNREADABLE = ".unreadable"  # of a file set aside: no reader takes it
BESIDE = ".tmp"  # of a file not yet whole
NEXT = ".next"  # of a merged file that counts for us alone: the files it replaces are still there for other readers
HIDDEN = "_"  # Spark and Arrow read whatever a directory holds, except names that begin so
MERGED = "~"  # in the name of merged files only: a batch id cannot contain one
ARCHIVED = "_archived"  # in the folder of a day: which of its files are in an archive
LISTINGS = 10
MAX_FILE_BYTES = 2**40  # no file of ours comes near; what is read of it at once is bounded below
MAX_FOOTER_BYTES = 64 * 2**20  # twice the names of a merged file; a footer's length is a claim
_TAIL = struct.Struct("<I4s")  # of every Parquet file: the footer's length, and the magic
BATCHES = b"abside.batches"  # a key of the footer
RANGES = b"abside.ranges"
REPLACES = b"abside.replaces"


class FileUnreadable(Exception):  # noqa: N818 read as a sentence where it is caught
    """A file ends in .parquet and is none; the disk or a person damaged it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is not a Parquet file that can be read: {self.reason}"


@dataclass(frozen=True, slots=True)
class Footer:
    """A file's own record of its content: the batches in it, and the files of its day that it replaces."""

    batches: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()  # of further batches: as BatchIds keeps them

    @property
    def names(self) -> int:
        """How many names of batches it takes to list them."""
        return len(self.batches) + len(self.ranges)


def scan(directory: Path) -> ds.Dataset:
    """Return every row that counts, as a pyarrow dataset of SCHEMA.

    Reading it raises FileNotFoundError when a collector merged or dropped a file in between: scan again.
    """
    # Readers only: it weighs 16 MB, and 50 where pandas is installed, that the collector does not need.
    from pyarrow.dataset import dataset  # noqa: PLC0415 see above

    return dataset([str(path) for path in live_files(directory)], schema=SCHEMA, format="parquet")


def live_files(directory: Path) -> list[Path]:
    """List the files of a store that count, oldest day first."""
    return [path for day in day_folders(directory) for path in live_files_of(day)]


def day_folders(directory: Path) -> list[Path]:
    """List the `dt=…` directories of a store, oldest first."""
    return sorted(path for path in directory.glob("dt=????-??-??") if date_of(path) and path.is_dir())


def days_of(directory: Path) -> list[date]:
    """List the dates of a store's days, oldest first."""
    return [day for folder in day_folders(directory) if (day := date_of(folder))]


def date_of(folder: Path) -> date | None:
    """Return the date of a `dt=…` directory, None for a name that is no date."""
    try:
        return date.fromisoformat(folder.name.removeprefix("dt="))
    except ValueError:
        return None


def hidden(path: Path, ending: str) -> Path:
    """Return the name beside a file's own that no reader takes."""
    return path.with_name(f"{HIDDEN}{path.name}{ending}")


def live_files_of(day: Path) -> list[Path]:
    """List the files of one day that count."""
    files = whole_files(day)
    gone = _superseded(files)
    return [path for path in sorted(files.values()) if path not in gone]


def superseded(day: Path) -> set[Path]:
    """Find the files of one day that a merged file replaces: it names them and contains all their batches.

    The name alone would not do: a clock set back may bring a new file of an old name into the day.
    """
    return _superseded(whole_files(day))


def _superseded(files: Mapping[str, Path]) -> set[Path]:
    gone: set[Path] = set()
    for merged in (path for name, path in files.items() if MERGED in name):
        with suppress(FileNotFoundError):  # merged once more, meanwhile
            footer = read_footer(merged)
            merged_in = BatchIds(footer.batches, footer.ranges)
            for path in (files[name] for name in footer.replaces if name in files):
                with suppress(FileNotFoundError):
                    replaced = read_footer(path)
                    if merged_in.contains_all(replaced.batches, replaced.ranges):
                        gone.add(path)
    return gone


def whole_files(day: Path) -> dict[str, Path]:
    """Find the whole files of a day by the names they have for other readers, or will have."""
    names = _listed(day)
    files = {name: day / name for name in names if name.endswith(SUFFIX)}
    for name in names:
        if name.endswith(NEXT):
            files.setdefault(name.removeprefix(HIDDEN).removesuffix(NEXT), day / name)
    return files


def _listed(day: Path) -> frozenset[str]:
    """List names until two listings are alike: one alone may miss a file that is renamed meanwhile, by both names."""
    names: frozenset[str] | None = None
    for _ in range(LISTINGS):
        before = names
        try:
            names = frozenset(path.name for path in day.iterdir() if path.name.endswith((SUFFIX, SUFFIX + NEXT)))
        except FileNotFoundError:  # the day was dropped
            return frozenset()
        if names == before:
            break
    return names or frozenset()


def read_footer(path: Path) -> Footer:
    """Read the footer that the collector wrote. Raises FileUnreadable for what is no Parquet file, else OSError."""
    return footer_of(path, read_metadata(path))


def read_metadata(path: Path) -> pq.FileMetaData:
    """Read a file's footer, in bounded memory and without ever waiting for a writer.

    Raises FileUnreadable for what is no Parquet file, a FIFO or a directory too, else OSError.
    """
    _check_tail(path)
    with reading(path):
        return pq.read_metadata(path)


def footer_of(path: Path, metadata: pq.FileMetaData) -> Footer:
    """Return what the collector wrote into a footer. Raises FileUnreadable."""
    entries = metadata.metadata or {}
    batches, replaces = (_names(path, entries.get(key, b"[]")) for key in (BATCHES, REPLACES))
    return Footer(batches, replaces, _ranges(path, entries.get(RANGES, b"[]")))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises over wrong bytes into FileUnreadable; an error of the disk stays an OSError."""
    try:
        yield
    except MemoryError:  # of Arrow's too, whose own is an ArrowException: the file may be good
        raise
    except (pa.ArrowException, ValueError) as exc:
        raise FileUnreadable(path, str(exc)) from exc
    except OSError as exc:
        if exc.errno is None:  # pyarrow's own: the bytes are wrong, not the disk
            raise FileUnreadable(path, str(exc)) from exc
        raise


def _check_tail(path: Path) -> None:
    try:
        handle, status = open_regular(path, MAX_FILE_BYTES)
    except FileRefusedError as exc:
        raise FileUnreadable(path, f"it {exc.strerror}") from exc
    except OSError as exc:
        if path.is_symlink():
            raise FileUnreadable(path, f"it is a link that leads nowhere: {exc.strerror}") from exc
        raise
    try:
        tail = os.pread(handle, _TAIL.size, max(0, status.st_size - _TAIL.size))
    finally:
        os.close(handle)
    length, magic = _TAIL.unpack(tail.ljust(_TAIL.size, b"\0"))
    if magic != b"PAR1":
        raise FileUnreadable(path, "it does not end like one")
    if length > min(MAX_FOOTER_BYTES, status.st_size):
        raise FileUnreadable(path, f"its footer claims {length:,} bytes")


def _ranges(path: Path, text: bytes) -> tuple[Range, ...]:
    try:
        ranges = tuple((first, count) for first, count in orjson.loads(text))
        BatchIds().update((), ranges)
    except (ValueError, TypeError) as exc:
        raise FileUnreadable(path, f"its footer does not list ranges of batches: {exc}") from exc
    return ranges


def _names(path: Path, text: bytes) -> tuple[str, ...]:
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise FileUnreadable(path, str(exc)) from exc
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileUnreadable(path, "its footer does not list names of batches")
    return tuple(names)
