"""Files read without blocking and within a bound, because somebody else can name them; files replaced as a whole."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
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
    _require_regular(path, path.stat(), max_bytes)  # before the open: opening a FIFO or a device has effects of its own
    handle = os.open(path, FLAGS)
    try:
        status = os.fstat(handle)
        _require_regular(path, status, max_bytes)
    except OSError:
        os.close(handle)
        raise
    return handle, status


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of the file, up to the size it had when it was opened.

    Files of the kernel (`/proc`, `/sys`) report no size, so nothing of them is read: some never end, some wait for
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


def write_whole(path: Path, data: bytes, *, fsync: Callable[[int], None] = os.fsync) -> None:
    """Replace the file at `path`: a reader sees the old bytes or the new ones, also after the loss of power.

    `fsync` forces a descriptor to disk: the file's before the rename, its directory's after it. Raises OSError; the
    old bytes are still in place where it was raised before the rename.
    """
    beside = write_beside(path, data, fsync=fsync)
    try:
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    handle = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems know no fsync of a directory; the rename is done either way
            fsync(handle)
    finally:
        os.close(handle)


def write_beside(path: Path, data: bytes, *, mode: int | None = None, fsync: Callable[[int], None] = os.fsync) -> Path:
    """Write what is to replace the file at `path`, and return its path, which is in the same directory.

    `mode`: the permission bits; None leaves them to the umask. Raises OSError, and then nothing stays beside the file.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.unlink(missing_ok=True)  # a link would lead the bytes elsewhere, and a FIFO would wait for a reader
        with beside.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise
    return beside


def _require_regular(path: Path, status: os.stat_result, max_bytes: int) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        named = _KINDS.get(kind, "no file")
        raise FileRefusedError(errno.EINVAL, f"is {named}; name a regular file", str(path))
    if status.st_size > max_bytes:
        raise FileRefusedError(errno.EFBIG, f"has {status.st_size:,} bytes; the bound is {max_bytes:,}", str(path))
