"""Writing a store's files, each of which appears whole."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from abside.collector.store.files import BATCHES, BESIDE, RANGES, REPLACES, hidden
from abside.collector.store.schema import SCHEMA
from abside.collector.store.summary import SUMMARY, FileSummary

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from abside.collector.store.files import Footer

# Not of numbers, which pack as well without one, and not of what hardly repeats: there it costs a sixth of the time to
# write, and a fifth of the file.
_DICTIONARIES: Final = [
    "type",
    "placement",
    "revision",
    "config_id",
    "experiment",
    "variant",
    "unit_type",
    "attributes",
    "items.list.element",
    "item_id",
    "currency",
    "order_id",
    "page_type",
    "properties",
    "detail",
    "batch_id",
]
# Of a merged file's row groups, each of some minutes, in which a person's ids do repeat: a reader who looks for some
# people compares them with a third of the values, in two thirds of the time; writing takes a twelfth longer.
_MERGED_DICTIONARIES: Final = [*_DICTIONARIES, "user_id", "session_id", "unit_id"]
MERGED_GROUP_ROWS: Final = 32_768  # of a merged file: a reader passes over those with nobody whom it looks for
# Least and greatest values, by which a reader passes over row groups. Those of ids say nothing, and cost as much.
_STATISTICS: Final = [
    *("type", "ts", "seen_ts", "recv_ts", "user_bucket", "session_bucket", "placement", "experiment", "batch_id")
]


class StoreFailed(Exception):  # noqa: N818 read as a sentence where it is caught
    """The disk did not take a file; nothing of it counts. Trying again later may work."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} could not be written: {self.reason}"


class NotSynced(StoreFailed):
    """A file is in the store, whole and under its name; only a power loss could still remove the name."""

    def __str__(self) -> str:
        return f"{self.path} is written, and its directory could not be forced to disk: {self.reason}"


def write_file(path: Path, tables: Iterable[pa.Table], footer: Footer, *, merged: bool = False) -> int:
    """Write a file that appears whole: beside, fsync, rename, fsync of its directory. Return its rows.

    `merged`: it is written once to be read often, and its footer also has a summary of its rows.

    The caller owns the store and chooses a name that is free. Raises StoreFailed; then nothing counts and nothing of it
    stays behind, as far as the disk still obeys. Raises NotSynced once it has its name: from then on it counts,
    because a name that is taken back again may stay all the same.
    """
    beside = hidden(path, BESIDE)
    try:
        rows = _write(beside, tables, footer, FileSummary() if merged else None)
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
    """Return the sentence of an OSError, also of pyarrow's own."""
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
        # A network file system may do it and report an error all the same.


def parquet_writer(sink: pa.NativeFile, *, merged: bool = False) -> pq.ParquetWriter:
    """Return what writes rows of SCHEMA to a sink, as every file of a store has them."""
    dictionaries = _MERGED_DICTIONARIES if merged else _DICTIONARIES
    return pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=dictionaries, write_statistics=_STATISTICS)


def _write(path: Path, tables: Iterable[pa.Table], footer: Footer, summary: FileSummary | None) -> int:
    rows = 0
    with pa.OSFile(str(path), "wb") as sink, parquet_writer(sink, merged=summary is not None) as out:
        for table in tables:
            out.write_table(table, None if summary is None else MERGED_GROUP_ROWS)
            rows += table.num_rows
            if summary is not None:
                summary.add(table)
        entries = {BATCHES: footer.batches, RANGES: footer.ranges, REPLACES: footer.replaces}
        said = {key: orjson.dumps(names) for key, names in entries.items() if names}
        if summary is not None and (text := summary.text()) is not None:
            said[SUMMARY] = text
        out.add_key_value_metadata(said)
    sync(path)
    return rows
