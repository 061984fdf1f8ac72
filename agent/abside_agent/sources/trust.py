"""Whose documents hold: what the Kubernetes API said last, or what the mounted volume shows. Nothing here does I/O.

The rule, by what is known. Neither side is the safer one, so the newer holds; the volume is late, but never goes back.

    the API said nothing yet            the volume's
    both show the same                  that
    the volume has shown what the API
      said last, and then another       the volume's, and an API that is watched is asked again: the watch is deaf
    it has not; the API is watched      the API's
      but the volume changed since      the API's, and it is asked again: the volume is late, or the watch is deaf
    it has not; the API is away         the API's, until the volume has been showing something new for LATE_SECONDS,
                                        or the API has been away for as long, which is longer than the volume can be
                                        late: what it shows was written since; from then on the volume's
    it has not; the ConfigMap is gone   the API's, until the volume has been showing something new for LATE_SECONDS
    the volume cannot be seen           the API's; where the volume had gone beyond it, what is in force stays

A volume that did not change may be news as well: an API that is away for the agent alone (a Role, an egress policy)
must not freeze an edit that was rolled back before the kubelet looked. Where the API went for the kubelet too, within
one look of it after an edit, the edit before holds until the API is back: nobody in the pod can tell the two apart.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.sources.observation import Observation

# The kubelet looks every 60 to 90 s, and so shows within 90 what the API had; the rest is for a busy node.
LATE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose documents hold. `doubts`: the API is to be asked again."""

    by_api: bool
    doubts: bool = False


@dataclass(slots=True)
class Trust:
    """Judges each reading of the volume (None: it cannot be seen) against the API's last word, both as digests."""

    steady: Callable[[], float] = time.monotonic
    _seen: bytes | None = None  # what the volume showed when it could last be seen
    _said: tuple[float, bytes] | None = None  # the last word
    _news_at: float | None = None  # when the volume first changed since that word
    _away_at: float | None = None  # since when more would not be heard
    _is_passed: bool = False  # the volume has shown that word, or has gone beyond it

    def judge(self, seen: bytes | None, observation: Observation[bytes] | None, *, is_watched: bool = False) -> Verdict:
        """Give whose documents hold now. `is_watched`: the API is not away, also where the word is not fresh."""
        changed = seen is not None and self._seen is not None and seen != self._seen
        self._seen = self._seen if seen is None else seen
        if observation is None:
            return Verdict(by_api=False)
        self._hear(observation)
        if observation.is_fresh or is_watched:
            self._away_at = None
        elif self._away_at is None:
            self._away_at = self.steady()
        if seen is None:  # the word, unless the volume has gone beyond it: else by neither, and the last good stays
            return Verdict(not self._is_passed or (observation.is_fresh and self._news_at is None))
        if seen == observation.content:
            self._is_passed, self._news_at = True, None
            return Verdict(by_api=observation.is_fresh)
        now = self.steady()
        if self._news_at is None and (changed or _is_over(self._away_at, now)):
            self._news_at = now
        if not observation.is_fresh:
            self._is_passed |= _is_over(self._news_at, now) or _is_over(self._away_at, now)
        return Verdict(not self._is_passed, doubts=observation.is_fresh and self._news_at is not None)

    def is_behind(self, at: float) -> bool:
        """Say whether what was said at that time cannot know what the volume shows since."""
        return self._news_at is not None and at <= self._news_at

    def _hear(self, observation: Observation[bytes]) -> None:
        """Begin anew with a new word, unless part of it is older than what the volume has shown since the last."""
        if self._said != (observation.at, observation.content) and (
            self._news_at is None or observation.at > self._news_at
        ):
            self._said = (observation.at, observation.content)
            self._news_at, self._is_passed = None, False


def _is_over(since: float | None, now: float) -> bool:
    """Say whether the volume has had the time to show what there was then."""
    return since is not None and now - since > LATE_SECONDS
