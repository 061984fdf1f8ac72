"""What is looked at beside the appends, every second or so and in a thread: the disk may take its time to answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from abside.log import Log
from abside.spool.folder import problem_of
from abside.spool.write.room import free_bytes_of

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.folder import Folder
    from abside.spool.queue.dead import Dead
    from abside.spool.settings import SpoolStats
    from abside.spool.write.calendar import Calendar
    from abside.spool.write.openfile import OpenFile

MARK_US = 60_000_000  # how often LOCK gets the time: after a restart it is a minute old at most

log = Log("abside.spool")


@dataclass(frozen=True, slots=True)
class Look:
    """What was found: a lock that is not ours any more, free bytes, whether the open file lost its name."""

    lost_lock: Path | None
    free_bytes: int | None
    adrift: bool


class SpoolUpkeep:
    """Looks after the files around the open one: who owns the directory, the free space, the age of dead/."""

    def __init__(self, folder: Folder, dead: Dead, calendar: Calendar, stats: SpoolStats) -> None:
        self._folder = folder
        self._dead = dead
        self._calendar = calendar
        self._stats = stats
        self._marked_us: int | None = None
        self._jump_logged = False
        self._mark(calendar.now_us())

    def look(self, opened: OpenFile | None) -> Look:
        """Look at everything once; remove from dead/ what is too much or too old. For a thread."""
        lost = self._folder.lost()
        if lost is not None:
            return Look(lost, None, adrift=False)
        for directory in (self._folder.queue, self._folder.dead, self._folder.open):
            problem = problem_of(partial(directory.mkdir, parents=True, exist_ok=True))
            if problem is not None:
                self._stats.failed(problem)
        self._watch_clock()
        self._dead.prune()
        adrift = opened is not None and not opened.is_named
        return Look(None, free_bytes_of(self._folder.queue, self._stats), adrift)

    def _watch_clock(self) -> None:
        found_us = self._folder.age()
        if found_us is not None and self._marked_us not in {None, found_us}:
            self._calendar.trust(found_us)  # a person touched LOCK
        now_us = self._calendar.now_us()
        jump_seconds = self._calendar.jump_seconds
        if jump_seconds and not self._jump_logged:
            log.error(
                "clock_jumped",
                ahead_seconds=jump_seconds,
                consequence="nothing in dead/ is removed for its age by this clock",
                remedy=f"set the clock; or, where it is right, touch {self._folder.root / 'LOCK'}",
            )
        self._jump_logged = bool(jump_seconds)
        if self._marked_us is None or not 0 <= now_us - self._marked_us < MARK_US or found_us != self._marked_us:
            self._mark(now_us)

    def _mark(self, now_us: int) -> None:
        try:
            self._folder.mark(now_us)
        except OSError as exc:
            self._stats.failed(exc)
            self._marked_us = None
        else:
            self._marked_us = now_us
