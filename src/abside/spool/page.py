"""The folder of a process that writes beside the sidecar, and the page in it that the two share.

`<spool>/local/<boot>/` has `LOCK`, one open segment at most, and sealed ones. LOCK is under a POSIX lock of its
process: unlike flock's it is not inherited by a fork, so it is free as soon as that one process has ended. Its content
is the page, four 64-bit words of this machine:

| word | who writes it | what it is |
|---|---|---|
| BUSY | the process | 1 while it writes, else 0 |
| ASKED | the sidecar | raised by one to take the open segment away: the process writes to it no more |
| APPENDED | the process | bytes it has appended since it began |
| ALLOWED | the sidecar | bytes it may have appended: its share of the quota |

The sidecar takes the segment of a silent process without waiting for its next call: it asks, waits until any store of
the process is visible (`VISIBLE_SECONDS`), and takes the file where BUSY is 0. A process sets BUSY before it looks at
ASKED; so either the sidecar sees it busy, or it sees that it was asked.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "local"
PAGE = "LOCK"
LIMIT = "LIMIT"  # in local/: the quota in bytes, as text, for processes that begin while no sidecar runs
BUSY, ASKED, APPENDED, ALLOWED = range(4)
VISIBLE_SECONDS = 0.1  # a processor's store is seen by others after nanoseconds
_WORDS = struct.Struct("@4Q")
_WORD = struct.Struct("@Q")
_SHARED = 0o660  # app and sidecar are different users of one group
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


class Words(NamedTuple):
    """A page as the sidecar reads it."""

    busy: int
    asked: int
    appended: int
    allowed: int


def make_shared(directory: Path) -> None:
    """Make a directory that the group may write to, with its parent's group where that is inherited. Raises OSError."""
    directory.mkdir()
    directory.chmod(0o770 | (directory.parent.stat().st_mode & 0o2000))


def share(handle: int) -> None:
    """Let the group of a file write to it: the umask has had its say."""
    with suppress(OSError):  # another's file, or a file system without modes
        os.fchmod(handle, _SHARED)


def _begin(handle: int, allowed: int) -> None:
    """Write the words of a page that begins. Raises OSError, also where the disk takes a part of them."""
    if os.write(handle, _WORDS.pack(0, 0, 0, allowed)) != _WORDS.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class OwnPage:
    """The page of this process; `words` are its four words. Raises OSError where the folder cannot be made."""

    def __init__(self, directory: Path, allowed: int) -> None:
        self._handle = os.open(directory / PAGE, _FLAGS | os.O_CREAT | os.O_EXCL, _SHARED)
        try:
            share(self._handle)
            _begin(self._handle, allowed)
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._map = mmap.mmap(self._handle, _WORDS.size)
        except BaseException:
            os.close(self._handle)
            raise
        self.words = memoryview(self._map).cast("Q")

    def is_in(self, directory: Path) -> bool:
        """Whether the page is still the one in this directory: somebody may have removed it."""
        try:
            return os.path.samestat((directory / PAGE).stat(), os.fstat(self._handle))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a disk that fails is no proof
            return True

    def close(self) -> None:
        """Let the folder go: the sidecar adopts it."""
        self.words.release()
        self._map.close()
        os.close(self._handle)


class OthersPage:
    """The page of a process beside the sidecar, opened for one look. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._handle = os.open(directory / PAGE, _FLAGS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def claim(self) -> bool:
        """Whether its process has ended; the folder is then ours until the page is closed."""
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def read(self) -> Words:
        """Return the words; a page cut short reads as one that is busy, so that nothing is taken."""
        data = os.pread(self._handle, _WORDS.size, 0)
        return Words(*_WORDS.unpack(data)) if len(data) == _WORDS.size else Words(1, 0, 0, 0)

    def write(self, word: int, value: int) -> None:
        """Set one word. Raises OSError."""
        os.pwrite(self._handle, _WORD.pack(value), word * _WORD.size)
