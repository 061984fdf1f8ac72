"""Segments: files of frames, whose names contain their place in the order and the part that is still to send.

`<seq>-<boot>.open` is being written; `<seq>-<boot>.seg` is sealed, a batch. A receiver that finds a batch too large
gets it in halves: `<seq>-<boot>.0.seg` still has its first half to send, `….1.seg` only its second, `….1.0.seg` the
first half of that. The name is a cursor, moved by one rename: whatever dies, the same ids are sent again and no other.

`….late.seg` waits behind later segments of its boot. Its batch id is the same; where a receiver keeps the order, it is
sent in a series of its own.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from abside.spool.frame import MAX_SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPEN = ".open"
SEALED = ".seg"
DAMAGED = ".damaged"  # in dead/: the bytes of a segment that no checksum vouches for
LATE = ".late"  # before SEALED, in the queue: later segments of its boot may have been sent
WHOLE = ".whole"  # before SEALED, in dead/: a whole file with its cursor; without it a cursor names a part of one
UNFINISHED = ".tmp"  # a copy that was being made
MAX_SEQ = 10**19  # microseconds come nowhere near: beyond it a number could not be counted on in its 20 digits
MAX_BOOT_CHARS = 32  # a process's own has 16; the rest is room for the names of parts
BOOT = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_BESIDE = re.compile(r"\.\d{20}-[A-Za-z0-9_-]{1,32}\.seg\.\d+\.tmp\Z")  # as abside.files.write_whole names it
_NAME = re.compile(r"(\d{20})-([A-Za-z0-9_-]{1,32})((?:\.[01])*)((?:\.[a-z]+)+)\Z")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment file. `part` is the cursor (empty: the whole file); `written_us` its last append, µs UTC.

    `late`: it may come behind later ones of its boot. `events` is how many were written to it, None where an earlier
    process sealed it: its name has no count.
    """

    seq: int
    boot: str
    part: str
    path: Path
    size: int
    written_us: int
    events: int | None = field(default=None, compare=False)
    late: bool = False

    @property
    def file_name(self) -> str:
        """The name of its file in the queue."""
        return f"{self.name}{LATE if self.late else ''}{SEALED}"

    @property
    def name(self) -> str:
        """The batch id without its host: `<seq>-<boot><part>`."""
        return f"{stem(self.seq, self.boot)}{self.part}"


def stem(seq: int, boot: str) -> str:
    """Return the file name of a segment without cursor and suffix."""
    return f"{seq:020d}-{boot}"


def listed(directory: Path, suffix: str) -> list[Segment]:
    """List the segments with this suffix, oldest first, late ones too; nothing where there is no directory.

    Other files are not ours and are left alone: other names, links, directories, FIFOs, and what is too large to have
    been written here.
    """
    return sorted(_segments(directory, suffix), key=lambda segment: (segment.seq, segment.boot))


def unfinished(directory: Path) -> list[Path]:
    """List copies of segments that a process did not finish before its end."""
    copies = [segment.path for segment in listed(directory, SEALED + UNFINISHED)]
    return copies + [directory / name for name in _names(directory) if _BESIDE.match(name)]


def strangers(directory: Path) -> list[str]:
    """List names that end as a segment's and are none of ours: the files stay where they are, and are reported."""
    ours = {segment.path.name for suffix in (OPEN, SEALED) for segment in listed(directory, suffix)}
    return sorted(name for name in _names(directory) if name.endswith((OPEN, SEALED)) and name not in ours)


def _segments(directory: Path, suffix: str) -> Iterator[Segment]:
    for name in _names(directory):
        match = _NAME.match(name)
        late = match is not None and suffix.startswith(SEALED) and match[4] == LATE + suffix
        if not match or (match[4] != suffix and not late):
            continue
        path = directory / name
        try:
            status = path.lstat()
        except OSError:  # gone meanwhile
            continue
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SEGMENT_BYTES:
            written_us = status.st_mtime_ns // 1000
            yield Segment(int(match[1]), match[2], match[3], path, status.st_size, written_us, late=late)


def _names(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except OSError:
        return []


def home(name: str) -> tuple[int, str, str] | None:
    """Return seq, boot and cursor under which a file of dead/ goes back into the queue; None where it cannot.

    A whole file gets its old name, and with it its old batch id. A part of one gets a name of its own, always the
    same: under its old one it would be taken for a whole file with a cursor.
    """
    match = _NAME.match(name)
    if match is None or match[4] not in {SEALED, WHOLE + SEALED}:
        return None
    seq, boot, part = int(match[1]), match[2], match[3]
    if match[4] == SEALED and part:
        return seq, _boot_of(boot, part), ""
    return seq, boot, part


def _boot_of(boot: str, part: str) -> str:
    name = f"{boot}-p{part.replace('.', '')}"
    if len(name) <= MAX_BOOT_CHARS:
        return name
    digest = sha256(f"{boot}{part}".encode()).hexdigest()[:12]
    return f"{boot[: MAX_BOOT_CHARS - 14]}-p{digest}"


def share(part: str, count: int) -> range:
    """Return the events that the cursor points at, of a segment of `count`: each digit halves what is left."""
    low, high = 0, count
    for digit in part.split(".")[1:]:
        middle = (low + high) // 2
        low, high = (low, middle) if digit == "0" else (middle, high)
    return range(low, high)


def halved(part: str) -> str:
    """Return the cursor of the first half of what `part` points at."""
    return f"{part}.0"


def parted(part: str, count: int, bad: int) -> str:
    """Return the cursor of the first piece, in halves of `part`, that does not contain event `bad` or is that event.

    `count` is the segment's events, and `bad` is counted within what `part` points at. Every cursor on the way is one
    that halving reaches, so the ids of pieces are the same whichever way they are reached.
    """
    bad += share(part, count).start
    part = halved(part)
    while bad in (piece := share(part, count)) and len(piece) > 1:
        part = halved(part)
    return part


def unhandled(segment: Segment) -> int | None:
    """Return how many events are at the cursor and behind it, None where it is not known how many there are."""
    return None if segment.events is None else segment.events - share(segment.part, segment.events).start


def following(part: str) -> str | None:
    """Return the cursor behind `part`; None when it was the last of its segment."""
    rest = part
    while rest.endswith(".1"):
        rest = rest[:-2]
    return f"{rest[:-2]}.1" if rest else None
