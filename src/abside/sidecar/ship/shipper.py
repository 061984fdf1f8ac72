"""Ships sealed segments upstream, oldest first, as many at once as the upstream takes; each is unlinked by itself.

The only source of duplicates is a death between the upstream's answer and our unlink: the same batch id goes again.
A batch that is too large is halved by moving the segment's cursor on disk (see abside.spool.segment), so that also
after a death between two halves the same ids are sent, and never the whole that one half of has arrived.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.log import Log
from abside.sidecar.ship.flights import Flights
from abside.sidecar.ship.leaving import Leaving
from abside.sidecar.ship.order import SeriesOrder, series_of
from abside.sidecar.ship.patience import Patience
from abside.sidecar.ship.shipping import Delivery, ShipperSettings, ShipperStats, host_in_ids
from abside.sidecar.ship.unreadable import row_of
from abside.spool.errors import SpoolFailed
from abside.spool.queue.reader import read
from abside.spool.segment import halved, parted, share, unhandled
from abside.upstream.contract import Acked, Batch, MeasuredUpstream, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.spool.queue.reader import Contents
    from abside.spool.segment import Segment
    from abside.spool.write.writer import Spool
    from abside.upstream.contract import Result, Upstream, UpstreamFigure

# So many refused events in a row are no exception any more: from there on as many are refused together as were before,
# so that a collector which refuses a kind of event is not asked about each, and dead/ gets no file for each.
MANY_IN_A_ROW = 128

__all__ = ["Shipper", "ShipperSettings", "ShipperStats", "host_in_ids"]

log = Log("abside.shipper")


class Shipper:
    """Ships one spool to one upstream. `run` is a background task's work; `drain` is its end at shutdown."""

    def __init__(self, spool: Spool, upstream: Upstream, settings: ShipperSettings, now_us: Callable[[], int]) -> None:
        self.stats = ShipperStats()
        self.address = settings.address
        self._backlog = spool.backlog
        if not upstream.takes_large:
            self._backlog.growth = 1
        self._upstream = upstream
        figures: Callable[[], Sequence[UpstreamFigure]] = tuple
        self.own_figures = upstream.figures if isinstance(upstream, MeasuredUpstream) else figures
        self._settings = settings
        self._host = host_in_ids(settings.host)
        self._leaving = Leaving(spool.backlog, self.stats, self._forget)
        self._order = SeriesOrder(spool.backlog, kept=upstream.in_order)
        self._patience = Patience(settings, self.stats, now_us, upstream.in_flight)
        self.turns = self._patience.turns
        self._flights = Flights(spool.backlog.wake)
        self._rejected: dict[str, int] = {}  # batches, and how often each was rejected
        self._in_a_row = 0  # events that were refused since the last batch arrived
        self._unread: dict[str, int] = {}  # segments, and how often in a row each could not be read
        self._draining = False

    @property
    def in_flight(self) -> int:
        """How many batches are on their way now."""
        return len(self._flights)

    async def run(self) -> None:
        """Ship until the drain begins: it then has what is in flight."""
        try:
            while not self._draining:
                await self._turn()
        finally:
            if not self._draining:
                await self._flights.end()

    async def drain(self, deadline_seconds: float) -> None:
        """Ship what is sealed, within the deadline; what is left stays in the spool. Interrupts a wait of `run`."""
        self._draining = True
        self._patience.hurry()
        self._backlog.wake()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds):
                while len(self._backlog) or len(self._flights):
                    await self._turn()
        await self._flights.end()

    async def _turn(self) -> None:
        """Start what may be in flight, then wait until more may."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._start()):
                await self._backlog.news()

    def _start(self) -> float | None:
        """Start what may be in flight now, the oldest first, and what failed behind the others.

        Return the seconds until more may, None where that is no matter of time. A segment that sleeps waits for
        something that is its own: its neighbours go on meanwhile.
        """
        if wait_seconds := self._patience.until_next():
            return wait_seconds
        asleep = []
        for segment in self.turns.in_turn(self._backlog):
            if segment in self._flights:
                continue
            if not self.turns.awake(segment.name):
                asleep.append(segment.name)
            elif self._flights.has_room(segment, self._patience.in_flight):
                self._flights.start(segment, self._fly(segment, self._patience.failures))
            else:
                break
        return self.turns.until_awake(asleep)

    async def _fly(self, segment: Segment, after: int) -> None:
        self._patience.pause(await self._try(segment, after))

    async def _step(self) -> float:
        """Try the oldest segment, out of turn: tests see one try at a time."""
        segment = self._backlog.oldest()
        return 0.0 if segment is None else await self._try(segment, self._patience.failures)

    async def _try(self, segment: Segment, after: int) -> float:
        """Send what a segment's cursor points at; return the seconds that all wait after it."""
        try:
            return await self._deliver(segment, after)
        except SpoolFailed as exc:  # dead/ did not take it, or the queue not its name: it stays, and is tried again
            return self._patience.alone(segment.name, str(exc))
        except Exception as exc:  # noqa: BLE001 a bug: nobody's answer and no segment may end the shipping of the others
            return self._broken(segment, exc)

    async def _deliver(self, segment: Segment, after: int) -> float:
        segment = await self._order.admit(segment)
        try:
            async with self._backlog.disk:
                contents = await read(segment)
        except FileNotFoundError as exc:
            self._leaving.gone(segment, exc)
            return 0.0
        except OSError as exc:
            return await self._unreadable(segment, exc, after)
        except MemoryError:
            return await self._unreadable(segment, OSError(errno.ENOMEM, "no memory for it", str(segment.path)), after)
        self._unread.pop(segment.name, None)
        part = share(segment.part, len(contents.payloads))
        payloads = contents.payloads[part.start : part.stop]
        if not payloads:
            await self._leaving.leave(segment, contents)
            return 0.0
        if after < self._patience.failures:  # meanwhile: it waits with the others
            return 0.0
        place = (series_of(self._host, segment), segment.seq, part.start)
        batch = Batch(self._id_of(segment), len(payloads), b"".join(payloads), *place, payloads)
        return await self._take(await self._upstream.send(batch), Delivery(segment, contents, payloads, batch, after))

    def _broken(self, segment: Segment, problem: Exception) -> float:
        """Leave a segment as it is whose delivery met a bug: it waits alone, and all others longer too."""
        log.crash("delivery_broke", problem, segment=segment.name)
        words = f"the delivery broke: {type(problem).__name__}, see the log"
        self._patience.later(Retry(words, loud=True), self._patience.failures)
        self._patience.sleep(segment.name, words)
        return self._patience.breathe(self._patience.failures)

    async def _unreadable(self, segment: Segment, problem: OSError, after: int) -> float:
        """Leave a segment as it is that cannot be read now; bury it when the table's patience has ended."""
        stats = self.stats
        stats.unreadable += 1
        tries = self._unread[segment.name] = self._unread.get(segment.name, 0) + 1
        row = row_of(problem)
        words = f"cannot read {segment.name}: {problem}"
        if row.tries is None:  # it is no matter of this segment
            return self._patience.later(Retry(words), after, segment.name)
        if tries < row.tries:
            return self._patience.alone(segment.name, words)
        reason = f"could not be read, tried {tries} times: {problem}; {row.why}"
        await self._leaving.bury_whole(segment, reason, unhandled(segment))
        stats.last_error, stats.wait_seconds = reason, 0.0
        return 0.0

    async def _take(self, result: Result, one: Delivery) -> float:
        """Do what the upstream's answer asks for; return the seconds to wait."""
        if isinstance(result, Retry):
            return self._patience.later(result, one.after, one.segment.name)
        segment, contents, batch = one.segment, one.contents, one.batch
        if isinstance(result, TooLarge) or (isinstance(result, Rejected) and not result.some_of_it):
            self._backlog.growth = 1  # its size may be why: what is begun from now on is small again
        match result:
            case Acked(duplicate):
                self._succeeded(one, duplicate=duplicate)
                await self._leaving.leave(segment, contents)
                return 0.0
            case TooLarge() if batch.count > 1:
                self.stats.halved += 1
                await self._advance(segment, halved(segment.part))
                return self._patience.breathe(one.after)
            case TooLarge():
                reason = f"one event of {len(batch.payload)} bytes is more than the upstream takes"
                await self._leaving.bury(segment, contents, one.payloads, reason)
                return self._patience.breathe(one.after)
            case Rejected(some_of_it=True) if batch.count > 1 and not self._many(result, batch):
                await self._separate(result, segment, contents)
            case Rejected(reason, final):
                final = final and (batch.count == 1 or not result.some_of_it)
                self.stats.rejected += 1
                self.stats.last_error = reason
                tries = self._rejected[batch.id] = self._rejected.get(batch.id, 0) + 1
                if not final and tries < self._settings.rejected_tries:
                    return self._patience.breathe(one.after, self._settings.rejected_seconds)
                await self._leaving.bury(segment, contents, one.payloads, reason)
                self._rejected.pop(batch.id, None)
                self._in_a_row += batch.count
                return 0.0 if final else self._patience.breathe(one.after)
        self.stats.wait_seconds = 0.0
        return 0.0

    def _many(self, result: Rejected, batch: Batch) -> bool:
        """Whether so many events in a row were refused that this batch, which begins with another, is refused whole."""
        return self._in_a_row >= max(MANY_IN_A_ROW, batch.count) and not result.index

    async def _separate(self, result: Rejected, segment: Segment, contents: Contents) -> None:
        """Move the cursor so that the events beside a refused one get away from it; a later step buries it alone."""
        stats, index = self.stats, result.index
        stats.rejected += 1
        stats.last_error = result.reason
        part = halved(segment.part) if index is None else parted(segment.part, len(contents.payloads), index)
        log.warning("batch_refused_for_one_event", segment=segment.name, index=index, reason=result.reason)
        await self._advance(segment, part)

    async def _advance(self, segment: Segment, part: str) -> None:
        self._forget(segment)  # no part of it has that name
        await self._backlog.advance(segment, part)

    def _forget(self, segment: Segment) -> None:
        """Forget the tries of a segment that has left: brought back by hand, it has all of them again."""
        self.turns.forget(segment.name)
        self._unread.pop(segment.name, None)
        self._rejected.pop(self._id_of(segment), None)

    def _id_of(self, segment: Segment) -> str:
        return f"{self._host}.{segment.name}"

    def _succeeded(self, one: Delivery, *, duplicate: bool) -> None:
        stats, batch = self.stats, one.batch
        self._in_a_row = 0
        self._rejected.pop(batch.id, None)
        stats.acked_batches += 1
        stats.acked_events += batch.count
        stats.acked_bytes += len(batch.payload)
        stats.duplicates += duplicate
        self._patience.arrived(one.after)
