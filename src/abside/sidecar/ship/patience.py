"""How long shipping waits, for the upstream or for one segment alone; and when a failure is logged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.sidecar.ship.shipping import ShipperSettings, ShipperStats
    from abside.upstream.contract import Retry

log = Log("abside.shipper")


class Patience:
    """The waits of one shipper. Every wait is in seconds; `stats` is kept true.

    After a failure all wait, then one batch goes alone, and each that arrives lets one more go beside it, up to `most`:
    an upstream in trouble is not asked eight times for one. `failures` numbers them: a batch is sent after so many
    (`after`), and what comes of one that was sent before the last of them is no news of the upstream.
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
        self._own: dict[str, Backoff] = {}  # of segments in trouble of their own
        self._due: dict[str, float] = {}  # the loop's time at which each of them has its turn

    def hurry(self) -> None:
        """Wait for less from now on: the process is about to end."""
        self.backoff = Backoff(self._settings.first_seconds, self._settings.drain_longest_seconds)
        self._due.clear()
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
        self.in_flight = min(self._most, self.in_flight + 1)
        if stats.failing_since_us:
            log.info("upstream_recovered", after_seconds=(stats.last_success_us - stats.failing_since_us) // 1_000_000)
        stats.failing_since_us, stats.loud, stats.wait_seconds = 0, "", 0.0
        self._unheard_since_us = 0
        self.backoff.reset()

    def later(self, retry: Retry, after: int) -> float:
        """Count a failed try, and return the wait before the next.

        What was sent beside another that failed makes the wait longer only where its own answer asks for more.
        """
        stats = self._stats
        stats.retries += 1
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
        """Make a segment wait by itself, longer each time, for a problem of its own; its neighbours need not wait."""
        self._stats.retries += 1
        self._stats.last_error = reason
        if name not in self._own:
            log.error("segment_waits_alone", segment=name, reason=reason)
        self.sleep(name)
        return 0.0

    def sleep(self, name: str) -> None:
        """Keep a segment from having a turn for a while."""
        settings = self._settings
        usual = Backoff(settings.first_seconds, settings.longest_seconds, self.backoff.chance)
        wait_seconds = self._own.setdefault(name, usual).next_seconds()
        self._due[name] = asyncio.get_running_loop().time() + wait_seconds

    def awake(self, name: str) -> bool:
        """Whether a segment may have its turn now."""
        due = self._due.get(name)
        return due is None or due <= asyncio.get_running_loop().time()

    def until_awake(self, names: Sequence[str]) -> float | None:
        """Return when the first of these segments, all asleep, has its turn; None where there is none."""
        now = asyncio.get_running_loop().time()
        return min((max(0.0, self._due[name] - now) for name in names), default=None)

    def forget(self, name: str) -> None:
        """Forget a segment whose problem is over, or that is gone."""
        self._own.pop(name, None)
        self._due.pop(name, None)

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


def wait_after(retry: Retry, backoff: Backoff, settings: ShipperSettings) -> float:
    """Return the seconds to wait: full jitter, above what the upstream asks for within bounds, and slow where loud."""
    jitter = backoff.next_seconds()
    least = 0.0
    if retry.loud:
        least = settings.slow_seconds / 2
        jitter = backoff.chance.uniform(0.0, settings.slow_seconds / 2)
    if retry.after_seconds is not None:
        least = max(least, min(retry.after_seconds, settings.max_retry_after_seconds))
    return least + jitter
