"""The spool's directories: made, owned by one process at a time, and files that move between them whole."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolBusy, SpoolFailed
from abside.spool.segment import DAMAGED, OPEN, SEALED, UNFINISHED, listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


LOCK = "LOCK"
TAKEOVER_SECONDS = 10.0  # whoever lost its lock notices within a second or two, and closes its files
TAKEOVER_POLL_SECONDS = 0.05
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # a link would lead us elsewhere


@dataclass(frozen=True, slots=True)
class Folder:
    """The directories of one spool, and the locks that make this process their owner.

    `aged_us` is when the last owner was last here, by the time it believed in (µs UTC, None: there was none).
    """

    root: Path
    queue: Path
    dead: Path
    open: Path
    locks: tuple[int, ...]
    aged_us: int | None = None

    def lost(self) -> Path | None:
        """Return the lock file that is not ours any more: removed, or replaced by another. None: we own all."""
        places = (self.root, self.open) if len(self.locks) > 1 else (self.root,)
        for directory, lock in zip(places, self.locks, strict=True):
            path = directory / LOCK
            try:
                if not os.path.samestat(path.stat(), os.fstat(lock)):
                    return path
            except (FileNotFoundError, NotADirectoryError):
                return path
            except OSError:  # a disk that fails is no proof of another owner
                continue
        return None

    def age(self) -> int | None:
        """Return the modification time of the lock file (µs UTC); None where it cannot be read."""
        try:
            return os.fstat(self.locks[0]).st_mtime_ns // 1000
        except OSError:
            return None

    def mark(self, now_us: int) -> None:
        """Set the lock file's time to the owner's: ages are counted from it. Raises OSError."""
        os.utime(self.locks[0], ns=(now_us * 1000, now_us * 1000))

    def release(self) -> None:
        """Release the locks: another process may own the directories."""
        for lock in self.locks:
            os.close(lock)


def claim(root: Path, elsewhere: Path | None) -> Folder:
    """Make and lock the directories; the open segment is `elsewhere` unless that is None.

    Raises SpoolBusy when another process owns one of them, or still writes there, SpoolFailed when they cannot be made.
    """
    queue, dead = root / "q", root / "dead"
    if elsewhere is not None and elsewhere.resolve() in {root.resolve(), queue.resolve()}:
        elsewhere = None
    locks: list[int] = []
    try:
        for directory in (queue, dead, *([elsewhere] if elsewhere else [])):
            directory.mkdir(parents=True, exist_ok=True)
        aged_us = _aged_us(root / LOCK, dead)
        for directory in (root, *([elsewhere] if elsewhere else [])):
            locks.append(_lock(directory))  # noqa: PERF401 what was locked before a failure must be released
        if aged_us is not None:
            os.utime(locks[0], ns=(aged_us * 1000, aged_us * 1000))  # until its new owner knows what time to believe
        _await_writers(root, {queue, elsewhere or queue})
    except BaseException as exc:
        for lock in locks:
            os.close(lock)
        if isinstance(exc, OSError):
            raise SpoolFailed("prepare the directory", root, exc) from exc
        raise
    return Folder(root, queue, dead, elsewhere or queue, tuple(locks), aged_us)


def _aged_us(lock: Path, dead: Path) -> int | None:
    """Return the newest time that the spool recorded: of its lock; where that is gone, of the files in dead/.

    These two have a believed time; all other files have the wall clock's.
    """
    for paths in ([lock], [path for path in dead.iterdir() if path.suffix in {SEALED, DAMAGED}]):
        times = [path.lstat().st_mtime_ns // 1000 for path in paths if os.path.lexists(path)]
        if times:
            return max(times)
    return None


def _lock(directory: Path) -> int:
    handle = os.open(directory / LOCK, _LOCK_FLAGS, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise SpoolBusy(directory, owner) from exc
    with suppress(OSError):  # a full disk: the lock is ours all the same, only its owner stays unnamed
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def _await_writers(root: Path, directories: set[Path]) -> None:
    """Wait for a process whose LOCK was removed under it: it keeps a lock on its open file until it notices.

    Raises SpoolBusy when it does not: sealing its file would lose what it still writes there.
    """
    deadline = time.monotonic() + TAKEOVER_SECONDS
    while any(is_written(segment.path) for directory in directories for segment in listed(directory, OPEN)):
        if time.monotonic() >= deadline:
            raise SpoolBusy(root, "")
        time.sleep(TAKEOVER_POLL_SECONDS)


def mark_written(handle: int) -> None:
    """Lock the open file itself, as a sign that it is being written: this outlives a removed LOCK."""
    with suppress(OSError):  # a file system without locks has LOCK alone
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_written(path: Path) -> bool:
    """Return whether a living process is writing this file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


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
        beside.unlink(missing_ok=True)  # whatever somebody put there
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


def unforced(_: int) -> None:
    """Leave a descriptor to the system: what is written is not forced to disk."""


def sync(path: Path) -> None:
    """Make a file, or a directory's entries, survive the loss of power. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def problem_of(action: Callable[..., object], *subjects: object) -> OSError | None:
    """Run a disk operation; return its error, None without one."""
    try:
        action(*subjects)
    except OSError as exc:
        return exc
    return None
