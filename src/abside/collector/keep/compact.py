"""Small files become one, and old days go: neither loses nor doubles a row for any reader, wherever it is cut off.

Thousands of small files scan several times slower than a few. A merged file appears whole as `_….parquet.next`: from
then on it counts for us, while other readers keep to the files that it replaces, as a report does that has begun. The
next round removes those and only then makes its name: other readers may miss rows for a moment, and see none twice.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

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
    footer_of,
    hidden,
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
FIRST_BYTES = 128 * 2**20  # what is sent to an archive at once, from memory
MERGED_BYTES = 512 * 2**20  # what a reader of one file may have to fetch
MERGED_IDS = 200_000  # 20 MB of names in a footer; Parquet readers refuse one of 100 MB
ROW_GROUP_BYTES = 64 * 2**20  # in memory while merging
READ_ROWS = 65_536
RECEIVED = SCHEMA.get_field_index("recv_ts")
NUMBER = re.compile("[0-9]{4,9}")  # of a merged file; whatever else has such a name is not counted on
MAX_PIECES = 256  # a file of a few rows takes 100 KB as Arrow columns of its own; copied together it takes its bytes


class Interrupted(Exception):  # noqa: N818 read as a sentence where it is caught
    """The process is about to end; the merge was left off and nothing changed."""


@dataclass(frozen=True, slots=True)
class _Small:
    path: Path
    size: int
    footer: Footer
    received_us: int  # of its first row


def publish(day: Path) -> int:
    """Name the merged files of earlier rounds for all readers; return how many files were merged away by that.

    Cut off, it is finished by calling it again. Raises FileUnreadable or OSError.
    """
    waiting = sorted(day.glob(f"{HIDDEN}*{NEXT}"))
    sync(day)  # before what a merged file replaces goes: its own name may not have been forced to disk
    gone = _merged_last(superseded(day))
    _remove(day, gone)
    for path in waiting:
        name = path.with_name(path.name.removeprefix(HIDDEN).removesuffix(NEXT))
        if name.exists():
            path.unlink()  # a report that began with this name has had a round's time
        else:
            _name(path, name)
    sync(day)
    return len(gone)


def merge(day: Path, *, again: bool, stopping: Callable[[], bool] = lambda: False) -> int:
    """Merge the small files of a day in the order of their receipt; return how many were merged.

    `again`: merge those too that were merged once, because the day is over. No file is merged a third time, so each row
    is rewritten twice at most. `stopping` is asked between files. A file of another schema is left as it is.

    Raises StoreFailed, FileUnreadable, OSError or Interrupted; whichever it is, every row of the day counts once.
    """
    merged = 0
    for run in _runs(_small_files(day, again=again), again=again):
        replaced = [small.path for small in run]
        ids = BatchIds()
        for small in run:
            ids.update(small.footer.batches, small.footer.ranges)
        path = _merged_path(day)
        footer = Footer(tuple(ids.alone()), tuple(path.name for path in replaced), tuple(ids.ranges()))
        write_file(path, _checked(replaced, stopping), footer, merged=True)
        merged += len(replaced)
    return merged


def drop(day: Path) -> int:
    """Remove one day with all its files; return how many. Raises the OSError of a file that stayed until next time."""
    dropped = 0
    stayed: OSError | None = None
    for path in _merged_last(day.iterdir()):  # one that does not go keeps none of the others
        try:
            path.unlink()
            dropped += 1
        except OSError as exc:
            stayed = exc
    if stayed:
        raise stayed
    day.rmdir()
    return dropped


def _small_files(day: Path, *, again: bool) -> list[_Small]:
    found: list[_Small] = []
    for path in live_files_of(day):
        if MERGED in path.name and not again:
            continue
        metadata = read_metadata(path)
        if (size := path.stat().st_size) >= SMALL_BYTES:
            continue
        with reading(path):
            ours = metadata.schema.to_arrow_schema().equals(SCHEMA)
        footer = footer_of(path, metadata)
        if not ours:
            log.warning("file_left_out", file=str(path), reason="it has another schema than ours")
        elif not any(MERGED in name for name in footer.replaces):
            found.append(_Small(path, size, footer, _received_us(metadata)))
    return sorted(found, key=lambda small: small.received_us)


def _received_us(metadata: pq.FileMetaData) -> int:
    """Return when a file's first row was received; 0 where it has none or says nothing."""
    if not metadata.num_row_groups:
        return 0
    statistics = metadata.row_group(0).column(RECEIVED).statistics
    return int(statistics.min_raw) if statistics and statistics.has_min_max else 0


