"""What a thread does to files put up for sealing: they are made durable and get their names in the queue."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from abside.files import write_whole
from abside.spool.folder import move, problem_of, sync, unforced
from abside.spool.segment import SEALED, Segment, stem
from abside.spool.write.openfile import CLOSED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from abside.spool.write.openfile import OpenFile


@dataclass(frozen=True, slots=True)
class SealResult:
    """What became of a file put up for sealing: its segment, or why it could not be moved; the error of its sync.

    `rescued`: its name had been removed, and its bytes were copied from the descriptor.
    `gone`: neither a name nor a descriptor leads to it any more.
    """

    segment: Segment | None
    move_problem: OSError | None
    sync_problem: OSError | None
    rescued: bool = False
    gone: bool = False


def settle_all(
    files: Sequence[OpenFile], queue: Path, durable: bool, *, sync_directory: Callable[[Path], None] = sync
) -> list[SealResult | OSError]:
    """Make files durable and rename them to their sealed names in `queue`: for a thread, and safe to repeat.

    The oldest comes first, and one that cannot be moved is the last that is tried: its OSError where it cannot be found
    out whether the file has its name. A failed sync stops nothing: every checksum is checked again before anything is
    sent. Where the queue's disk cannot take a file, it is sealed where it is.

    A disk that takes its time makes the files durable all at once, and then their directory by `sync_directory`: two
    waits, not two for each.
    """
    results: list[SealResult | OSError] = []
    for file, problem in zip(files, _forced(files) if durable else [None] * len(files), strict=True):
        try:
            result = _place(file, queue, durable, problem)
        except OSError as exc:
            results.append(exc)
            break
        results.append(result)
        if result.segment is None and not result.gone:
            break
    if durable:
        _force_names(results, sync_directory)
    return results


def _force_names(results: list[SealResult | OSError], sync_directory: Callable[[Path], None]) -> None:
    """Force the new names to disk, each directory once, and note where that failed."""
    problems: dict[Path, OSError | None] = {}
    for number, one in enumerate(results):
        if isinstance(one, SealResult) and one.segment is not None:
            folder = one.segment.path.parent
            if folder not in problems:
                problems[folder] = problem_of(sync_directory, folder)
            results[number] = replace(one, sync_problem=one.sync_problem or problems[folder])


def _forced(files: Sequence[OpenFile]) -> list[OSError | None]:
    """Make files durable, each in a thread of its own, and return their errors."""
    if len(files) > 1:
        with suppress(RuntimeError), ThreadPoolExecutor(len(files), "seal") as threads:  # no thread to be had
            return list(threads.map(_force, files))
    return [_force(file) for file in files]


def _force(file: OpenFile) -> OSError | None:
    """Make what a file contains durable; return the error."""
    if file.handle == CLOSED:
        return None
    _cut(file)
    return problem_of(os.fdatasync, file.handle)  # nobody else closes it: no descriptor more, which might not be had


def _cut(file: OpenFile) -> None:
    if file.torn:
        with suppress(OSError):  # what stays torn is found by the reader
            os.ftruncate(file.handle, file.length)


def _place(file: OpenFile, queue: Path, durable: bool, sync_problem: OSError | None) -> SealResult:
    """Move a file that is as durable as `sync_problem` says to its sealed name."""
    if not durable:
        _cut(file)
    name = stem(file.seq, file.boot) + SEALED
    for target in (queue / name, file.path.with_name(name)):
        named = file.handle == CLOSED or file.is_named or _is_there(file, target)
        placed = partial(_move, file) if named else partial(_rescue, file)
        move_problem = problem_of(placed, target, durable)
        if move_problem is not None:
            continue
        status = os.fstat(file.handle) if named and file.handle != CLOSED else target.stat()
        segment = Segment(
            file.seq, file.boot, "", target, status.st_size, status.st_mtime_ns // 1000, events=file.events
        )
        handle, file.handle = file.handle, CLOSED
        if handle != CLOSED:
            with suppress(OSError):  # it is closed either way
                os.close(handle)
        return SealResult(segment, None, sync_problem, rescued=not named)
    gone = file.handle == CLOSED and isinstance(move_problem, FileNotFoundError)
    return SealResult(None, move_problem, sync_problem, gone=gone)


def _is_there(file: OpenFile, target: Path) -> bool:
    """Return whether the file has its sealed name already, since a try that was cut short."""
    try:
        return os.path.samestat(target.lstat(), os.fstat(file.handle))
    except OSError:
        return False


def _move(file: OpenFile, target: Path, durable: bool) -> None:
    """Rename the file, and make the directory again where it was removed. Raises OSError."""
    try:
        move(file.path, target, durable=durable)
    except FileNotFoundError:
        if target.is_file():  # it has it since an earlier try
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        move(file.path, target, durable=durable)


def _rescue(file: OpenFile, target: Path, durable: bool) -> None:
    """Copy a file that lost its name from its descriptor, whole: beside, then renamed. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, os.pread(file.handle, file.length, 0), fsync=os.fsync if durable else unforced)
