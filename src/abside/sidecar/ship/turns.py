"""Whose turn it is after failures: which segments failed, and which of them wait alone, for trouble of their own.

A segment that fails once more after another has arrived meanwhile, while nothing else fails, has trouble of its own: an
upstream in trouble would have failed the other too. It is tried for ever, by waits that are nobody else's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from abside.backoff import Backoff
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from abside.sidecar.ship.shipping import ShipperSettings
    from abside.spool.segment import Segment
    from abside.upstream.contract import Retry

log = Log("abside.shipper")


class Alone(NamedTuple):
    """Why a segment waits alone, since when (µs UTC), and its waits."""

    reason: str
    since_us: int
    backoff: Backoff


class Turns:
    """The failures of segments since the last success, and those that wait alone, by name. Waits are in seconds.

    `apart` False: the upstream wants what it gets in order, so a failure is never one segment's own.
    """

    def __init__(self, settings: ShipperSettings, now_us: Callable[[], int], *, apart: bool) -> None:
        self.alone: dict[str, Alone] = {}
        self._settings = settings
        self._now_us = now_us
        self._apart = apart
        self._longest_seconds = settings.longest_seconds
        self._due: dict[str, float] = {}  # the loop's time at which each that waits alone has its turn
        self._failed: dict[str, None] = {}  # since the last success, by the time of their last failures
        self._suspects: set[str] = set()  # failed once, and another has arrived since
        self._logged_us = 0  # when it was last logged that one waits alone

    def failed(self, name: str) -> bool:
        """Note a failure that may be the upstream's; return whether it is the segment's own."""
        if not self._apart:
            return False
        own = name in self._suspects and self._failed.keys() <= {name}
        self._failed.pop(name, None)
        self._failed[name] = None
        return own

    def arrived(self) -> None:
        """Note that the upstream took a batch that was sent after its last failure."""
        self._suspects.update(self._failed)
        self._failed.clear()

    def in_turn(self, waiting: Iterable[Segment]) -> Iterable[Segment]:
        """Return what waits in the order of its turns: what has not failed since the last success, then the others.

        Of those the one whose failure is longest ago comes first, so that the turn goes round.
        """
        if not self._failed:
            return waiting
        place = {name: number for number, name in enumerate(self._failed)}
        return sorted(waiting, key=lambda segment: place.get(segment.name, -1))

    def hurry(self) -> None:
        """Wait for less from now on: the process is about to end."""
        self._longest_seconds = self._settings.drain_longest_seconds
        self._due.clear()
        for one in self.alone.values():
            one.backoff.longest_seconds = self._longest_seconds

    def wait_alone(self, name: str, retry: Retry, chance: Random) -> None:
        """Make a segment wait by itself, longer each time; its neighbours need not wait."""
        now_us, known = self._now_us(), self.alone.get(name)
        lasts = now_us - self._logged_us >= self._settings.remind_seconds * 1_000_000
        since_us = known.since_us if known else now_us
        if known is None or lasts:
            for_seconds = (now_us - since_us) // 1_000_000
            log.error("segment_waits_alone", segment=name, reason=retry.reason, for_seconds=for_seconds)
            self._logged_us = now_us
        backoff = known.backoff if known else Backoff(self._settings.first_seconds, self._longest_seconds, chance)
        self.alone[name] = Alone(retry.reason, since_us, backoff)
        self._due[name] = asyncio.get_running_loop().time() + wait_after(retry, backoff, self._settings)

    def awake(self, name: str) -> bool:
        """Whether a segment may have its turn now."""
        due = self._due.get(name)
        return due is None or due <= asyncio.get_running_loop().time()

    def until_awake(self, names: Sequence[str]) -> float | None:
        """Return when the first of these segments, all asleep, has its turn; None where there is none."""
        now = asyncio.get_running_loop().time()
        return min((max(0.0, self._due[name] - now) for name in names), default=None)

    def forget(self, name: str) -> None:
        """Forget a segment whose trouble is over, or that is gone."""
        self.alone.pop(name, None)
        self._due.pop(name, None)
        self._failed.pop(name, None)
        self._suspects.discard(name)


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
