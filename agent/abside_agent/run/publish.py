"""Writes the snapshot so that it appears whole: beside, fsync, rename, fsync of the directory."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.files import FileRefusedError, read_regular
from abside.snapshot import HEADER, MAX_SNAPSHOT_BYTES

if TYPE_CHECKING:
    from pathlib import Path


def publish(path: Path, data: bytes) -> None:
    """Replace the file at `path`. Raises OSError, and then nothing has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    _sync_directory(path.parent)


def read_published(path: Path) -> bytes:
    """Give the bytes of the snapshot in force, empty when there is none.

    Raises FileRefusedError where something else stands in its place, or it is too large to be one.
    """
    try:
        return read_regular(path, HEADER.size + MAX_SNAPSHOT_BYTES)
    except FileRefusedError:
        raise
    except OSError:
        return b""


def remove_leftovers(path: Path) -> list[str]:
    """Remove what a killed agent left beside the snapshot, and name it."""
    removed = []
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            leftover.unlink()
            removed.append(leftover.name)
    return sorted(removed)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no fsync of a directory; the rename is done either way
            os.fsync(handle)
    finally:
        os.close(handle)
