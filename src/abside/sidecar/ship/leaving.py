"""How a segment leaves the queue: acknowledged, buried, or gone; each is counted and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.log import Log
from abside.spool.segment import following, unhandled

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.sidecar.ship.shipping import ShipperStats
    from abside.spool.queue.backlog import Backlog
    from abside.spool.queue.reader import Contents
    from abside.spool.segment import Segment

log = Log("abside.shipper")


class Leaving:
    """Moves cursors on, and files out of the queue. `forget` is called with a segment whose trouble is over."""

    def __init__(self, backlog: Backlog, stats: ShipperStats, forget: Callable[[Segment], None]) -> None:
        self._backlog = backlog
        self._stats = stats
        self._forget = forget

    def gone(self, segment: Segment, problem: OSError) -> None:
        """Go on without a segment whose file somebody removed."""
        self._backlog.lose(segment)
        self._forget(segment)
        log.error("segment_gone", segment=segment.name, events=unhandled(segment), error=str(problem))

    async def leave(self, segment: Segment, contents: Contents) -> None:
        """Go on behind the cursor: to the rest of the segment, or to its end. Raises SpoolFailed."""
        after = following(segment.part)
        if after is not None:
            await self._backlog.advance(segment, after)
        elif contents.damage:
            handled = len(contents.payloads)
            lost = None if segment.events is None else segment.events - handled
            reason = f"{contents.damage}; the {handled} good events of the segment were handled"
            if handled:
                await self._backlog.bury_rest(segment, contents.rest, reason, lost)
            else:
                await self._backlog.bury(segment, reason, lost)
            self._count_dead(lost)
            self._stats.damaged_segments += 1
            log.error("segment_damaged", segment=segment.name, damage=contents.damage, lost_events=lost)
            if handled:
                await self._acknowledge(segment)
        else:
            await self._acknowledge(segment)
        self._forget(segment)

    async def _acknowledge(self, segment: Segment) -> None:
        if not await self._backlog.acknowledge(segment):
            log.error(
                "segment_not_unlinked", segment=segment.name, then="it counts against the quota, and is tried again"
            )

    async def bury(self, segment: Segment, contents: Contents, payloads: list[bytes], reason: str) -> None:
        """Put what the cursor points at into dead/. Raises SpoolFailed."""
        if segment.part:
            await self._backlog.bury_part(segment, payloads, reason)
            await self.leave(segment, contents)
            self._dead(segment, len(payloads), reason)
        else:
            lost = segment.events if contents.damage else len(payloads)
            await self.bury_whole(segment, f"{reason}; {contents.damage}" if contents.damage else reason, lost)

    async def bury_whole(self, segment: Segment, reason: str, events: int | None) -> None:
        """Put the whole file into dead/, with `events` that arrived nowhere else. Raises SpoolFailed."""
        await self._backlog.bury(segment, reason, events)
        self._dead(segment, events, reason)

    def _dead(self, segment: Segment, events: int | None, reason: str) -> None:
        self._stats.dead_batches += 1
        self._count_dead(events)
        self._forget(segment)
        log.error("batch_dead", segment=segment.name, events=events, reason=reason)

    def _count_dead(self, events: int | None) -> None:
        """Count events that were buried; None: an unknown number."""
        self._stats.dead_events += events or 0
        self._stats.uncounted_segments += events is None
