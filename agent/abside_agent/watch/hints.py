"""File system events, as hints to read now; whether anything changed, the digest decides.

Events get lost (a directory is replaced, inotify is exhausted: 128 instances for a user and node). Then only reading
again after a while helps, so every wait ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from watchfiles._rust_notify import (
    RustNotify,
)  # the documented synchronous backend: the watch starts with the constructor

from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

log = Log("abside.agent")
DEBOUNCE_MS = 50  # a swap is five events within a millisecond
STEP_MS = 50  # how often the backend looks whether events came; each look costs 20 µs
# What the backend raises, its own RuntimeErrors and a ValueError among them: for a file name that is not UTF-8 as well.
BROKEN = (OSError, RuntimeError, ValueError)


class Watcher(Protocol):
    """The used part of RustNotify."""

    def watch(self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: Event) -> object:
        """Wait for events."""

    def close(self) -> None:
        """Close the inotify instance."""


def watch_directories(directories: list[str]) -> Watcher:
    """Start to watch, without a filter and not recursively: a ConfigMap is swapped at the top."""
    return RustNotify(directories, False, False, 0, False, True)


class Hints:
    """Waits for events in directories, or only waits. A directory that appears or is replaced is watched again."""

    def __init__(
        self, directories: tuple[str, ...], stop: Event, begin: Callable[[list[str]], Watcher] = watch_directories
    ) -> None:
        self._directories = directories
        self._stop = stop
        self._begin = begin
        self._seen: tuple[int | None, ...] = ()
        self._watcher: Watcher | None = None
        self._has_warned = False
        self.renew()

    def renew(self) -> None:
        """Watch the directories as they are now."""
        seen = tuple(_inode(directory) for directory in self._directories)
        if seen == self._seen:
            return
        self.close()
        self._seen = seen
        present = [directory for directory, inode in zip(self._directories, seen, strict=True) if inode is not None]
        try:
            self._watcher = self._begin(present) if present else None
        except BROKEN as exc:
            self._without_events(exc)

    def wait(self, seconds: float) -> None:
        """Wait for an event, the stop or the end of the time."""
        self.renew()
        if self._watcher is None:
            self._stop.wait(seconds)
            return
        try:
            self._watcher.watch(DEBOUNCE_MS, STEP_MS, max(int(seconds * 1000), 1), self._stop)
        except BROKEN as exc:
            self.close()
            self._without_events(exc)

    def close(self) -> None:
        """End the watch."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def _without_events(self, exc: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning("events_unavailable", then="polling only", why=str(exc))


def _inode(directory: str) -> int | None:
    try:
        return Path(directory).stat().st_ino
    except OSError:
        return None
