"""The spool's directories: made, owned by one process at a time, and files that move between them whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolBusy, SpoolFailed
from abside.spool.segment import UNFINISHED

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folder:
    """The directories of one spool, and the locks that make this process their owner."""

    root: Path
    queue: Path
    dead: Path
    open: Path
    locks: tuple[int, ...]

    def release(self) -> None:
        """Let another process own the directories."""
        for lock in self.locks:
            os.close(lock)


def claim(root: Path, elsewhere: Path | None) -> Folder:
    """Make and lock the directories; the open segment lives `elsewhere` when that is given.

    Raises SpoolBusy when another process owns one of them, SpoolFailed when they cannot be made.
    """
    queue, dead = root / "q", root / "dead"
    if elsewhere is not None and elsewhere.resolve() in {root.resolve(), queue.resolve()}:
        elsewhere = None
    locks: list[int] = []
    try:
        for directory in (queue, dead, *([elsewhere] if elsewhere else [])):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (root, *([elsewhere] if elsewhere else [])):
            locks.append(_lock(directory))  # noqa: PERF401 what was locked before a failure must be let go
    except BaseException as exc:
        for lock in locks:
            os.close(lock)
        if isinstance(exc, OSError):
            raise SpoolFailed("prepare the directory", root, exc) from exc
        raise
    return Folder(root, queue, dead, elsewhere or queue, tuple(locks))


def _lock(directory: Path) -> int:
    handle = os.open(directory / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise SpoolBusy(directory, owner) from exc
    with suppress(OSError):  # a full disk: the lock holds, only its owner stays unnamed
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def move(source: Path, target: Path, *, durable: bool) -> None:
    """Rename, or copy whole to another file system (beside, fsync, rename) and unlink. Raises OSError.

    The work is done in C calls that release the interpreter: fit for a thread.
    """
    try:
        source.replace(target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
    else:
        return
    beside = target.with_name(target.name + UNFINISHED)
    try:
        shutil.copyfile(source, beside)
        if durable:
            sync(beside)
        beside.replace(target)
        if durable:
            sync(target.parent)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # left behind, it is found at the next start beside its copy, and removed then
        source.unlink()


def write_whole(target: Path, data: bytes) -> None:
    """Write a small file beside, then rename: it appears whole or not at all. Raises OSError."""
    beside = target.with_name(target.name + UNFINISHED)
    try:
        beside.write_bytes(data)
        beside.replace(target)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Make a file, or a directory's entries, survive the loss of power. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
