"""Files that somebody else can name: opened without blocking, held to be regular ones, read within a bound."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}


class FileRefusedError(OSError):
    """A path that names no regular file of bounded size; `strerror` says what it is and what would be right."""


def open_regular(path: Path, max_bytes: int) -> tuple[int, os.stat_result]:
    """Open a regular file for reading; return its descriptor, which the caller closes, and its status.

    What a link points to counts. Never waits for a writer, as opening a FIFO does. Raises FileRefusedError for
    everything that is no regular file of at most `max_bytes`, OSError for what cannot be opened.
    """
    _hold(path, path.stat(), max_bytes)  # before the open: opening a FIFO or a device has effects of its own
    handle = os.open(path, FLAGS)
    try:
        status = os.fstat(handle)
        _hold(path, status, max_bytes)
    except OSError:
        os.close(handle)
        raise
    return handle, status


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return what the file holds, up to the size it had when it was opened.

    Files of the kernel (`/proc`, `/sys`) give no size, so nothing of them is read: some never end, some wait for
    ever. Raises FileRefusedError and OSError as `open_regular` does, FileRefusedError also where a read would wait.
    """
    handle, status = open_regular(path, max_bytes)
    try:
        chunks: list[bytes] = []
        wanted = status.st_size
        while wanted > 0 and (chunk := os.read(handle, wanted)):
            chunks.append(chunk)
            wanted -= len(chunk)
        return b"".join(chunks)
    except BlockingIOError as exc:
        raise FileRefusedError(
            errno.EINVAL, "has nothing to read at the moment; name a regular file", str(path)
        ) from exc
    finally:
        os.close(handle)


def _hold(path: Path, status: os.stat_result, max_bytes: int) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        named = _KINDS.get(kind, "no file")
        raise FileRefusedError(errno.EINVAL, f"is {named}; name a regular file", str(path))
    if status.st_size > max_bytes:
        raise FileRefusedError(errno.EFBIG, f"has {status.st_size:,} bytes; the bound is {max_bytes:,}", str(path))
