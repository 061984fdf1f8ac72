"""The snapshot file: written as a whole, read, and cleared of what a killed agent left beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.files import FileRefusedError, read_regular, write_whole
from abside.snapshot import HEADER, MAX_SNAPSHOT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def publish(path: Path, data: bytes, *, fsync: Callable[[int], None] = os.fsync) -> None:
    """Replace the snapshot at `path`, whose directory is created. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data, fsync=fsync)


def read_published(path: Path) -> bytes:
    """Return the bytes of the published snapshot, empty where there is none.

    Raises FileRefusedError for what is no regular file, or too large for a snapshot.
    """
    try:
        return read_regular(path, HEADER.size + MAX_SNAPSHOT_BYTES)
    except FileRefusedError:
        raise
    except OSError:
        return b""


def remove_leftovers(path: Path) -> list[str]:
    """Remove what a killed agent left beside the snapshot; return the names of the removed files."""
    removed = []
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            leftover.unlink()
            removed.append(leftover.name)
    return sorted(removed)
