"""The sealed segments that wait to be shipped: the queue's state in memory, always derived from the directory."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from abside.spool.errors import SpoolFailed
from abside.spool.frame import MAGIC, frame
from abside.spool.segment import DAMAGED, SEALED, WHOLE, Segment, stem, unhandled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from abside.spool.queue.dead import Dead
    from abside.spool.settings import SpoolStats

T = TypeVar("T")


class Backlog:
    """Sealed segments, oldest first; each leaves by being acknowledged or buried. `bytes` is their size.

    `growth` is how many times its usual size the open segment may reach while segments wait: the shipper makes it 1
    for an upstream that is not known to take large batches, or refuses one. What touches the disk is done in threads,
    one at a time: a disk that does not answer must not keep all threads of the process. `disk` is that turn.
    """

    def __init__(self, found: Iterable[Segment], dead: Dead, stats: SpoolStats, growth: int = 1) -> None:
        self._segments: dict[tuple[int, str], Segment] = {}
        self._stats = stats
        self._news = asyncio.Event()
        self.disk = asyncio.Lock()
        self.dead = dead
        self.growth = growth
        self.bytes = 0
        self.undeleted_bytes = 0  # of them, what was acknowledged and cannot be unlinked
        self._undeleted: deque[Segment] = deque()
        self._abandoned = False
        for segment in found:
            self.add(segment)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments.values())

    def __len__(self) -> int:
        return len(self._segments)

    def holds(self, seq: int, boot: str) -> bool:
        """Whether a segment of this name waits here, whatever its cursor."""
        return (seq, boot) in self._segments

    def sealed(self) -> list[Segment]:
        """List what waits, oldest first."""
        return list(self._segments.values())

    def oldest(self) -> Segment | None:
        """Return the segment to ship next."""
        return next(iter(self._segments.values()), None)

    def wake(self) -> None:
        """Let whoever waits for news look again."""
        self._news.set()

    async def news(self) -> None:
        """Wait until a segment came, or `wake` was called, since this was last waited for."""
        await self._news.wait()
        self._news.clear()

    def add(self, segment: Segment) -> None:
        """Take a segment that was sealed, or one that comes back from dead/: it is shipped after all that wait."""
        self._segments[segment.seq, segment.boot] = segment
        self.bytes += segment.size
        self._news.set()

    def forget(self, segment: Segment) -> None:
        """Remove a segment whose file is gone."""
        gone = self._segments.pop((segment.seq, segment.boot), None)
        if gone is not None:
            self.bytes -= gone.size

    def lose(self, segment: Segment) -> None:
        """Remove a segment whose file somebody deleted, and count the events that are lost with it."""
        self.forget(segment)
        self._stats.lost(unhandled(segment))

    def abandon(self) -> None:
        """Remove every segment and touch no file any more: another process owns the directory."""
        self._abandoned = True
        self._segments.clear()
        self._undeleted.clear()
        self.bytes = self.undeleted_bytes = 0

    async def acknowledge(self, segment: Segment) -> bool:
        """Unlink a segment that arrived upstream; return whether it is gone.

        A file that cannot be unlinked is not sent again by this process; it counts against the quota, and `tidy`
        tries again.
        """
        self.forget(segment)
        self._stats.acknowledged_segments += 1
        if self._abandoned or await self._on_disk(self._unlink, segment.path) or self._abandoned:  # meanwhile
            return True
        self._undeleted.append(segment)
        self.bytes += segment.size
        self.undeleted_bytes += segment.size
        return False

    async def tidy(self) -> None:
        """Try again to unlink what was acknowledged and could not be unlinked, until one cannot."""
        while self._undeleted:
            unlinked = await self._on_disk(self._unlink, self._undeleted[0].path)
            if not unlinked or self._abandoned:  # meanwhile
                return
            segment = self._undeleted.popleft()
            self.bytes -= segment.size
            self.undeleted_bytes -= segment.size

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            self._stats.failed(exc)
            return False
        return True

    async def advance(self, segment: Segment, part: str) -> Segment:
        """Move the segment's cursor to `part`, on disk first; return the segment with its new cursor."""
        moved = segment.path.with_name(replace(segment, part=part).file_name)
        try:
            await self._on_disk(segment.path.replace, moved)
        except OSError as exc:  # this process goes on by memory; one that starts anew sends a part again
            self._stats.failed(exc)
            moved = segment.path
        now = replace(segment, part=part, path=moved)
        if not self._abandoned:  # meanwhile
            self._segments[segment.seq, segment.boot] = now
        return now

    async def set_aside(self, segment: Segment) -> Segment:
        """Make a segment late, on disk first: later ones of its boot may then be sent. Raises SpoolFailed."""
        now = replace(segment, late=True)
        now = replace(now, path=segment.path.with_name(now.file_name))
        try:
            await self._on_disk(segment.path.replace, now.path)
        except FileNotFoundError:  # somebody removed it: whoever reads it finds that
            return now
        except OSError as exc:
            self._stats.failed(exc)
            raise SpoolFailed("rename", segment.path, exc) from exc
        if not self._abandoned and self.holds(segment.seq, segment.boot):  # meanwhile
            self._segments[segment.seq, segment.boot] = now
        return now

    async def bury(self, segment: Segment, reason: str, events: int | None = None) -> None:
        """Move a segment to dead/ with the reason beside it. Raises SpoolFailed: it then stays where it is.

        `events`: how many of its events arrived nowhere else, None where that is not known.
        """
        try:
            name = segment.name + (WHOLE + SEALED if segment.part else SEALED)
            await self._on_disk(self.dead.take, segment.path, name, reason, events)
        except FileNotFoundError as exc:  # someone removed it: there is nothing left to keep
            self._stats.failed(exc)
            self._stats.lost(events)
        self.forget(segment)

    async def bury_rest(self, segment: Segment, rest: bytes, reason: str, events: int | None = None) -> None:
        """Write what of a segment is damaged to dead/, `events` in it (None: not known). Raises SpoolFailed."""
        name = stem(segment.seq, segment.boot) + DAMAGED
        await self._on_disk(self.dead.keep, name, rest, reason, events)

    async def bury_part(self, segment: Segment, payloads: Sequence[bytes], reason: str) -> None:
        """Write a part of a segment to dead/, under the part's own name. Raises SpoolFailed."""
        data = MAGIC + b"".join(map(frame, payloads))
        await self._on_disk(self.dead.keep, segment.name + SEALED, data, reason, len(payloads))

    async def _on_disk(self, work: Callable[..., T], *args: Any) -> T:
        async with self.disk:
            return await asyncio.to_thread(work, *args)
