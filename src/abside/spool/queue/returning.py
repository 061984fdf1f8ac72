"""From dead/ back into the queue: asked for by a file in retry/, done by the one process that owns the spool.

`retry/<name>` asks for `dead/<name>`. Nobody but the owner moves a file into the queue, so that what it knows of its
directories stays true; a request outlives a restart of either side.
"""

from __future__ import annotations

import asyncio
import os
import stat
from bisect import bisect_right
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from abside.spool.folder import move
from abside.spool.segment import LATE, SEALED, Segment, home, stem

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.folder import Folder
    from abside.spool.queue.backlog import Backlog
    from abside.spool.settings import SpoolSettings, SpoolStats

REQUESTS = "retry"
MAX_LOOKED_AT = 64  # requests at one look: as many renames, a few milliseconds of a thread; the rest has its turn
MAX_REQUESTS = 10_000  # names read at one look, for that turn: 10 ms of a thread; dead/ holds fewer


class Returning:
    """Looks for requests at each tick of the spool, and brings back what has room in the quota."""

    def __init__(self, settings: SpoolSettings, folder: Folder, backlog: Backlog, stats: SpoolStats) -> None:
        self._requests = folder.root / REQUESTS
        self._folder = folder
        self._limit_bytes = settings.limit_bytes
        self._durable = settings.fsync != "never"
        self._backlog = backlog
        self._stats = stats
        self._behind = ""  # the last name looked at: what has no room must not keep the rest from its turn

    async def look(self, used_bytes: int) -> None:
        """Bring back what is asked for; what has no room beside `used_bytes` waits. Never raises OSError."""
        names = await asyncio.to_thread(requested, self._requests, self._behind)
        self._behind = names[-1] if names else ""
        for name in names:
            path = self._folder.dead / name
            found = await asyncio.to_thread(candidate, path, self._folder.queue)
            if found is not None and not self._backlog.holds(found.seq, found.boot):
                if used_bytes + found.size > self._limit_bytes:
                    continue
                problem = await asyncio.to_thread(back, path, found.path, durable=self._durable)
                if problem is None:
                    self._backlog.add(found)
                    await asyncio.to_thread(self._backlog.dead.forget, path)
                    self._stats.returned_segments += 1
                    used_bytes += found.size
                else:
                    self._stats.failed(problem)
            await asyncio.to_thread(withdraw, self._requests / name)


def requested(requests: Path, behind: str = "") -> list[str]:
    """List some of the names that are asked for, from the first behind `behind` on and round; none where none is."""
    try:
        with os.scandir(requests) as entries:
            names = sorted(entry.name for entry in islice(entries, MAX_REQUESTS))
    except OSError:
        return []
    first = bisect_right(names, behind)
    return (names[first:] + names[:first])[:MAX_LOOKED_AT]


def candidate(path: Path, queue: Path) -> Segment | None:
    """Return the segment that a file of dead/ would be in `queue`; None where it is none, or its name is taken.

    It is late: what was written after it has been sent.
    """
    place = home(path.name)
    if place is None:
        return None
    seq, boot, part = place
    try:
        status = path.lstat()
    except OSError:
        return None
    target = queue / f"{stem(seq, boot)}{part}{LATE}{SEALED}"
    if not stat.S_ISREG(status.st_mode) or target.exists() or (queue / f"{stem(seq, boot)}{part}{SEALED}").exists():
        return None
    return Segment(seq, boot, part, target, status.st_size, status.st_mtime_ns // 1000, late=True)


def back(path: Path, target: Path, *, durable: bool) -> OSError | None:
    """Move a file of dead/ into the queue; return what went wrong."""
    try:
        move(path, target, durable=durable)
    except OSError as exc:
        return exc
    return None


def ask(root: Path, name: str) -> None:
    """Ask the owner of the spool for `dead/<name>`. Raises OSError."""
    requests = root / REQUESTS
    requests.mkdir(exist_ok=True)
    (requests / name).touch()


def withdraw(request: Path) -> None:
    """Take a request away: it is done, or can never be."""
    with suppress(OSError):  # it is looked at again, and finds nothing in dead/
        request.unlink(missing_ok=True)
