"""Keeps the store small in files and days: merges small files, drops old days, and forgets old batch ids.

A round every ten minutes merges the files of the time since the last one. Once a day is over, its merged files are
merged once more, into one.

The clock decides which day is today and nothing more: ages count from the newest day of the store itself. Where the
two disagree, or that day is far from the others, nothing is dropped until a person has looked.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

from abside.collector.keep import clock_jump
from abside.collector.keep.aside import set_aside
from abside.collector.keep.calendar import GAP_DAYS, ONE_DAY, doubtful
from abside.collector.keep.census import Census, census
from abside.collector.keep.compact import Interrupted, drop, merge, publish
from abside.collector.keep.writer import day_of
from abside.collector.store import ARCHIVED, NEXT, FileUnreadable, StoreFailed, date_of, day_folders, reason_of
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from abside.collector.keep.archiving import Archiving
    from abside.collector.keep.writer import Writer

log = Log("abside.collector.keep.upkeep")
EVERY_SECONDS = 600.0  # 144 files a day
SETTLE_US = 600 * 1_000_000  # after midnight: groups of yesterday are long written


class Upkeep:
    """`run` is a background task; `once` is its work. `clock` returns µs UTC."""

    def __init__(
        self,
        writer: Writer,
        clock: Callable[[], int],
        *,
        known_days: int,
        keep_days: int | None,
        every_seconds: float = EVERY_SECONDS,
        archiving: Archiving | None = None,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._known_days = known_days
        self._keep_days = keep_days
        self._every_seconds = every_seconds
        self._archiving = archiving
        self._stopping = threading.Event()
        self._at_rest: dict[date, tuple[bool, frozenset[str]]] = {}  # days that had nothing to do, as they were
        self.last_error: str | None = None
        self.census = Census()  # as the last round left the store
        self.rounds = 0
        self.seconds = 0.0  # that they took together
        self.merged_files = 0
        self.kept_days = 0  # beyond keeping, because the archive does not have all of them
        self.clock_problem: str | None = None  # what store and clock do not agree on; nothing is dropped meanwhile

    async def run(self) -> None:
        """Do what is due, for ever. When it is cancelled it leaves the store alone before it ends."""
        while True:
            self._writer.forget(self._known_days)
            await self.round()
            if self._archiving:
                self._archiving.due()
            await asyncio.sleep(self._every_seconds)

    async def round(self) -> None:
        """Do what is due once. When it is cancelled it leaves the store alone before it ends."""
        self._stopping.clear()
        # Reading and writing Parquet is C that releases the GIL.
        work = asyncio.get_running_loop().run_in_executor(None, self._timed)
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stopping.set()
            await asyncio.wait([work])
            raise

    def _timed(self) -> None:
        began = time.monotonic()
        self.once()
        with suppress(OSError):  # the figures stay as they were
            self.census = census(self._writer.directory)
        self.rounds += 1
        self.seconds += time.monotonic() - began

    def once(self) -> None:
        """Drop days beyond keeping and merge the small files of the others. One bad day does not stop the rest."""
        try:
            self._writer.check_owned()
        except StoreFailed as exc:
            log.error("store_not_owned", reason=str(exc))
            self.last_error = str(exc)
            return
        now_us = self._clock()
        finished_before = day_of(now_us - SETTLE_US)
        folders = {day: folder for folder in day_folders(self._writer.directory) if (day := date_of(folder))}
        self.last_error = None
        keep_from = self._keep_from(list(folders), day_of(now_us))
        self.kept_days = 0
        for day, folder in folders.items():
            if self._stopping.is_set():
                return
            try:
                is_old = bool(keep_from and day < keep_from)
                if not is_old or self._archiving:
                    self._merge(day, folder, is_over=day < finished_before)
                if is_old:
                    self._drop(day, folder)
            except Interrupted:
                log.info("merge_left_off", day=day.isoformat())
            except (StoreFailed, FileUnreadable, OSError) as exc:
                self._failed(day, exc)
            except Exception as exc:  # noqa: BLE001 a bug met in one day: the others are looked after all the same
                log.crash("upkeep_failed", exc, day=day.isoformat())
                self.last_error = f"{day.isoformat()}: {type(exc).__name__}, see the log"

    def _drop(self, day: date, folder: Path) -> None:
        """Drop a day, unless the archive does not have all of it."""
        if self._archiving and (missing := self._archiving.archive.missing(folder)):
            self.kept_days += 1
            log.error("day_not_dropped", day=day.isoformat(), files_not_archived=len(missing))
            return
        log.info("day_dropped", day=day.isoformat(), files=drop(folder))
        self._at_rest.pop(day, None)

    def _merge(self, day: date, folder: Path, *, is_over: bool) -> None:
        """Finish what the round before merged, then merge what has come since."""
        names = frozenset(path.name for path in folder.iterdir())
        if self._at_rest.get(day) == (is_over, names):
            return
        # What is in an archive is merged once only: its copy has the name of these very batches.
        again = is_over and not self._archiving and ARCHIVED not in names
        published = self._apart_from_damaged(day, partial(publish, folder))
        merged = self._apart_from_damaged(day, partial(merge, folder, again=again, stopping=self._stopping.is_set))
        if merged:
            self.merged_files += merged
            log.info("day_merged", day=day.isoformat(), files=merged)
        if not published and not merged and not any(name.endswith(NEXT) for name in names):
            self._at_rest[day] = (is_over, names)

    def _apart_from_damaged(self, day: date, work: Callable[[], int]) -> int:
        """Do the work. A damaged file is set aside, and the others are worked on without it."""
        while True:
            try:
                return work()
            except FileUnreadable as exc:
                if not set_aside(exc):
                    raise
                self.last_error = f"{day.isoformat()}: {exc}; it is set aside"

    def _keep_from(self, days: Sequence[date], today: date) -> date | None:
        """Return the first day that is kept; None to keep all."""
        waits = ahead = None
        try:
            waits = self._waits_for(days, today)
        except (OSError, ValueError) as exc:
            reason = reason_of(exc) if isinstance(exc, OSError) else str(exc)
            waits = f"{clock_jump.NAME} or what confirms it cannot be read or written; nothing is dropped: {reason}"
        newest = max(days, default=today)
        if today > newest + timedelta(GAP_DAYS):
            ahead = f"the clock says {today}, the newest day of the store is {newest}: ages count from that one"
        problem = waits or ahead
        if problem and problem != self.clock_problem:
            log.error("clock_doubted", reason=problem)
        self.clock_problem = problem
        if waits or self._keep_days is None:
            return None
        return newest - min(timedelta(self._keep_days), newest - date.min)

    def _waits_for(self, days: Sequence[date], today: date) -> str | None:
        """Return a sentence: why nothing is dropped until a person has looked. Raises OSError, ValueError."""
        store = self._writer.directory
        if self._keep_days is not None:
            first = doubtful(days, keep_days=self._keep_days, confirmed=clock_jump.confirmed(store))
            if first and not clock_jump.is_open(store):
                clock_jump.keep_all(store, first)
            if clock_jump.is_open(store):
                return (
                    f"days of the store lie far from those before: the clock jumped, or nothing came for long. "
                    f"{store / clock_jump.NAME} waits for a person and says what to do; nothing is dropped meanwhile"
                )
        newest = max(days, default=today)
        if newest > today + ONE_DAY:
            return f"the clock says {today}, the store holds days up to {newest}: nothing is dropped until they agree"
        return None

    def _failed(self, day: date, error: Exception) -> None:
        self.last_error = f"{day.isoformat()}: {error}"
        log.error("upkeep_failed", day=day.isoformat(), reason=str(error))
