"""The segment being written: one file descriptor, whose length in memory is always the length of its good frames."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFailed, disk_failed
from abside.spool.folder import mark_written, problem_of, sync
from abside.spool.frame import MAGIC
from abside.spool.segment import OPEN, stem

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = -1  # no descriptor
# Readable too: a file whose name was removed is copied from its descriptor.
FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC


@dataclass(slots=True)
class OpenFile:
    """A file of frames open for appending. `listed`: its directory entry is durable.

    A lock on the file itself shows that we write it.
    """

    seq: int
    boot: str
    path: Path
    handle: int
    length: int
    events: int = 0
    torn: bool = False
    listed: bool = False

    def write(self, data: bytes, events: int) -> None:
        """Append whole frames in one write; what a full disk took of them is cut off again. Raises SpoolFailed."""
        if self.torn:
            self._cut_back()
        try:
            written = os.write(self.handle, data)
        except OSError as exc:
            raise disk_failed("append to", self.path, exc) from exc
        if written != len(data):
            self.torn = True
            with suppress(SpoolFailed):  # the next append tries again, before it writes
                self._cut_back()
            raise SpoolFailed("append to", self.path, f"only {written} of {len(data)} bytes were taken")
        self.length += written
        self.events += events

    async def synced(self) -> OSError | None:
        """Run fdatasync in a thread; return its error. The descriptor is its own: a seal may close the other."""
        try:
            handle = os.dup(self.handle)
        except OSError as exc:
            return exc
        directory = None if self.listed else self.path.parent
        problem = await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _sync, handle, directory))
        self.listed = problem is None
        return problem

    @property
    def is_named(self) -> bool:
        """Whether its name still leads to it: somebody may have removed or replaced it. For a thread."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.handle))
        except FileNotFoundError:
            return False
        except OSError:  # a disk that fails is no proof that the name is gone
            return True

    def measure(self) -> None:
        """Take the length from the file, after something that may have come between a write and its count."""
        if not self.torn:
            self.length = os.fstat(self.handle).st_size

    def discard(self) -> None:
        """Close the file; unlink it when it contains no event."""
        if self.handle != CLOSED:
            os.close(self.handle)
            self.handle = CLOSED
        if not self.events:
            with suppress(OSError):
                self.path.unlink()

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self.handle, self.length)
        except OSError as exc:
            raise disk_failed("cut back", self.path, exc) from exc
        self.torn = False


def create(directory: Path, seq: int, boot: str) -> OpenFile:
    """Start a new file, and the directory where somebody removed it. Raises SpoolFailed, and leaves none behind."""
    path = directory / (stem(seq, boot) + OPEN)
    try:
        try:
            handle = os.open(path, FLAGS, 0o644)
        except FileNotFoundError:
            directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, FLAGS, 0o644)
    except OSError as exc:
        raise disk_failed("create", path, exc) from exc
    mark_written(handle)
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


def _sync(handle: int, directory: Path | None) -> OSError | None:
    """Run fdatasync on a descriptor and close it, and make a directory's entries durable; return the error."""
    problem = problem_of(os.fdatasync, handle)
    if problem is None and directory is not None:
        problem = problem_of(sync, directory)
    closed = problem_of(os.close, handle)
    return problem or closed
