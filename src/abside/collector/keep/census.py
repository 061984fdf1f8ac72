"""What a store takes on its disk, counted after each round of upkeep: a scrape asks no disk, which may not answer."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.collector.keep.compact import SMALL_BYTES
from abside.collector.store import MERGED, day_folders, whole_files

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Census:
    """Whole files of a store and their bytes; the free ones of its disk; when its oldest unmerged file was written."""

    files: int = 0
    bytes: int = 0
    free_bytes: int = 0
    oldest_unmerged_us: int | None = None  # µs UTC; of small files alone: a large one stays as it is


def census(store: Path) -> Census:
    """Count a store. A file that is merged away meanwhile is left out. Raises OSError."""
    files = size = 0
    oldest_us: int | None = None
    for day in day_folders(store):
        for name, path in whole_files(day).items():
            with suppress(FileNotFoundError):
                status = path.stat()
                files += 1
                size += status.st_size
                if MERGED not in name and status.st_size < SMALL_BYTES:
                    written_us = status.st_mtime_ns // 1000
                    oldest_us = written_us if oldest_us is None else min(oldest_us, written_us)
    disk = os.statvfs(store)
    return Census(files, size, disk.f_bavail * disk.f_frsize, oldest_us)
