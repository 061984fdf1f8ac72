"""Keeps the store small in files and days: merges finished days, drops old ones, and lets go of old batch ids."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from abside.collector.compact import Interrupted, compact, drop
from abside.collector.store import FileUnreadable, StoreFailed, date_of, day_folders
from abside.collector.writer import day_of, days_before
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from abside.collector.writer import Writer

log = Log("abside.collector.upkeep")
EVERY_SECONDS = 600.0  # a day may be merged a little late; asking costs one listing
SETTLE_US = 600 * 1_000_000  # after midnight: groups of yesterday are long written


class Upkeep:
    """`run` is a background task; `once` is its work. `clock` gives µs UTC."""

    def __init__(self, writer: Writer, clock: Callable[[], int], *, known_days: int, keep_days: int | None) -> None:
        self._writer = writer
        self._clock = clock
        self._known_days = known_days
        self._keep_days = keep_days
        self._stopping = threading.Event()
        self.last_error: str | None = None

    async def run(self) -> None:
        """Do what is due, for ever. When it is cancelled it leaves the store alone before it ends."""
        while True:
            self._writer.forget_before(days_before(self._clock(), self._known_days))
            # Reading and writing Parquet is C that releases the GIL.
            work = asyncio.get_running_loop().run_in_executor(None, self.once)
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:
                self._stopping.set()
                await asyncio.wait([work])
                raise
            await asyncio.sleep(EVERY_SECONDS)

    def once(self) -> None:
        """Drop the days beyond keeping and merge those that are finished. One bad day does not stop the others."""
        now_us = self._clock()
        keep_from = days_before(now_us, self._keep_days) if self._keep_days else None
        finished_before = day_of(now_us - SETTLE_US)
        self.last_error = None
        for folder in day_folders(self._writer.directory):
            day = date_of(folder)
            if day is None or self._stopping.is_set():
                continue
            try:
                if keep_from and day < keep_from:
                    files = drop(folder)
                    log.info("day_dropped", day=day.isoformat(), files=files)
                elif day < finished_before:
                    files = compact(folder, stopping=self._stopping.is_set)
                    if files:
                        log.info("day_merged", day=day.isoformat(), files=files)
            except Interrupted:
                log.info("merge_left_off", day=day.isoformat())
            except (StoreFailed, FileUnreadable, OSError) as exc:
                self._failed(day, exc)

    def _failed(self, day: date, error: Exception) -> None:
        self.last_error = f"{day.isoformat()}: {error}"
        log.error("upkeep_failed", day=day.isoformat(), reason=str(error))
