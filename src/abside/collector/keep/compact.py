"""A finished day's small files become one, and old days go: neither loses nor doubles a row, wherever it is cut off.

Thousands of small files scan several times slower than a few. The merged file names those it replaces in its footer
and appears whole; only then are they removed. Readers leave out what is named there, and so does the next start.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from abside.collector.store import (
    BESIDE,
    MERGED,
    SCHEMA,
    SUFFIX,
    Footer,
    StoreFailed,
    footer_of,
    live_files_of,
    read_metadata,
    reading,
    superseded,
    sync,
    write_file,
)
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

log = Log("abside.collector.keep.compact")
SMALL_BYTES = 64 * 2**20  # a larger file scans well as it is; merging it again would only rewrite the day
MERGED_BYTES = 512 * 2**20  # what a reader of one file may have to fetch
MERGED_IDS = 200_000  # 20 MB of names in a footer; Parquet readers refuse one of 100 MB
ROW_GROUP_BYTES = 64 * 2**20  # in memory while merging
READ_ROWS = 65_536
NUMBER = re.compile("[0-9]{4,9}")  # of a merged file; whatever else has such a name is not counted on
MAX_PIECES = 256  # a file of a few rows takes 100 KB as Arrow columns of its own; copied together it takes its bytes


class Interrupted(Exception):  # noqa: N818 read as a sentence where it is caught
    """The process is about to end; the merge was left off and nothing changed."""


@dataclass(frozen=True, slots=True)
class _Small:
    path: Path
    size: int
    batches: tuple[str, ...]


def compact(day: Path, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Merge the small files of one day; return how many were merged away. A file of another schema is left as it is.

    `stopping` is asked between files. Raises StoreFailed, FileUnreadable, OSError or Interrupted; whichever it is,
    every row of the day counts exactly once.
    """
    sync(day)  # before what a merged file replaces goes: its own name may not have been forced to disk
    _remove(day, superseded(day))
    merged_away = 0
    for run in _runs(_small_files(day)):
        replaced = [small.path for small in run]
        batches = tuple(batch for small in run for batch in small.batches)
        footer = Footer(batches, tuple(path.name for path in replaced))
        path = _merged_path(day)
        write_file(path, _checked(replaced, path, stopping), footer)
        _remove(day, replaced)
        merged_away += len(replaced)
    return merged_away


def drop(day: Path) -> int:
    """Remove one day with all its files; return how many. Raises the OSError of a file that stayed until next time."""
    dropped = 0
    stayed: OSError | None = None
    # Merged last: those they replace stay left out. One that does not go keeps none of the others.
    for path in sorted(day.iterdir(), key=lambda path: MERGED in path.name):
        try:
            path.unlink()
            dropped += 1
        except OSError as exc:
            stayed = exc
    if stayed:
        raise stayed
    day.rmdir()
    return dropped


def _small_files(day: Path) -> list[_Small]:
    found: list[_Small] = []
    for path in live_files_of(day):
        metadata = read_metadata(path)
        if (size := path.stat().st_size) >= SMALL_BYTES:
            continue
        with reading(path):
            ours = metadata.schema.to_arrow_schema().equals(SCHEMA)
        if ours:
            found.append(_Small(path, size, footer_of(path, metadata).batches))
        else:
            log.warning("file_left_out", file=str(path), reason="it has another schema than ours")
    return found


def _runs(files: Sequence[_Small]) -> list[list[_Small]]:
    """Pack files into runs within the bounds of one merged file; a run of one has nothing to merge."""
    runs: list[list[_Small]] = []
    room_bytes = room_ids = 0
    for small in files:
        if not runs or small.size > room_bytes or len(small.batches) > room_ids:
            runs.append([])
            room_bytes, room_ids = MERGED_BYTES, MERGED_IDS
        runs[-1].append(small)
        room_bytes -= small.size
        room_ids -= len(small.batches)
    return [run for run in runs if len(run) > 1]


def _checked(files: Iterable[Path], merged: Path, stopping: Callable[[], bool]) -> Iterator[pa.Table]:
    """Yield the rows of the files in tables of a row group each. Raises StoreFailed at the end where some miss."""
    expected = read = 0
    group: list[pa.Table] = []
    pieces: list[pa.RecordBatch] = []
    for path in files:
        if stopping():
            raise Interrupted
        expected += _rows_promised(path)
        for piece in _pieces(path):
            pieces.append(piece)
            read += piece.num_rows
        if len(pieces) >= MAX_PIECES:
            group.append(pa.Table.from_batches(pieces, SCHEMA).combine_chunks())
            pieces = []
        if sum(part.nbytes for part in group) >= ROW_GROUP_BYTES:
            yield pa.concat_tables(group)
            group = []
    if read != expected:
        raise StoreFailed(merged, f"{read} rows were read of {expected}")
    yield pa.concat_tables([*group, pa.Table.from_batches(pieces, SCHEMA)])


def _rows_promised(path: Path) -> int:
    return int(read_metadata(path).num_rows)


def _pieces(path: Path) -> Iterator[pa.RecordBatch]:
    with reading(path), pq.ParquetFile(path) as source:
        yield from source.iter_batches(batch_size=READ_ROWS, use_threads=False)


def _remove(day: Path, files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    sync(day)


def _merged_path(day: Path) -> Path:
    numbers = (path.stem.rpartition(MERGED)[2] for path in day.glob(f"merged{MERGED}*{SUFFIX}"))
    last = max((int(number) for number in numbers if NUMBER.fullmatch(number)), default=0)
    while True:
        last += 1
        path = day / f"merged{MERGED}{last:04d}{SUFFIX}"
        if not os.path.lexists(path.with_name(path.name + BESIDE)):  # what cannot be removed is in nobody's way
            return path
