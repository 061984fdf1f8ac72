"""Follows the snapshot file on the event loop: reads in slices, and applies scheduled changes on time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.sidecar.active.slices import in_slices
from abside.sidecar.active.watch import SnapshotWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.sidecar.active.current import Cell, Current

SHORTEST_WAIT_SECONDS = 0.001  # the loop's clock and the wall's do not tick together: no spinning before a change


class Follower:
    """Looks every `poll_seconds`, and when a change is due; the arguments are those of SnapshotWatch."""

    def __init__(
        self, path: Path, cell: Cell, clock: Callable[[], int], poll_seconds: float, applied: Callable[[Current], None]
    ) -> None:
        self._watch = SnapshotWatch(path, cell, clock, applied)
        self._clock = clock
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._wait_seconds())

    async def look(self) -> None:
        """Look once."""
        await in_slices(self._watch.look())

    def _wait_seconds(self) -> float:
        due_us = self._watch.due_us
        if due_us is None:
            return self._poll_seconds
        return max(SHORTEST_WAIT_SECONDS, min(self._poll_seconds, (due_us - self._clock()) / 1e6))
