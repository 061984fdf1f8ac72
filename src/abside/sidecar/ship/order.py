"""The order of segments, for an upstream that takes what comes behind a later one for a re-send and drops it.

The segments of one boot are a series: they are sent by rising sequence number. One that waits alone for a problem of
its own, or comes back from dead/, would be dropped. So before another passes it, its name on disk says that it is late,
and a late segment is a series of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abside.spool.queue.backlog import Backlog
    from abside.spool.segment import Segment


class SeriesOrder:
    """Keeps the order of one shipper's segments. `kept` False: the upstream knows batches by their ids."""

    def __init__(self, backlog: Backlog, *, kept: bool) -> None:
        self._backlog = backlog
        self._kept = kept
        self._passed: dict[str, int] = {}  # the highest sequence number of each boot that was sent

    async def admit(self, segment: Segment) -> Segment:
        """Return the segment as it may be sent now, late where a later one was. Raises SpoolFailed: none may be."""
        if not self._kept or segment.late:
            return segment
        passed = self._passed.get(segment.boot, 0)
        if segment.seq < passed:
            return await self._backlog.set_aside(segment)
        for older in self._backlog.sealed():
            if older.boot == segment.boot and older.seq < segment.seq and not older.late:
                await self._backlog.set_aside(older)
        self._passed[segment.boot] = segment.seq
        return segment


def series_of(host: str, segment: Segment) -> str:
    """Return the name of the series to which a segment belongs."""
    return f"{host}-{segment.boot}-{segment.seq}" if segment.late else f"{host}-{segment.boot}"
