"""What stands on disk: Parquet files of one schema that appear whole, each with its batch ids in its footer.

A store is a directory of `dt=<UTC date of receipt>/*.parquet`. A file counts unless its name ends in `.tmp` or it is
superseded: a merged file says in its footer which files it replaces, so that both may stand for a moment.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from abside.files import FileRefusedError, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pyarrow.dataset as ds

_TIME = pa.timestamp("us", "UTC")
# Every file has exactly these columns: never inferred, so that a quiet hour and a busy one read alike.
SCHEMA: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("type", pa.string()),
        ("ts", _TIME),
        ("seen_ts", _TIME),  # the sidecar's clock
        ("recv_ts", _TIME),  # the collector's clock
        ("user_id", pa.string()),
        ("session_id", pa.string()),
        ("user_bucket", pa.int16()),  # crc32 of the UTF-8 id mod 1024, null without one: shards and jackknife
        ("session_bucket", pa.int16()),
        ("bot", pa.bool_()),
        ("exposure_id", pa.string()),
        ("placement", pa.string()),
        ("revision", pa.string()),
        ("config_id", pa.string()),
        ("algo", pa.int16()),
        ("experiment", pa.string()),  # this and the six below: one assignment of an exposure, a row each
        ("phase", pa.int32()),
        ("variant", pa.string()),
        ("unit_type", pa.string()),
        ("unit_id", pa.string()),
        ("forced", pa.bool_()),
        ("traffic_bp", pa.int32()),
        ("attributes", pa.string()),  # JSON
        ("items", pa.list_(pa.field("element", pa.string()))),  # Parquet's own name of a list's member
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("quantity", pa.int32()),
        ("value", pa.decimal128(18, 4)),
        ("currency", pa.string()),
        ("order_id", pa.string()),
        ("page_type", pa.string()),
        ("page_load_ms", pa.float64()),
        ("properties", pa.string()),  # JSON
        ("detail", pa.string()),  # JSON of every field that has no column
        ("batch_id", pa.string()),
    ]
)
SUFFIX = ".parquet"
UNREADABLE = ".unreadable"  # of a file set aside: no reader takes it
BESIDE = ".tmp"  # of a file not yet whole
MERGED = "~"  # in the name of merged files only: a batch id cannot hold one
MAX_FILE_BYTES = 2**40  # no file of ours comes near; what is read of it at once is bounded below
MAX_FOOTER_BYTES = 64 * 2**20  # twice the names of a merged file; a footer's length is a claim
_TAIL = struct.Struct("<I4s")  # of every Parquet file: the footer's length, and the magic
_BATCHES = b"abside.batches"
_REPLACES = b"abside.replaces"


class StoreFailed(Exception):  # noqa: N818 read as a sentence where it is caught
    """The disk did not take a file; nothing of it counts. Trying again later may work."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} could not be written: {self.reason}"


class NotSynced(StoreFailed):
    """A file stands in the store, whole and under its name; only a power loss could still take the name away."""

    def __str__(self) -> str:
        return f"{self.path} is written, and its directory could not be forced to disk: {self.reason}"


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
    """What a file says about itself: the batches in it, and the files of its day it replaces."""

    batches: tuple[str, ...]
    replaces: tuple[str, ...] = ()


def scan(directory: Path) -> ds.Dataset:
    """Give every row that counts, as a pyarrow dataset of SCHEMA.

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
    """Give the date of a `dt=…` directory, None for a name that is no date."""
    try:
        return date.fromisoformat(folder.name.removeprefix("dt="))
    except ValueError:
        return None


def live_files_of(day: Path) -> list[Path]:
    """List the files of one day that count."""
    gone = superseded(day)
    return [path for path in sorted(day.glob(f"*{SUFFIX}")) if path not in gone]


def superseded(day: Path) -> set[Path]:
    """Find the files of one day that a merged file replaces: it names them and holds all their batches.

    The name alone would not do: a clock set back may bring a new file of an old name into the day.
    """
    files = {path.name: path for path in day.glob(f"*{SUFFIX}")}
    gone: set[Path] = set()
    for merged in (path for name, path in files.items() if MERGED in name):
        with suppress(FileNotFoundError):  # merged once more, meanwhile
            footer = read_footer(merged)
            held = set(footer.batches)
            for path in (files[name] for name in footer.replaces if name in files):
                with suppress(FileNotFoundError):
                    if held.issuperset(read_footer(path).batches):
                        gone.add(path)
    return gone


def read_footer(path: Path) -> Footer:
    """Read what a file says about itself. Raises FileUnreadable for what is no Parquet file, else OSError."""
    return footer_of(path, read_metadata(path))


def read_metadata(path: Path) -> pq.FileMetaData:
    """Read a file's footer, in bounded memory and without ever waiting for a writer.

    Raises FileUnreadable for what is no Parquet file, a FIFO or a directory too, else OSError.
    """
    _check_tail(path)
    with reading(path):
        return pq.read_metadata(path)


def footer_of(path: Path, metadata: pq.FileMetaData) -> Footer:
    """Give what the collector wrote into a footer. Raises FileUnreadable."""
    entries = metadata.metadata or {}
    return Footer(*(_names(path, entries.get(key, b"[]")) for key in (_BATCHES, _REPLACES)))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises over wrong bytes into FileUnreadable; an error of the disk stays an OSError."""
    try:
        yield
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


def _names(path: Path, text: bytes) -> tuple[str, ...]:
    try:
        names = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise FileUnreadable(path, str(exc)) from exc
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FileUnreadable(path, "its footer does not list names of batches")
    return tuple(names)


def write_file(path: Path, tables: Iterable[pa.Table], footer: Footer) -> int:
    """Write a file that appears whole: beside, fsync, rename, fsync of its directory. Give its rows.

    The caller owns the store and gives a name that is free. Raises StoreFailed; then nothing counts and nothing of it
    stays behind, as far as the disk still obeys. Raises NotSynced once it has its name: from then on it counts,
    because a name that is taken back again may stay all the same.
    """
    beside = path.with_name(path.name + BESIDE)
    try:
        rows = _write(beside, tables, footer)
        _rename(beside, path)
    except BaseException as exc:
        with suppress(OSError):
            beside.unlink()
        if isinstance(exc, OSError):
            raise StoreFailed(path, reason_of(exc)) from exc
        raise
    try:
        sync(path.parent)
    except OSError as exc:
        raise NotSynced(path, reason_of(exc)) from exc
    return rows


def reason_of(error: OSError) -> str:
    """Give the sentence of an OSError, pyarrow's own too."""
    return os.strerror(error.errno) if error.errno else str(error)


def sync(path: Path) -> None:
    """Force a file or directory to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename(beside: Path, path: Path) -> None:
    try:
        beside.rename(path)
    except OSError:
        if os.path.lexists(beside) or not os.path.lexists(path):
            raise
        # A network file system may do it and say that it did not.


def _write(path: Path, tables: Iterable[pa.Table], footer: Footer) -> int:
    rows = 0
    with pa.OSFile(str(path), "wb") as sink, pq.ParquetWriter(sink, SCHEMA, compression="zstd") as out:
        for table in tables:
            out.write_table(table)
            rows += table.num_rows
        entries = {_BATCHES: footer.batches, _REPLACES: footer.replaces}
        out.add_key_value_metadata({key: orjson.dumps(names) for key, names in entries.items() if names})
    sync(path)
    return rows
