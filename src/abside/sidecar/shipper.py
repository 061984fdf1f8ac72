"""Ships sealed segments upstream, oldest first, one at a time, for ever; what was acknowledged is unlinked.

The only source of duplicates is a death between the upstream's answer and our unlink: the same batch id goes again.
A batch that is too large is halved by moving the segment's cursor on disk (see abside.spool.segment), so that also
after a death between two halves the same ids are sent, and never the whole that one half of has arrived.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.backoff import FIRST_SECONDS, LONGEST_SECONDS, Backoff
from abside.log import Log
from abside.sidecar.unreadable import row_of
from abside.spool.errors import SpoolFailed
from abside.spool.reader import read
from abside.spool.segment import following, halved, share, unhandled
from abside.upstream.contract import Acked, Batch, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.spool.reader import Contents
    from abside.spool.segment import Segment
    from abside.spool.writer import Spool
    from abside.upstream.contract import Result, Upstream

REJECTED_TRIES = 3  # a proxy that answers 404 while a receiver restarts is not the receiver's word
REJECTED_SECONDS = 5.0  # between those tries: the three span longer than such a restart
SLOW_SECONDS = 30.0  # 401 and 403, and strangers' answers: only a person or a token's rotation mends it
REMIND_SECONDS = 60.0  # what lasts is logged so often: a line lost in a day's log helps nobody
MAX_RETRY_AFTER_SECONDS = 300.0  # longer is a mistake, and would fill the spool
DRAIN_LONGEST_SECONDS = 2.0  # a process that is going has no time for the usual longest wait
MAX_HOST_CHARS = 40  # of a batch id's 128; sequence number, boot id and halves need the rest

log = Log("abside.shipper")


@dataclass(frozen=True, slots=True)
class ShipperSettings:
    """Who ships (`host` begins every batch id) and how long it waits between tries."""

    host: str
    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    rejected_seconds: float = REJECTED_SECONDS
    rejected_tries: int = REJECTED_TRIES
    slow_seconds: float = SLOW_SECONDS
    remind_seconds: float = REMIND_SECONDS
    max_retry_after_seconds: float = MAX_RETRY_AFTER_SECONDS
    drain_longest_seconds: float = DRAIN_LONGEST_SECONDS


@dataclass(slots=True)
class ShipperStats:
    """What happened since start. `loud`: why only a person can mend it (empty: nothing of the kind)."""

    acked_batches: int = 0
    acked_events: int = 0
    acked_bytes: int = 0  # before compression
    duplicates: int = 0  # of the acked batches: the upstream already had them
    retries: int = 0
    halved: int = 0
    rejected: int = 0  # answers that refuse a batch, tries included
    dead_batches: int = 0
    dead_events: int = 0  # as far as they could be counted
    uncounted_segments: int = 0  # given up, and how many events went with them is not known
    damaged_segments: int = 0
    unreadable: int = 0  # tries to read a segment that failed
    last_error: str = ""
    loud: str = ""
    failing_since_us: int = 0  # 0: the last try was answered
    last_success_us: int = 0
    wait_seconds: float = 0.0  # the wait after the last try; 0 after a success


class Shipper:
    """Ships one spool to one upstream. `run` is a background task's work; `drain` is its end at shutdown."""

    def __init__(self, spool: Spool, upstream: Upstream, settings: ShipperSettings, now_us: Callable[[], int]) -> None:
        self.stats = ShipperStats()
        self._backlog = spool.backlog
        if not upstream.takes_large:
            self._backlog.growth = 1
        self._upstream = upstream
        self._settings = settings
        self._now_us = now_us
        self._host = host_in_ids(settings.host)
        self._backoff = Backoff(settings.first_seconds, settings.longest_seconds)
        self._rejected: tuple[str, int] = ("", 0)  # the batch at hand, and how often it was rejected
        self._said_us = 0  # when the log was last told that something fails
        self._unread: tuple[str, int] = ("", 0)  # the segment at hand, and how often in a row it could not be read
        self._turn = asyncio.Lock()
        self._draining = asyncio.Event()

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest segment that waits, 0 when none does."""
        oldest = self._backlog.oldest()
        return 0.0 if oldest is None else max(0.0, (self._now_us() - oldest.written_us) / 1_000_000)

    async def run(self) -> None:
        """Ship until the drain begins."""
        while not self._draining.is_set():
            await self._backlog.next()
            async with self._turn:
                wait_seconds = await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._draining.wait()

    async def drain(self, deadline_seconds: float) -> None:
        """Ship what is sealed, within the deadline; what is left stays in the spool. Interrupts a wait of `run`."""
        self._draining.set()
        self._backoff = Backoff(self._settings.first_seconds, self._settings.drain_longest_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_seconds):
                while self._backlog.oldest() is not None:
                    async with self._turn:
                        wait_seconds = await self._step()
                    await asyncio.sleep(wait_seconds)

    async def _step(self) -> float:
        """Send what the oldest segment's cursor points at; give the seconds to wait before the next step."""
        segment = self._backlog.oldest()
        if segment is None:
            return 0.0
        try:
            contents = await read(segment)
        except FileNotFoundError as exc:
            self._backlog.lose(segment)
            log.error("segment_gone", segment=segment.name, error=str(exc))
            return 0.0
        except OSError as exc:
            return await self._unreadable(segment, exc)
        self._unread = ("", 0)
        chosen = share(segment.part, len(contents.payloads))
        payloads = contents.payloads[chosen.start : chosen.stop]
        try:
            if not payloads:
                await self._leave(segment, contents)
                return 0.0
            batch = Batch(f"{self._host}.{segment.name}", len(payloads), b"".join(payloads))
            return await self._take(await self._send(batch), batch, segment, contents, payloads)
        except SpoolFailed as exc:  # dead/ did not take it: it stays, and is tried again
            return self._later(Retry(str(exc)))

    async def _send(self, batch: Batch) -> Result:
        """Deliver a batch; whatever is wrong with the answer, and with our reading of it, is a try that failed."""
        try:
            return await self._upstream.send(batch)
        except Exception as exc:  # noqa: BLE001 a bug: no answer of anybody may end the shipping of all the others
            log.crash("delivery_broke", exc, batch=batch.id)
            return Retry(f"the delivery broke: {type(exc).__name__}, see the log", loud=True)

    async def _unreadable(self, segment: Segment, problem: OSError) -> float:
        """Leave a segment as it is that cannot be read now; bury it when the table's patience has ended."""
        stats = self.stats
        stats.unreadable += 1
        tries = self._unread[1] + 1 if self._unread[0] == segment.name else 1
        self._unread = (segment.name, tries)
        row = row_of(problem)
        if row.tries is None or tries < row.tries:
            return self._later(Retry(f"cannot read {segment.name}: {problem}"))
        reason = f"could not be read, tried {tries} times: {problem}; {row.why}"
        lost = unhandled(segment)
        try:
            await self._backlog.bury(segment, reason, lost)
        except SpoolFailed as exc:
            return self._later(Retry(str(exc)))
        stats.last_error, stats.wait_seconds = reason, 0.0
        self._dead(segment, lost, reason)
        return 0.0

    async def _take(
        self, result: Result, batch: Batch, segment: Segment, contents: Contents, payloads: list[bytes]
    ) -> float:
        """Do what the upstream's answer asks for; give the seconds to wait."""
        if isinstance(result, TooLarge | Rejected):
            self._backlog.growth = 1  # its size may be why: what is begun from now on is small again
        match result:
            case Acked(duplicate):
                self._succeeded(batch, duplicate=duplicate)
                await self._leave(segment, contents)
            case TooLarge() if batch.count > 1:
                self.stats.halved += 1
                await self._backlog.advance(segment, halved(segment.part))
                return self._breathe()
            case TooLarge():
                reason = f"one event of {len(batch.payload)} bytes is more than the upstream takes"
                await self._bury(segment, contents, payloads, reason)
                return self._breathe()
            case Rejected(reason, final):
                self.stats.rejected += 1
                self.stats.last_error = reason
                tries = self._rejected[1] + 1 if self._rejected[0] == batch.id else 1
                self._rejected = (batch.id, tries)
                if not final and tries < self._settings.rejected_tries:
                    return self._breathe(self._settings.rejected_seconds)
                await self._bury(segment, contents, payloads, reason)
                return 0.0 if final else self._breathe()
            case Retry():
                return self._later(result)
        self.stats.wait_seconds = 0.0
        return 0.0

    async def _leave(self, segment: Segment, contents: Contents) -> None:
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
            self.stats.damaged_segments += 1
            log.error("segment_damaged", segment=segment.name, damage=contents.damage, lost_events=lost)
            if handled:
                await self._backlog.acknowledge(segment)
        else:
            await self._backlog.acknowledge(segment)

    async def _bury(self, segment: Segment, contents: Contents, payloads: list[bytes], reason: str) -> None:
        """Put what the cursor points at into dead/. Raises SpoolFailed."""
        if segment.part:
            await self._backlog.bury_part(segment, payloads, reason)
            await self._leave(segment, contents)
            self._dead(segment, len(payloads), reason)
        else:
            lost = segment.events if contents.damage else len(payloads)
            await self._backlog.bury(segment, f"{reason}; {contents.damage}" if contents.damage else reason, lost)
            self._dead(segment, lost, reason)

    def _dead(self, segment: Segment, events: int | None, reason: str) -> None:
        self.stats.dead_batches += 1
        self._count_dead(events)
        self._rejected = ("", 0)  # brought back by hand, it has all its tries again
        log.error("batch_dead", segment=segment.name, events=events, reason=reason)

    def _count_dead(self, events: int | None) -> None:
        """Count events that were given up; None: so many that nobody knows."""
        self.stats.dead_events += events or 0
        self.stats.uncounted_segments += events is None

    def _succeeded(self, batch: Batch, *, duplicate: bool) -> None:
        stats = self.stats
        stats.acked_batches += 1
        stats.acked_events += batch.count
        stats.acked_bytes += len(batch.payload)
        stats.duplicates += duplicate
        stats.last_success_us = self._now_us()
        if stats.failing_since_us:
            log.info("upstream_recovered", after_seconds=(stats.last_success_us - stats.failing_since_us) // 1_000_000)
        stats.failing_since_us, stats.loud = 0, ""
        self._backoff.reset()

    def _later(self, retry: Retry) -> float:
        """Count a failed try and give the wait before the next."""
        stats = self.stats
        stats.retries += 1
        self._say(retry)
        stats.last_error = retry.reason
        stats.loud = retry.reason if retry.loud else ""
        stats.wait_seconds = wait_after(retry, self._backoff, self._settings)
        return stats.wait_seconds

    def _say(self, retry: Retry) -> None:
        """Log what fails: when it begins, when it becomes a person's matter or another one, and while it lasts."""
        stats, now_us = self.stats, self._now_us()
        lasts = now_us - self._said_us >= self._settings.remind_seconds * 1_000_000
        begins = not stats.failing_since_us
        if begins:
            stats.failing_since_us = now_us
        for_seconds = (now_us - stats.failing_since_us) // 1_000_000
        if retry.loud and (retry.reason != stats.loud or lasts):
            log.error("upstream_needs_a_person", reason=retry.reason, for_seconds=for_seconds)
        elif begins or lasts:
            log.warning("upstream_failing", reason=retry.reason, for_seconds=for_seconds)
        else:
            return
        self._said_us = now_us

    def _breathe(self, least_seconds: float = 0.0) -> float:
        """Return the wait after a refusal: it grows until something arrives, so that no refuser is asked in a rush."""
        self.stats.wait_seconds = least_seconds + self._backoff.next_seconds()
        return self.stats.wait_seconds


def wait_after(retry: Retry, backoff: Backoff, settings: ShipperSettings) -> float:
    """Give the seconds to wait: full jitter; above what the upstream asked for, within bounds; slowly where loud."""
    jitter = backoff.next_seconds()
    least = 0.0
    if retry.loud:
        least = settings.slow_seconds / 2
        jitter = backoff.chance.uniform(0.0, settings.slow_seconds / 2)
    if retry.after_seconds is not None:
        least = max(least, min(retry.after_seconds, settings.max_retry_after_seconds))
    return least + jitter


def host_in_ids(host: str) -> str:
    """Give the host as it stands in batch ids: within `[A-Za-z0-9._-]`, begun by a letter or digit, bounded."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("._-")[:MAX_HOST_CHARS] or "host"
