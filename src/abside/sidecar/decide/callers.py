"""The clock that callers agree on: where it is not the sidecar's own, their times are still theirs.

A sidecar whose clock is days ahead finds every caller's time too old, one that is behind finds them in the future. A
clock shows itself by going on: two refused times, some seconds apart, that differ by just those seconds, while no time
came that fits the sidecar's own clock. A replay of old events, or one body sent again and again, does not do that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

log = Log("abside.callers")
WATCH_US = 2_000_000  # between two times that are compared: long against what a request is late
AGREE_US = 1_000_000  # how often a time that fits is noted: below WATCH_US, and no cost to each event
MAX_DRIFT_US = 30_000_000  # by which the later may be off: events wait before they are sent


class CallersClock:
    """Learns the offset between callers' times and the monotonic clock (`monotonic_ns`, which no jump moves)."""

    __slots__ = ("_candidate", "_monotonic_ns", "_offset_us", "agreed_us")

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_us: int | None = None
        self.agreed_us = 0  # by the sidecar's clock, when a time last fitted it
        self._candidate: tuple[int, int] | None = None  # a refused time, and when it came

    def now_us(self) -> int | None:
        """Return now by the callers' clock, µs UTC; None while it is not known."""
        return None if self._offset_us is None else self._monotonic_ns() // 1000 + self._offset_us

    def agree(self, now_us: int) -> None:
        """Note a caller's time that fits the sidecar's clock; where that jumps afterwards, this is still known."""
        self._offset_us = now_us - self._monotonic_ns() // 1000
        self._candidate = None
        self.agreed_us = now_us

    def disagree(self, ts_us: int, now_us: int) -> bool:
        """Note a time that is refused; return whether it shows the callers' clock, which then judges it."""
        came_us = self._monotonic_ns() // 1000
        if self._candidate is None:
            self._candidate = (ts_us, came_us)
            return False
        passed_us = came_us - self._candidate[1]
        if passed_us < WATCH_US:
            return False
        went_on_us = ts_us - self._candidate[0]
        if abs(went_on_us - passed_us) > min(passed_us // 2, MAX_DRIFT_US):
            self._candidate = (ts_us, came_us)
            return False
        self._offset_us = ts_us - came_us
        log.warning(
            "clock_differs",
            callers_behind_seconds=(now_us - ts_us) // 1_000_000,
            consequence="their times are taken; look at this node's clock",
        )
        return True
