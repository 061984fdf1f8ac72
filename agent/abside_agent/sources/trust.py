"""Whose documents are valid: those of the Kubernetes API or those of the mounted volume. No I/O.

Neither side is safer, so the newer one is valid. The volume is late, but never goes back. The rule:

    no answer of the API yet            the volume's
    both are equal                      that
    the volume has shown the API's last
      answer, and then another state    the volume's, and a watched API is asked again: the watch misses events
    it has not; the API is watched      the API's
      but the volume changed since      the API's, and it is asked again: the volume is late or the watch misses events
    it has not; the API is away         the API's, until the volume has been showing something new for LATE_SECONDS,
                                        or the API has been away for as long, which is longer than the volume can be
                                        late: what it shows was written since; from then on the volume's
    it has not; the ConfigMap is gone   the API's, until the volume has been showing something new for LATE_SECONDS
    the volume cannot be seen           the API's; where the volume had a newer state, what is in force stays

An unchanged volume may be newer as well: an API that is away for the agent alone (a Role, an egress policy) must not
freeze an edit that was rolled back before the kubelet looked. Where the kubelet lost the API too, within one look after
an edit, the state before that edit is valid until the API is back: inside the pod the two cases look the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.sources.observation import Observation

# The kubelet looks every 60 to 90 s, so the volume shows the API's state within 90; the rest is for a busy node.
LATE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose documents are valid. `doubts`: the API must be asked again."""

    by_api: bool
    doubts: bool = False


@dataclass(slots=True)
class Trust:
    """Compares each reading of the volume (None: it cannot be seen) with the API's last answer, both as digests."""

    steady: Callable[[], float] = time.monotonic
    _seen: bytes | None = None  # what the volume showed when it could last be seen
    _answer: tuple[float, bytes] | None = None  # the API's last answer: its time and digest
    _changed_at: float | None = None  # when the volume first changed since that answer
    _away_at: float | None = None  # since when the API is away
    _is_passed: bool = False  # the volume has shown that answer, or a newer state

    def judge(self, seen: bytes | None, observation: Observation[bytes] | None, *, is_watched: bool = False) -> Verdict:
        """Return whose documents are valid now. `is_watched`: the API is not away, even without a fresh observation."""
        changed = seen is not None and self._seen is not None and seen != self._seen
        self._seen = self._seen if seen is None else seen
        if observation is None:
            return Verdict(by_api=False)
        self._accept(observation)
        if observation.is_fresh or is_watched:
            self._away_at = None
        elif self._away_at is None:
            self._away_at = self.steady()
        if seen is None:  # the API's, unless the volume had a newer state: then neither, and the last good stays
            return Verdict(not self._is_passed or (observation.is_fresh and self._changed_at is None))
        if seen == observation.content:
            self._is_passed, self._changed_at = True, None
            return Verdict(by_api=observation.is_fresh)
        now = self.steady()
        if self._changed_at is None and (changed or _is_over(self._away_at, now)):
            self._changed_at = now
        if not observation.is_fresh:
            self._is_passed |= _is_over(self._changed_at, now) or _is_over(self._away_at, now)
        return Verdict(not self._is_passed, doubts=observation.is_fresh and self._changed_at is not None)

    def is_behind(self, at: float) -> bool:
        """Return whether an observation of that time is older than the volume's change."""
        return self._changed_at is not None and at <= self._changed_at

    def _accept(self, observation: Observation[bytes]) -> None:
        """Accept a new answer, unless part of it is older than the volume's change since the last answer."""
        if self._answer != (observation.at, observation.content) and (
            self._changed_at is None or observation.at > self._changed_at
        ):
            self._answer = (observation.at, observation.content)
            self._changed_at, self._is_passed = None, False


def _is_over(since: float | None, now: float) -> bool:
    """Return whether the volume has had time to show the state of that moment."""
    return since is not None and now - since > LATE_SECONDS
