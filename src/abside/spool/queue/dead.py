"""What could not be shipped, kept for a person to look at: each file with its reason beside it, for a while."""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.files import write_whole
from abside.spool.errors import SpoolFailed
from abside.spool.folder import move, unforced
from abside.spool.segment import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.spool.settings import SpoolSettings, SpoolStats

REASON = ".reason"
MAX_REASON_BYTES = 4096
BLOCK_BYTES = 4096  # the least a file costs on a disk: a quota of bytes alone would allow a hundred thousand tiny files


@dataclass(frozen=True, slots=True)
class Buried:
    """One file in dead/: when it came there (µs UTC) and what it counts for against the quota."""

    at_us: int
    path: Path
    charged_bytes: int


class Dead:
    """The directory dead/: takes files, and removes the oldest beyond its quota and its age.

    `now_us` is the time that is believed, not the wall clock: see abside.spool.write.calendar. All methods touch the
    disk.
    """

    def __init__(self, directory: Path, settings: SpoolSettings, stats: SpoolStats, now_us: Callable[[], int]) -> None:
        self.directory = directory
        self._limit_bytes = settings.dead_limit_bytes
        self._age_us = int(settings.dead_age_seconds * 1_000_000)
        self._stats = stats
        self._now_us = now_us
        self._turn = threading.Lock()  # it is used from threads, one at a time
        self._files = deque(sorted(_found(directory), key=lambda file: file.at_us))
        self.bytes = sum(file.charged_bytes for file in self._files)

    @property
    def files(self) -> int:
        """How many files lie here."""
        return len(self._files)

    def take(self, path: Path, name: str, reason: str, events: int | None = None) -> None:
        """Move a file here under `name`, with `events` that are lost by it (None: not known).

        Raises SpoolFailed, or FileNotFoundError when it is gone.
        """
        target = self.directory / name
        with self._turn:
            self._explain(name, reason)
            try:
                move(path, target, durable=False)
            except OSError as exc:
                if isinstance(exc, FileNotFoundError) and self.directory.is_dir():
                    raise
                self._stats.failed(exc)
                raise SpoolFailed("bury", path, exc) from exc
            self._count(target, events)

    def keep(self, name: str, data: bytes, reason: str, events: int | None = None) -> None:
        """Write a part of a file here under `name`, with `events` in it (None: not known). Raises SpoolFailed."""
        target = self.directory / name
        with self._turn:
            self._explain(name, reason)
            try:
                write_whole(target, data, fsync=unforced)
            except OSError as exc:
                self._stats.failed(exc)
                raise SpoolFailed("bury in", target, exc) from exc
            self._count(target, events)

    def forget(self, path: Path) -> None:
        """Remove a file that went back into the queue from the account, and its reason from the disk."""
        with self._turn:
            self._files = deque(file for file in self._files if file.path != path)
            self.bytes = sum(file.charged_bytes for file in self._files)
            with suppress(OSError):  # a reason that is left behind does no harm
                path.with_name(path.name + REASON).unlink(missing_ok=True)

    def prune(self) -> None:
        """Remove the oldest files until quota and age are kept; what cannot be removed still counts, until it can."""
        with self._turn:
            self._prune()
            self._notice_removed()

    def _notice_removed(self) -> None:
        """Let go of files that a person removed by hand: what is reported lies here."""
        if not self._files:
            return
        try:
            names = {path.name for path in self.directory.iterdir()}
        except OSError as exc:
            self._stats.failed(exc)
            return
        self._files = deque(file for file in self._files if file.path.name in names)
        self.bytes = sum(file.charged_bytes for file in self._files)

    def _prune(self) -> None:
        oldest_us = self._now_us() - self._age_us
        while self._files and (self.bytes > self._limit_bytes or self._files[0].at_us < oldest_us):
            file = self._files[0]
            try:
                for path in (file.path, file.path.with_name(file.path.name + REASON)):
                    path.unlink(missing_ok=True)
            except OSError as exc:
                self._stats.failed(exc)
                return
            self._files.popleft()
            self.bytes -= file.charged_bytes
            self._stats.pruned_files += 1

    def _explain(self, name: str, reason: str) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
            words = reason.encode()[:MAX_REASON_BYTES] + b"\n"
            write_whole(self.directory / (name + REASON), words, fsync=unforced)
        except OSError as exc:  # a full disk: the events matter more than the reason
            self._stats.failed(exc)

    def _count(self, target: Path, events: int | None) -> None:
        now = self._now_us()
        with suppress(OSError):  # its age is then the age of its events: it goes a little earlier
            os.utime(target, ns=(now * 1000, now * 1000))
        self._files = deque(file for file in self._files if file.path != target)  # the same one, buried again
        self._files.append(Buried(now, target, _charge(target)))
        self.bytes = sum(file.charged_bytes for file in self._files)
        self._stats.buried_segments += 1
        self._stats.buried_events += events or 0
        self._stats.uncounted_segments += events is None
        self._prune()


def _found(directory: Path) -> list[Buried]:
    """List the files here; remove what a death left half done: copies, and reasons without their file."""
    found = []
    for path in directory.iterdir():
        with suppress(OSError):  # a person took it away meanwhile
            if path.suffix == UNFINISHED or (path.suffix == REASON and not os.path.lexists(path.with_suffix(""))):
                path.unlink()
            if path.suffix in {REASON, UNFINISHED}:
                continue
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append(Buried(status.st_mtime_ns // 1000, path, _charge(path)))
    return found


def _charge(path: Path) -> int:
    try:
        return max(BLOCK_BYTES, path.lstat().st_size)
    except OSError:
        return BLOCK_BYTES
