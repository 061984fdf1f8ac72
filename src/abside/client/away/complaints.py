"""Lines in the application's log: each code and field once a minute, with the remedy."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.client.result import CallFailed

LOG_EVERY_SECONDS = 60.0  # for each reason, code and field
MAX_APART = 100  # that many have a minute of their own; what is new beyond it shares its reason's
MAX_SENTENCE_CHARS = 300
MAX_NAME_CHARS = 64

log = logging.getLogger("abside.client")


class Complaints:
    """What was logged, and when. Thread-safe. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler may call within a call
        self._from: dict[tuple[str, str | None, str | None], float] = {}

    def failed(self, what: str, failed: CallFailed) -> None:
        """Log why a call failed. The sidecar's sentence has no shopper's id and no attribute's value: so nor has this.

        What is no answer of the sidecar is never repeated.
        """
        key = (failed.why, failed.code, failed.path)
        if self._is_due(key):
            line = "%s reason=%s code=%s field=%s detail=%r said_again_after_seconds=60"
            log.warning(line, what, failed.why, failed.code, failed.path, failed.sentence[:MAX_SENTENCE_CHARS])

    def left_out(self, name: str, reason: str) -> None:
        """Log that an attribute is not sent; the reason has no value."""
        if self._is_due(("left out", None, name)):
            log.warning("left out attribute=%r because=%r said_again_after_seconds=60", name[:MAX_NAME_CHARS], reason)

    def _is_due(self, key: tuple[str, str | None, str | None]) -> bool:
        now = self._clock()
        with self._lock:
            if key not in self._from and len(self._from) >= MAX_APART:
                self._from = {one: until for one, until in self._from.items() if now < until}
                if len(self._from) >= MAX_APART:
                    key = (key[0], None, None)
            if now < self._from.get(key, now):
                return False
            self._from[key] = now + LOG_EVERY_SECONDS
            return True
