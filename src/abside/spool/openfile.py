"""The segment being written: one file descriptor, whose length in memory is always the length of its good frames."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFailed
from abside.spool.folder import move, sync
from abside.spool.frame import MAGIC
from abside.spool.segment import OPEN, SEALED, Segment, stem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLOSED = -1  # no descriptor
FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


@dataclass(slots=True)
class OpenFile:
    """A file of frames open for appending. `listed`: its directory entry is durable.

    `mark` and `job` are the sealing's: how far it reaches, and its thread.
    """

    seq: int
    boot: str
    path: Path
    handle: int
    length: int
    events: int = 0
    torn: bool = False
    listed: bool = False
    mark: int = 0
    job: asyncio.Future[Settled] | None = None

    def write(self, data: bytes, events: int) -> None:
        """Append whole frames in one write; what a full disk took of them is cut off again. Raises SpoolFailed."""
        if self.torn:
            self._cut_back()
        try:
            written = os.write(self.handle, data)
        except OSError as exc:
            raise SpoolFailed("append to", self.path, exc) from exc
        if written != len(data):
            self.torn = True
            with suppress(SpoolFailed):  # the next append tries again, before it writes
                self._cut_back()
            raise SpoolFailed("append to", self.path, f"only {written} of {len(data)} bytes were taken")
        self.length += written
        self.events += events

    async def synced(self) -> OSError | None:
        """Run fdatasync in a thread; give what went wrong. The descriptor is its own: a seal may close the other."""
        try:
            handle = os.dup(self.handle)
        except OSError as exc:
            return exc
        directory = None if self.listed else self.path.parent
        problem = await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _sync, handle, directory))
        self.listed = problem is None
        return problem

    def discard(self) -> None:
        """Close the file; unlink it when it holds nothing."""
        os.close(self.handle)
        if not self.events:
            with suppress(OSError):
                self.path.unlink()

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.handle, self.length)
        except OSError as exc:
            raise SpoolFailed("cut back", self.path, exc) from exc
        self.torn = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a file put up for sealing: its segment, or why it could not be moved; what its sync said."""

    segment: Segment | None
    move_problem: OSError | None
    sync_problem: OSError | None


def create(directory: Path, seq: int, boot: str) -> OpenFile:
    """Start a new file. Raises SpoolFailed, and leaves none behind."""
    path = directory / (stem(seq, boot) + OPEN)
    try:
        handle = os.open(path, FLAGS, 0o644)
    except OSError as exc:
        raise SpoolFailed("create", path, exc) from exc
    try:
        written = os.write(handle, MAGIC)
        problem: object = "the disk is full" if written != len(MAGIC) else None
    except OSError as exc:
        problem = exc
    if problem is not None:
        os.close(handle)
        with suppress(OSError):
            path.unlink()
        raise SpoolFailed("create", path, problem)
    return OpenFile(seq, boot, path, handle, len(MAGIC))


def settle(file: OpenFile, queue: Path, durable: bool) -> Settled:
    """Make the file durable and give it its sealed name in `queue`: the work of a thread, and safe to repeat.

    A failed sync does not stop it: every checksum is checked again before anything is sent. Where the queue's disk
    cannot take it, it is sealed where it lies. Raises OSError where even that cannot be found out.
    """
    sync_problem = None
    if file.torn:
        with suppress(OSError):  # what stays torn is found by the reader
            os.ftruncate(file.handle, file.length)
    if durable and file.handle != CLOSED:  # nobody else closes it: no descriptor more is needed, which might not be had
        sync_problem = _problem(os.fdatasync, file.handle)
    name = stem(file.seq, file.boot) + SEALED
    for target in (queue / name, file.path.with_name(name)):
        move_problem = _moved(file.path, target, durable=durable)
        if move_problem is not None:
            continue
        if durable:
            sync_problem = sync_problem or _problem(sync, target.parent)
        status = target.stat() if file.handle == CLOSED else os.fstat(file.handle)
        segment = Segment(
            file.seq, file.boot, "", target, status.st_size, status.st_mtime_ns // 1000, events=file.events
        )
        handle, file.handle = file.handle, CLOSED
        if handle != CLOSED:
            with suppress(OSError):  # it is let go of either way
                os.close(handle)
        return Settled(segment, None, sync_problem)
    return Settled(None, move_problem, sync_problem)


def _moved(source: Path, target: Path, *, durable: bool) -> OSError | None:
    """Give the file its name; it may bear it since an earlier try. Gives what went wrong."""
    problem = _problem(partial(move, durable=durable), source, target)
    return None if isinstance(problem, FileNotFoundError) and target.is_file() else problem


def _problem(action: Callable[..., object], *subjects: object) -> OSError | None:
    try:
        action(*subjects)
    except OSError as exc:
        return exc
    return None


def _sync(handle: int, directory: Path | None) -> OSError | None:
    """Run fdatasync on a descriptor and close it, and make a directory's entries durable; give what went wrong."""
    problem = _problem(os.fdatasync, handle)
    if problem is None and directory is not None:
        problem = _problem(sync, directory)
    closed = _problem(os.close, handle)
    return problem or closed
