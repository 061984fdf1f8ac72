"""The time by which things in dead/ are too old: the wall clock for as long as it goes on as clocks do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# More than a restart, a suspended machine or a clock that is set right needs; far less than dead/ is kept.
JUMP_US = 86_400 * 1_000_000


class Calendar:
    """The time that is believed (µs UTC). It begins where the last owner of the spool ended: `last_us`.

    A wall clock that jumps by more than a day is not followed: the believed time goes on by the monotonic clock (in
    seconds) until the wall clock comes back to it, or a person confirms it: `trust`.
    """

    def __init__(self, wall_us: Callable[[], int], monotonic: Callable[[], float], last_us: int | None) -> None:
        self._wall_us = wall_us
        self._monotonic = monotonic
        self._at = monotonic()
        self._believed_us = wall_us() if last_us is None else last_us
        self.jump_seconds = 0  # by how much the wall clock is ahead, 0 while it is believed
        self.now_us()

    def now_us(self) -> int:
        """Return the believed time."""
        wall_us, at = self._wall_us(), self._monotonic()
        expected_us = self._believed_us + int((at - self._at) * 1_000_000)
        ahead_us = wall_us - expected_us
        self._at = at
        self._believed_us = wall_us if abs(ahead_us) <= JUMP_US else expected_us
        self.jump_seconds = 0 if abs(ahead_us) <= JUMP_US else ahead_us // 1_000_000
        return self._believed_us

    def trust(self, marked_us: int) -> None:
        """Believe the wall clock, because a person has confirmed it."""
        if self.jump_seconds and abs(marked_us - self._wall_us()) <= JUMP_US:
            self._believed_us, self._at = self._wall_us(), self._monotonic()
            self.now_us()
