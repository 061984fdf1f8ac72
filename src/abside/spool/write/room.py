"""Whether there is room for an append: plain integers on the hot path, the disk asked now and then."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.settings import SpoolSettings, SpoolStats

# So much may be written while the disk's free space cannot be read: a write that fails is better evidence.
UNKNOWN_BYTES = 2**20
# In a directory of their own the open segment and those being sealed have so many times the bound of one: the volume in
# memory that `--spool-open` names in our manifests has room for that.
UNSEALED_IN_MEMORY = 2


class Room:
    """The quota, the disk's free-space floor, and the bound of one open segment.

    `budget` bytes may be written before `note` is called with a new measurement: no append waits for a system call.
    """

    def __init__(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self.budget = 0

    def admit(self, size: int, used: int, open_length: int, sealing: int) -> None:
        """Raise SpoolFull when `size` bytes have no place beside the `used` ones.

        `open_length` of them are in the open segment, and `sealing` in those that are being sealed.
        """
        settings = self._settings
        if used + size > settings.limit_bytes:
            raise SpoolFull(settings.directory, "quota", used, settings.limit_bytes)
        if open_length + size > settings.max_open_bytes:
            raise SpoolFull(settings.directory, "stuck", open_length, settings.max_open_bytes)
        most = UNSEALED_IN_MEMORY * settings.max_open_bytes
        if settings.open_directory is not None and sealing + open_length + size > most:
            raise SpoolFull(settings.open_directory, "stuck", sealing + open_length, most)
        if size > self.budget:
            raise SpoolFull(settings.directory, "floor", used, settings.floor_bytes)

    def note(self, free_bytes: int | None) -> None:
        """Take the disk's free bytes, as `free_bytes_of` returns them."""
        self.budget = UNKNOWN_BYTES if free_bytes is None else free_bytes - self._settings.floor_bytes


def free_bytes_of(disk: Path, stats: SpoolStats) -> int | None:
    """Return a disk's free bytes, None where they cannot be read. It may wait for the disk: for a thread."""
    try:
        state = os.statvfs(disk)
    except OSError as exc:
        stats.failed(exc)
        return None
    return state.f_bavail * state.f_frsize
