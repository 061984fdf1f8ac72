"""The snapshot as calls keep it true: one `stat` every 100 ms, a new one read a little with each call."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from abside.sidecar.active.watch import SnapshotWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from abside.sidecar.active.current import Cell, Current

LOOK_US = 100_000  # between two looks at the file
SLICE_NS = 10_000  # of reading and building, on one call: as long as two decisions with their writes
PATIENCE_US = 250_000  # then a call finishes it: whoever asks rarely gets a pause with that call too


class Following:
    """Looks when a call finds `from_us <= now < until_us` untrue. For all threads of a process: one of them works."""

    def __init__(self, path: Path, cell: Cell, clock: Callable[[], int], applied: Callable[[Current], None]) -> None:
        self._watch = SnapshotWatch(path, cell, clock, applied)
        self._cell = cell
        self._work: Generator[None, None, None] | None = None
        self._begun_us = 0
        self._turn = threading.Lock()
        self.from_us = self.until_us = 0

    def go_on_from(self, parent: Following) -> None:
        """Know what the following of the same file in a parent process has read; the cell has to have it."""
        self._watch.go_on_from(parent._watch)

    def look(self, now_us: int, *, whole: bool = False) -> None:
        """Look at the file, or go on with what a look found; `whole`: to its end. Never raises."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._work is None:
                self._work, self._begun_us = self._watch.look(), now_us
            whole = whole or self._cell.current is None or not 0 <= now_us - self._begun_us < PATIENCE_US
            if _finished(self._work, None if whole else time.perf_counter_ns() + SLICE_NS):
                self._work = None
                due_us = self._watch.due_us
                self.from_us = now_us
                self.until_us = now_us + LOOK_US if due_us is None else min(now_us + LOOK_US, due_us)
        finally:
            self._turn.release()


def _finished(work: Generator[None, None, None], until_ns: int | None) -> bool:
    """Work until it is done, or time is up; return whether it is done."""
    return all(until_ns is None or time.perf_counter_ns() < until_ns for _ in work)
