"""Which segments are in flight: never one of them twice, never more than there is room for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.supervise import start_once

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from abside.spool.segment import Segment

# Of segments, as long as they are on disk; one alone may be larger. Eight grown ones fit. Each is in memory as its
# events and as the batch made of them, and compressed: shipping takes about twice this at most.
MAX_BYTES_IN_FLIGHT = 20 * 2**20


class Flights:
    """The segments in flight, by sequence number and boot: a cursor that moves makes no other segment of one.

    `landed` is called after each, whatever became of it.
    """

    def __init__(self, landed: Callable[[], None]) -> None:
        self._landed = landed
        self._tasks: dict[tuple[int, str], asyncio.Task[None]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, segment: Segment) -> bool:
        return (segment.seq, segment.boot) in self._tasks

    def has_room(self, segment: Segment, most: int) -> bool:
        """Whether `segment` may start where at most so many may be in flight."""
        if not self._tasks:
            return True
        return len(self._tasks) < most and self._bytes + segment.size <= MAX_BYTES_IN_FLIGHT

    def start(self, segment: Segment, work: Coroutine[Any, Any, None]) -> None:
        """Start the work of a segment that is not in flight."""
        task = self._tasks[segment.seq, segment.boot] = start_once(f"ship {segment.name}", work)
        self._bytes += segment.size
        task.add_done_callback(lambda _: self._ended(segment))

    async def end(self) -> None:
        """Cut what is in flight off: it stays in the spool, and is sent again under the same ids."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, segment: Segment) -> None:
        del self._tasks[segment.seq, segment.boot]
        self._bytes -= segment.size
        self._landed()
