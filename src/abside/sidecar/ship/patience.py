"""How long shipping waits for the upstream, and when a failure is logged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.log import Log
from abside.sidecar.ship.turns import Turns, wait_after
from abside.upstream.contract import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.sidecar.ship.shipping import ShipperSettings, ShipperStats

log = Log("abside.shipper")


class Patience:
    """The waits of one shipper. Every wait is in seconds; `stats` is kept true.

    After a failure all wait, then one batch goes alone (which one: `turns`), and each that arrives lets one more go
    beside it, up to `most`: an upstream in trouble is not asked eight times for one. `failures` numbers them: a batch
    is sent after so many (`after`), and what comes of one that was sent before the last of them is no news.
    """

    def __init__(self, settings: ShipperSettings, stats: ShipperStats, now_us: Callable[[], int], most: int) -> None:
        self.backoff = Backoff(settings.first_seconds, settings.longest_seconds)
        self._settings = settings
        self._stats = stats
        self._now_us = now_us
        self._unheard_since_us = 0  # since when only strangers or nobody answered; 0: not so
        self._logged_us = 0  # when a failure was last logged
        self.failures = 0
        self.in_flight = most  # so many may be now
        self._most = most
        self._until = 0.0  # the loop's time until which nothing is sent
        # Where only one may be in flight, the upstream may keep the order: none passes one that fails.
        self.turns = Turns(settings, now_us, apart=most > 1)

    def hurry(self) -> None:
        """Wait for less from now on: the process is about to end."""
        self.backoff = Backoff(self._settings.first_seconds, self._settings.drain_longest_seconds)
        self.turns.hurry()
        self._until = 0.0

    def pause(self, seconds: float) -> None:
        """Let nothing be sent for so long; a pause that lasts longer stays."""
        if seconds > 0.0:
            self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    def until_next(self) -> float:
        """Return how long nothing is sent yet."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def arrived(self, after: int) -> None:
        """Note that the upstream has a batch: waits are short again, unless it has failed since the batch was sent."""
        stats = self._stats
        stats.last_success_us = self._now_us()
        if after < self.failures:
            return
        self.turns.arrived()
        self.in_flight = min(self._most, self.in_flight + 1)
        if stats.failing_since_us:
            log.info("upstream_recovered", after_seconds=(stats.last_success_us - stats.failing_since_us) // 1_000_000)
        stats.failing_since_us, stats.loud, stats.wait_seconds = 0, "", 0.0
        self._unheard_since_us = 0
        self.backoff.reset()

    def later(self, retry: Retry, after: int, name: str = "") -> float:
        """Count a failed try, and return the wait before the next, for all but a segment whose trouble is its own.

        What was sent beside another that failed makes the wait longer only where its own answer asks for more.
        """
        stats = self._stats
        stats.retries += 1
        if name and self.turns.failed(name):
            stats.last_error = retry.reason
            self.turns.wait_alone(name, retry, self.backoff.chance)
            return 0.0
        if self._is_known(after):
            if not (retry.loud or retry.after_seconds):
                return 0.0
            self.backoff.attempt = max(0, self.backoff.attempt - 1)
        loud = retry.loud or self._lasts_unheard(retry)
        self._log_failure(retry, loud=loud)
        stats.last_error = retry.reason
        stats.loud = retry.reason if loud else ""
        stats.wait_seconds = wait_after(retry, self.backoff, self._settings)
        return stats.wait_seconds

    def breathe(self, after: int, least_seconds: float = 0.0) -> float:
        """Return the wait after a refusal: it grows until something arrives, so that no refuser is asked in a rush."""
        if self._is_known(after):
            return 0.0
        self._stats.wait_seconds = least_seconds + self.backoff.next_seconds()
        return self._stats.wait_seconds

    def alone(self, name: str, reason: str) -> float:
        """Make a segment wait by itself for a problem of its own; its neighbours need not wait."""
        self._stats.retries += 1
        self._stats.last_error = reason
        self.sleep(name, reason)
        return 0.0

    def sleep(self, name: str, reason: str) -> None:
        """Keep a segment from having a turn for a while, longer each time."""
        self.turns.wait_alone(name, Retry(reason), self.backoff.chance)

    def _is_known(self, after: int) -> bool:
        """Whether a failure is the last one once more, met by a batch that was sent before it; count a new one."""
        if after < self.failures:
            return True
        self.failures += 1
        self.in_flight = 1
        return False

    def _lasts_unheard(self, retry: Retry) -> bool:
        """Whether no upstream of ours has answered for so long that a person must look."""
        if not retry.unheard:
            self._unheard_since_us = 0
            return False
        now_us = self._now_us()
        self._unheard_since_us = self._unheard_since_us or now_us
        return now_us - self._unheard_since_us >= self._settings.loud_after_seconds * 1_000_000

    def _log_failure(self, retry: Retry, *, loud: bool) -> None:
        """Log a failure: when it begins, when its kind changes, and every REMIND_SECONDS while it lasts."""
        stats, now_us, address = self._stats, self._now_us(), self._settings.address
        lasts = now_us - self._logged_us >= self._settings.remind_seconds * 1_000_000
        begins = not stats.failing_since_us
        if begins:
            stats.failing_since_us = now_us
        for_seconds = (now_us - stats.failing_since_us) // 1_000_000
        if loud and (retry.reason != stats.loud or lasts):
            log.error("upstream_needs_a_person", reason=retry.reason, address=address, for_seconds=for_seconds)
        elif begins or lasts:
            log.warning("upstream_failing", reason=retry.reason, address=address, for_seconds=for_seconds)
        else:
            return
        self._logged_us = now_us
