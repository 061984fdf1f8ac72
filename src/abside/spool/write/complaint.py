"""A fault that repeats: in the log at once, and then once a minute with how often it came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET_SECONDS = 60.0

log = Log("abside.spool")


class Complaint:
    """One kind of fault. `monotonic` returns seconds."""

    def __init__(self, event: str, monotonic: Callable[[], float]) -> None:
        self._event = event
        self._monotonic = monotonic
        self._quiet_until = float("-inf")
        self._times = 0

    def __call__(self, **fields: Any) -> None:
        """Log the fault, or count it for the next line."""
        self._times += 1
        if self._monotonic() >= self._quiet_until:
            log.error(self._event, times=self._times, **fields)
            self._quiet_until = self._monotonic() + QUIET_SECONDS
            self._times = 0
