"""The spool as its owner sees it: append before answering, seal into batches, hand them to the shipper.

Appending is one write to a file opened for appending: no thread, no timer, no waiting but for that write. All else that
touches the disk (fdatasync, renames, the next file, a look at the free space) is done in a thread, at most one such job
at a time; beside it the next file may be begun. A job that was abandoned by a cancelled caller is picked up by the
next: the state in memory never runs ahead of the files. Append, seal and sync share a handful of positions, so they are
in this one file, long as it is.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self

from abside.log import Log
from abside.spool.errors import PayloadSizeError, SpoolFailed, SpoolRefused, SpoolTaken
from abside.spool.folder import claim
from abside.spool.frame import frame
from abside.spool.queue.backlog import Backlog
from abside.spool.queue.beside import Beside
from abside.spool.queue.dead import Dead
from abside.spool.queue.recovery import highest_seq, recover
from abside.spool.queue.returning import Returning
from abside.spool.segment import BOOT, MAX_SEQ
from abside.spool.settings import QUIET_BYTES, QUIET_EVENTS, SpoolStats, Waiting
from abside.spool.write.calendar import Calendar
from abside.spool.write.room import Room, free_bytes_of
from abside.spool.write.sealing import Sealing
from abside.spool.write.starting import Starting
from abside.spool.write.upkeep import SpoolUpkeep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from abside.spool.folder import Folder
    from abside.spool.segment import Segment
    from abside.spool.settings import SpoolSettings
    from abside.spool.write.openfile import OpenFile

LONGEST_TICK_SECONDS = 1.0
SHORTEST_TICK_SECONDS = 0.02
GRANTED_BYTES = 64 * 1024  # what a look at the bounds is good for, about a hundred exposures
STUCK_SECONDS = 30.0  # without an answer from the disk; a volume's snapshot freezes it for some seconds

log = Log("abside.spool")


def no_account() -> Sequence[bytes]:
    """Add nothing at a seal."""
    return ()


class Spool:
    """The one owner of a spool directory; open it with `Spool.open`.

    `before_seal` returns payloads that are appended at each seal, whatever the quota; where they cannot be written they
    are kept and written at the next, and the hook is not asked again until then.
    """

    def __init__(
        self,
        settings: SpoolSettings,
        folder: Folder,
        backlog: Backlog,
        stats: SpoolStats,
        calendar: Calendar,
        *,
        boot: str,
        seq: int,
        monotonic: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.backlog = backlog
        self.stats = stats
        self._limit_bytes = settings.limit_bytes  # beside the hot path, not behind two names
        self._max_open_bytes = settings.max_open_bytes
        self._seal_bytes = settings.seal_bytes  # of the open segment: `_start` sets them
        self._seal_events = settings.seal_events
        self.before_seal: Callable[[], Sequence[bytes]] = no_account
        self._folder = folder
        self.calendar = calendar
        self._upkeep = SpoolUpkeep(folder, backlog.dead, calendar, stats)
        self._returning = Returning(settings, folder, backlog, stats)
        self.beside = Beside(settings, folder, backlog, stats, monotonic)
        self._room = Room(settings)
        self._room.note(free_bytes_of(folder.queue, stats))
        self._starting = Starting(folder.open, boot, seq)
        self._monotonic = monotonic
        self._open: OpenFile | None = None
        durable = settings.fsync != "never"
        self._sealing = Sealing(folder.queue, backlog, stats, self._mark, monotonic, durable=durable)
        self._owed: list[bytes] = []  # frames of accounts a failing disk did not take
        self._granted = 0  # bytes that may be appended without a look at quota, bounds and disk
        self._since: float | None = None  # of the first event, or first refusal, that no seal has covered
        self._durable = 0  # of stats.appended_bytes: what has survived the loss of power
        self._undurable = 0  # highest position whose fsync failed; waiters at or below it get SpoolFailed
        self._disk = asyncio.Lock()
        self._turning = asyncio.Lock()  # who changes the open file; nobody waits for `_disk` while having it
        self._due = asyncio.Event()
        self._full = asyncio.Event()
        self._closed = False
        self._trouble = ""  # why there is no file to append to
        self._write_failed: tuple[str, int] = ("", 0)  # the last one, and how much had been appended then
        self._busy_since: float | None = None  # a thread waits for the disk since then
        self._start(self._created())

    @classmethod
    def open(
        cls,
        settings: SpoolSettings,
        boot: str,
        now_us: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Own the directory and recover what is in it. `boot` names this process: random, `[A-Za-z0-9_-]{1,32}`.

        Raises SpoolBusy when another process owns it, SpoolFailed when it cannot be made.
        """
        if not BOOT.match(boot):
            raise ValueError(f"boot id {boot!r} names files: it must have 1 to 32 of A-Z a-z 0-9 _ -")
        folder = claim(settings.directory, settings.open_directory)
        stats = SpoolStats()
        calendar = Calendar(now_us, monotonic, folder.aged_us)
        dead = Dead(folder.dead, settings, stats, calendar.now_us)
        seq = max(highest_seq(folder), min(now_us(), MAX_SEQ))
        sealed = recover(folder, dead, stats, durable=settings.fsync != "never")
        return cls(
            settings,
            folder,
            Backlog(sealed, dead, stats, settings.seal_growth),
            stats,
            calendar,
            boot=boot,
            seq=seq,
            monotonic=monotonic,
        )

    @property
    def used_bytes(self) -> int:
        """What counts against the quota: the open segment, those being sealed, the sealed ones, and those beside."""
        length = 0 if self._open is None else self._open.length
        return self.backlog.bytes + self.beside.bytes + self._sealing.bytes + length

    @property
    def waiting(self) -> Waiting:
        """What waits to be shipped."""
        oldest = self.backlog.oldest()
        held = self.backlog.bytes - self.backlog.undeleted_bytes
        return Waiting(len(self.backlog), held, None if oldest is None else oldest.written_us)

    @property
    def trouble(self) -> str:
        """Why events may not get from here to the shipper, or not into it; empty while all is well."""
        if self._busy_since is not None and self._monotonic() - self._busy_since >= STUCK_SECONDS:
            return f"the disk has not answered for {self._monotonic() - self._busy_since:.0f} s"
        words, appended = self._write_failed
        return self._trouble or self._sealing.trouble or (words if appended == self.stats.appended_events else "")

    def sealed(self) -> list[Segment]:
        """List the sealed segments, oldest first."""
        return self.backlog.sealed()

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads in one write, or none: when this returns they survive the death of the process.

        Raises SpoolFull, SpoolFailed, or PayloadSizeError for a payload no frame can carry: all of them SpoolRefused.
        """
        try:
            self._append(payloads)
        except SpoolRefused as exc:
            self.stats.refused(exc, len(payloads))
            raise

    def append_each(self, payloads: Sequence[bytes]) -> tuple[list[bool], SpoolRefused] | None:
        """Write all payloads in one write; where they cannot be written together, one by one.

        None when all of them are in; else which are, and why the others are not.
        """
        try:
            self._append(payloads)
        except SpoolRefused as exc:
            why = exc
        else:
            return None
        is_in = []
        for payload in payloads:
            try:
                self._append([payload])
            except SpoolRefused as exc:
                self.stats.refused(exc, 1)
                is_in.append(False)
            else:
                is_in.append(True)
        return is_in, why

    def _append(self, payloads: Sequence[bytes]) -> None:
        data = frame(payloads[0]) if len(payloads) == 1 else b"".join(map(frame, payloads))
        if len(data) > self._granted:
            self._grant(len(data))
        opened = self._write(data, len(payloads))
        if opened.length >= self._seal_bytes or opened.events >= self._seal_events:
            self._full.set()
            self._due.set()

    def _grant(self, size: int) -> None:
        """Look at all that bounds an append of `size`, and grant it and more: what is granted needs no further look.

        Raises SpoolFull.
        """
        if self._since is None:
            self._since = self._monotonic()
        self._look_again()
        length = 0 if self._open is None else self._open.length
        unsealed = self._sealing.bytes + length
        used = self.backlog.bytes + self.beside.bytes + unsealed
        left = min(self._limit_bytes - used, self._max_open_bytes - unsealed, self._room.budget)
        if size > left:
            self._room.admit(size, used, length, self._sealing.bytes)
        self._granted = max(size, min(left, GRANTED_BYTES))
        self._room.budget -= self._granted

    def _look_again(self) -> None:
        """Take back what was granted: the next append is looked at."""
        self._room.budget += self._granted
        self._granted = 0

    def seal_due(self, now: float) -> bool:
        """Return whether something should be sealed at `now` (the monotonic clock's seconds)."""
        return len(self._sealing) > 0 or self._is_full() or self._is_aged(now)

    def _is_aged(self, now: float) -> bool:
        """Whether what was appended has waited long enough to be sealed, however little it is."""
        if self._since is None:
            return False
        age = now - self._since
        if age < self.settings.seal_seconds or (age < self.settings.quiet_seconds and self._is_quiet()):
            return False
        return len(self.backlog) < self.settings.max_waiting_for_age_seal

    def _is_quiet(self) -> bool:
        """Whether the open segment has so little that it may wait for more."""
        opened = self._open
        return opened is None or (opened.events < QUIET_EVENTS and opened.length < QUIET_BYTES)

    async def seal(self) -> None:
        """Turn what was appended so far into a sealed segment. Raises SpoolFailed; nothing is lost by it."""
        async with self._disk_turn():
            await self._settle()  # what waits, and what an interrupted or failed seal left
            async with self._turning:
                if not self._closed and self._has_something():
                    self._rotate(await self._next_file())
            await self._settle()

    async def _seal_what_is_due(self, now: float) -> None:
        """Seal what was put up for it or has its size, and what is old enough. Raises SpoolFailed."""
        async with self._disk_turn():
            await self._go_on()
            await self._settle()
        if self._is_full():  # meanwhile
            self._due.set()
        if self._is_aged(now):
            await self.seal()

    async def run_ahead(self) -> None:
        """Begin the next file as soon as the open one has its size, while `run` waits for the disk: until cancelled."""
        while True:
            await self._full.wait()
            self._full.clear()
            await self._go_on()
            self._due.set()

    async def _go_on(self) -> None:
        """Put the open file up for sealing if it has its size, and begin the next.

        Where too many wait already, it grows on, to the bound beyond which appends are refused.
        """
        async with self._turning:
            if not self._closed and self._is_full() and self._may_be_put_up():
                self._has_something()  # the account goes with it
                self._rotate(await self._next_file())

    def _may_be_put_up(self) -> bool:
        """Whether the open file may be put up beside those that wait.

        From a directory of its own, files are copied to the spool's disk one by one: a disk that takes its time for
        each gets few large ones.
        """
        if not len(self._sealing) or self._open is None:
            return True
        if self.settings.open_directory is not None and self._open.length < self._max_open_bytes // 2:
            return False
        return self._sealing.has_room

    def _is_full(self) -> bool:
        opened = self._open
        if opened is None or not opened.events:
            return False
        return opened.events >= self._seal_events or opened.length >= self._seal_bytes

    async def synced(self) -> None:
        """Wait until what was appended is as durable as the policy `always` promises; at once under the others.

        Callers that wait together share one fdatasync. Raises SpoolFailed when the disk could not.
        """
        if self.settings.fsync == "always":
            await self.sync()

    async def sync(self) -> None:
        """Make what was appended so far survive the loss of power. Raises SpoolFailed."""
        target = self.stats.appended_bytes
        if self._undurable < target <= self._durable:
            return
        async with self._disk_turn():
            with suppress(SpoolFailed):  # it concerns an older file: what follows does not depend on it
                await self._settle()
            if target <= self._undurable:
                raise SpoolFailed("make durable the contents of", self._folder.open, self.stats.last_failure)
            files = self._sealing.marked  # those behind one that cannot be sealed
            if self._open is not None:
                files.append((self._open, self.stats.appended_bytes))
            for file, mark in files:
                if self._durable >= target:
                    return
                problem = await file.synced()
                self._mark(mark, problem)
                if problem is not None:
                    raise SpoolFailed("make durable", file.path, problem) from problem

    async def run(self) -> None:
        """Seal by size, count and age, sync by interval, and look after the directory: until cancelled.

        Raises SpoolTaken when the directory is not ours any more: this process then owns nothing of it.
        """
        tick = min(LONGEST_TICK_SECONDS, self.settings.seal_seconds / 4, self.settings.fsync_seconds)
        tick = max(SHORTEST_TICK_SECONDS, tick)
        synced_at = self._monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(tick):
                    await self._due.wait()
            self._due.clear()
            now = self._monotonic()
            try:
                await self._look()
                if self.seal_due(now):
                    await self._seal_what_is_due(now)
                if self._dirty and now - synced_at >= self.settings.fsync_seconds:
                    synced_at = now
                    await self.sync()
            except SpoolFailed:  # counted where it happened
                await asyncio.sleep(tick)
            await self._returning.look(self.used_bytes)
            self._look_again()
            await self.backlog.tidy()

    async def take_beside(self) -> None:
        """Look once at what processes beside this one wrote, and take what is to be taken."""
        if not self._closed:
            await self.beside.look(self.used_bytes, self._room.budget)

    async def run_beside(self) -> None:
        """Look at it until cancelled."""
        while True:
            await self.take_beside()
            await asyncio.sleep(self.beside.pause_seconds)

    async def close(self) -> None:
        """Seal what is open and release the directory. What could not be sealed is recovered at the next start."""
        if self._closed:
            return
        with suppress(SpoolFailed):
            if len(self._sealing) or (self._open is not None and self._open.events):
                await self.seal()
        await self._let_go()

    async def _let_go(self) -> None:
        """Close every file and the locks. What is not sealed is recovered by the next owner."""
        async with self._turning:
            await self._starting.end()
            self._closed = True
        for file, _ in self._sealing.marked:
            file.discard()
        if self._open is not None:
            self._open.discard()
        self._open = None
        self._folder.release()

    async def _look(self) -> None:
        """Look after the files around the open one. Raises SpoolTaken, SpoolFailed."""
        async with self._disk_turn():
            opened = self._open
            look = await asyncio.to_thread(self._upkeep.look, opened)
        if look.lost_lock is not None:
            await self._give_up(look.lost_lock)
        self._room.note(look.free_bytes)
        self._granted = 0
        if look.adrift and opened is self._open:
            log.error("open_file_removed", consequence="its events are copied from its descriptor")
            await self._replace()

    async def _replace(self) -> None:
        """Leave a file whose name somebody removed: its events are sealed, and the next file has a name."""
        if self._open is not None and self._open.events:
            await self.seal()
            return
        async with self._disk_turn(), self._turning:
            fresh = await self._next_file()
            if self._open is not None and not self._open.events:
                self._open.discard()
                self._open = None
            if self._open is None:
                self._start(fresh)
            elif fresh is not None:  # an append came meanwhile
                fresh.discard()

    async def _give_up(self, lock: Path) -> None:
        """Save what was accepted, then touch nothing more: the directory may be another's. Raises SpoolTaken."""
        self.before_seal = no_account
        with suppress(SpoolFailed):  # the next owner recovers it
            await self.seal()
        await self._let_go()
        self.backlog.abandon()
        self._trouble = str(SpoolTaken(lock))
        raise SpoolTaken(lock)

    @asynccontextmanager
    async def _disk_turn(self) -> AsyncIterator[None]:
        """Allow one job at a time to wait for the disk, and note since when it does."""
        async with self._disk:
            self._busy_since = self._monotonic()
            try:
                yield
            finally:
                self._busy_since = None

    @property
    def _dirty(self) -> bool:
        return self.settings.fsync == "interval" and self._durable < self.stats.appended_bytes

    def _write(self, data: bytes, events: int) -> OpenFile:
        """Write frames to the open file, starting one where there is none. Raises SpoolFailed."""
        opened, stats = self._open, self.stats
        try:
            if opened is None:
                opened = self._open = self._create()
                self._trouble = ""
            opened.write(data, events)
        except SpoolFailed as exc:
            stats.failed(exc)
            self._write_failed = (str(exc), stats.appended_events)
            raise
        size = len(data)
        self._granted -= size
        stats.appended_events += events
        stats.appended_bytes += size
        return opened

    def _create(self) -> OpenFile:
        if self._closed:
            raise SpoolFailed("append to", self._folder.open, "the spool is closed")
        return self._starting.now()

    def _created(self) -> OpenFile | None:
        try:
            return self._create()
        except SpoolFailed as exc:
            self._cannot_begin(exc)
            return None

    async def _next_file(self) -> OpenFile | None:
        """Make the next file in a thread, so that no append has to; None where none can be made."""
        try:
            return await self._starting.soon()
        except SpoolFailed as exc:
            self._cannot_begin(exc)
            return None

    def _cannot_begin(self, problem: SpoolFailed) -> None:
        self.stats.failed(problem)
        self._trouble = str(problem)

    def _has_something(self) -> bool:
        """Add the account, and return whether there is anything to seal."""
        self._owed = self._owed or self._framed(self.before_seal())
        if self._owed:
            try:
                self._write(b"".join(self._owed), len(self._owed))
                self._owed = []
            except SpoolFailed as exc:  # owed until it is written
                self.stats.refused(exc, len(self._owed))
        if self._open is not None and self._open.events:
            return True
        self._since = self._monotonic() if self._owed else None
        self._look_again()
        return False

    def _rotate(self, fresh: OpenFile | None) -> None:
        """Put the open file up for sealing, and go on with a fresh one."""
        self._since = self._monotonic() if self._owed else None
        if self._open is not None:
            self._sealing.put_up(self._open, self.stats.appended_bytes)
        self._start(fresh)

    def _framed(self, payloads: Sequence[bytes]) -> list[bytes]:
        frames: list[bytes] = []
        for payload in payloads:
            try:
                frames.append(frame(payload))
            except PayloadSizeError as exc:  # an account that is too large must not keep events from being sealed
                self.stats.failed(exc)
        return frames

    def _start(self, fresh: OpenFile | None) -> None:
        """Append to a fresh file from now on; where there is none, the next append tries to make one.

        The more segments wait, the larger it may grow: fewer, larger batches catch up with what comes in. But not near
        the bound beyond which appends are refused: a seal takes its time.
        """
        settings = self.settings
        behind = max(0, len(self._sealing) - 1)  # the one at work does not wait
        growth = min(self.backlog.growth, 1 + len(self.backlog) + behind)
        self._seal_bytes = max(settings.seal_bytes, min(growth * settings.seal_bytes, settings.max_open_bytes // 2))
        self._seal_events = growth * settings.seal_events
        self._look_again()
        self._open = fresh
        if fresh is not None:
            self._trouble = ""

    async def _settle(self) -> None:
        """Bring what waits to be sealed by now to its end. Raises SpoolFailed; it is then tried again later."""
        mark = self.stats.appended_bytes
        while any(reaches <= mark for _, reaches in self._sealing.marked):
            await self._sealing.settle()

    def _mark(self, position: int, problem: OSError | None) -> None:
        """Note that everything up to `position` is durable, or that this cannot be known any more."""
        if problem is not None:
            self.stats.failed(problem)
            self._undurable = max(self._undurable, position)
        self._durable = max(self._durable, position)
