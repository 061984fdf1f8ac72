"""A sidecar that hangs: after three timeouts in a row one call a second waits for it, the others fall back at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from abside.client.result import CallFailed

if TYPE_CHECKING:
    from collections.abc import Callable

IN_A_ROW = 3  # fewer may be chance: a pause of the garbage collector, a busy node
PROBE_EVERY_SECONDS = 1.0  # a thread loses one deadline a second, not all of its calls
FIRST_PROBE_SECONDS = 0.1  # then twice as long each time: a sidecar that starts answers within a quarter of a second
NOT_WAITED = "NOT_WAITED"  # the code of a call that fell back at once


class Hanging:
    """The timeouts in a row, of all calls of a process. Thread-safe. `clock` returns seconds.

    A call that may take longer than every one that timed out still waits: nothing is known of it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may call within a call
        self._longest_seconds = 0.0  # of the deadlines that passed in a row
        self._probe_from = 0.0
        self._pause_seconds = FIRST_PROBE_SECONDS
        self._last = 0.0  # when the last one that counts ended
        self.timeouts = 0  # in a row; read without the lock: the hot path

    def check(self, seconds: float) -> None:
        """Raise CallFailed, a timeout, where a call of that deadline is not to wait."""
        if self.timeouts < IN_A_ROW or seconds > self._longest_seconds:
            return
        now = self._clock()
        with self._lock:
            if self.timeouts < IN_A_ROW:
                return
            if now >= self._probe_from:
                self._pause_seconds = min(2 * self._pause_seconds, PROBE_EVERY_SECONDS)
                self._probe_from = now + self._pause_seconds
                return
        raise CallFailed("timeout", "not waited for: the last three calls or more had no answer in time", NOT_WAITED)

    def failed(self, failed: CallFailed, seconds: float, since: float) -> None:
        """Take note of how a call failed that waited `seconds` at most; what is no timeout shows that nothing hangs.

        `since` is when it began. Of calls that waited at the same time one counts: a pause of this process ends many.
        """
        if failed.why != "timeout":
            self.answered()
            return
        now = self._clock()
        with self._lock:
            self._longest_seconds = max(self._longest_seconds, seconds)
            if self.timeouts and since < self._last:
                return
            self.timeouts += 1
            self._last = now
            if self.timeouts == IN_A_ROW:
                self._pause_seconds = FIRST_PROBE_SECONDS
                self._probe_from = now + FIRST_PROBE_SECONDS

    def answered(self) -> None:
        """Take note of an answer."""
        if self.timeouts:
            with self._lock:
                self.timeouts = 0
                self._longest_seconds = 0.0
