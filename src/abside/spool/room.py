"""Whether there is room for an append: plain integers on the hot path, the disk asked now and then."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.settings import SpoolSettings, SpoolStats

RECHECK_BYTES = 2**20  # so much may be written before the disk's free space is asked for again: others write too


class Room:
    """The quota, the disk's free-space floor, and the bound of one open segment.

    `budget` bytes may be written before `measure` has to run again: a system call an append would double its cost.
    """

    def __init__(self, settings: SpoolSettings, disk: Path, stats: SpoolStats) -> None:
        self._settings = settings
        self._disk = disk
        self._stats = stats
        self.budget = 0
        self.measure()

    def admit(self, size: int, used: int, open_length: int) -> None:
        """Raise SpoolFull when `size` bytes have no place beside the `used` ones, `open_length` of them not sealed."""
        settings = self._settings
        if used + size > settings.limit_bytes:
            raise SpoolFull(settings.directory, "quota", used, settings.limit_bytes)
        if open_length + size > settings.max_open_bytes:
            raise SpoolFull(settings.directory, "stuck", open_length, settings.max_open_bytes)
        if size > self.budget and size > self.measure():
            raise SpoolFull(settings.directory, "floor", used, settings.floor_bytes)

    def measure(self) -> int:
        """Give the bytes that may be written above the floor, and allow a part of them until this is asked again."""
        try:
            disk = os.statvfs(self._disk)
        except OSError as exc:
            self._stats.failed(exc)
            self.budget = RECHECK_BYTES
            return sys.maxsize  # a failing write will say more
        room = disk.f_bavail * disk.f_frsize - self._settings.floor_bytes
        self.budget = min(RECHECK_BYTES, room)
        return room