def _runs(files: Sequence[_Small], *, again: bool) -> list[list[_Small]]:
    """Pack files into runs within the bounds of one merged file; of a day that is over, one alone stays as it is."""
    runs: list[list[_Small]] = []
    room_bytes = room_ids = 0
    for small in files:
        if not runs or small.size > room_bytes or small.footer.names > room_ids:
            runs.append([])
            room_bytes, room_ids = MERGED_BYTES if again else FIRST_BYTES, MERGED_IDS
        runs[-1].append(small)
        room_bytes -= small.size
        room_ids -= small.footer.names
    return [run for run in runs if len(run) > again]


def _checked(files: Iterable[Path], stopping: Callable[[], bool]) -> Iterator[pa.Table]:
    """Yield the rows of the files in tables of a row group each. Raises FileUnreadable where some of a file miss."""
    group: list[pa.Table] = []
    pieces: list[pa.RecordBatch] = []
    group_bytes = pieces_bytes = 0
    for path in files:
        if stopping():
            raise Interrupted
        read, promised = 0, _rows_promised(path)
        for piece in _pieces(path):
            read += piece.num_rows
            pieces.append(piece)
            pieces_bytes += piece.nbytes
            if len(pieces) >= MAX_PIECES or pieces_bytes >= ROW_GROUP_BYTES:
                group.append(pa.Table.from_batches(pieces, SCHEMA).combine_chunks())
                group_bytes += group[-1].nbytes
                pieces, pieces_bytes = [], 0
            if group_bytes >= ROW_GROUP_BYTES:
                yield pa.concat_tables(group)
                group, group_bytes = [], 0
        if read != promised:
            raise FileUnreadable(path, f"{read} rows were read of {promised}")
    yield pa.concat_tables([*group, pa.Table.from_batches(pieces, SCHEMA)])


def _rows_promised(path: Path) -> int:
    return int(read_metadata(path).num_rows)


def _pieces(path: Path) -> Iterator[pa.RecordBatch]:
    with reading(path), pq.ParquetFile(path) as source:
        yield from source.iter_batches(batch_size=READ_ROWS, use_threads=False)


def _merged_last(files: Iterable[Path]) -> list[Path]:
    """Order files for removal: while a merged one is there, those that it replaces stay left out.

    Last goes what says which of them are in the archive.
    """
    return sorted(files, key=lambda path: (path.name == ARCHIVED, MERGED in path.name, path.name))


def _remove(day: Path, files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    sync(day)


def _name(path: Path, name: Path) -> None:
    """Make a second name: a report that has begun with the first one finds it for one more round."""
    try:
        os.link(path, name)
    except OSError:
        if name.exists():  # a network file system may do it and report an error all the same
            return
        path.rename(name)  # a file system without links


def _merged_path(day: Path) -> Path:
    numbers = (path.name.rpartition(MERGED)[2].partition(".")[0] for path in day.glob(f"*merged{MERGED}*"))
    last = max((int(number) for number in numbers if NUMBER.fullmatch(number)), default=0)
    while True:
        last += 1
        path = hidden(day / f"merged{MERGED}{last:04d}{SUFFIX}", NEXT)
        if not os.path.lexists(hidden(path, BESIDE)):  # what cannot be removed is in nobody's way
            return path
