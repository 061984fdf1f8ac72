"""The retry table of the disk: what it means that a sealed segment cannot be read, and how often that is tried."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

MEDIUM_TRIES = 20  # with waits that grow to 30 s: some minutes, longer than a node's disk takes to come back


@dataclass(frozen=True, slots=True)
class UnreadableCount:
    """Some error numbers, how often a segment is tried before it is buried (None: for ever), and the reason."""

    errors: Container[int]
    tries: int | None
    why: str


TABLE: tuple[UnreadableCount, ...] = (
    UnreadableCount(
        {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR},
        None,
        "the process or its node is short of something: the file is whole, and readable once that is there again",
    ),
    UnreadableCount(
        {errno.EIO, errno.ESTALE},
        MEDIUM_TRIES,
        "the medium does not return it: what waits behind it must not wait for ever",
    ),
)
_OTHER = UnreadableCount(
    (), MEDIUM_TRIES, "rights, or something else in the file's place: a person may mend it in time"
)


def row_of(problem: OSError) -> UnreadableCount:
    """Return the row for an error."""
    return next((row for row in TABLE if problem.errno in row.errors), _OTHER)
