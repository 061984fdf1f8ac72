"""Which pauses hold: what the Kubernetes API said last, or what the mounted volume shows. Nothing here does I/O.

The rule, by what is known. It errs on the paused side: losing the API, or a restart without it, lifts no pause.

    the API said nothing yet        the volume's, and of what was paused before a restart what it has not shown since,
                                    until LATE_SECONDS after its first change, which may be a late one
    both show the same              that
    the API is being watched        the API's
      but the volume changed since  both, and the API is asked again: the volume is late, or the watch is deaf
    the API is away                 both, until the volume has shown what the API said last; from then on the volume's

A limit: a pause lifted before the volume ever showed it to this agent is lifted so much later without the API.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside_agent.sources.trust import LATE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import Problem
    from abside_agent.document.reading import Pauses
    from abside_agent.sources.observation import Observation, Watch


@dataclass(frozen=True, slots=True)
class Known:
    """What holds. `keeps`: what was paused before, too, but not `lifted`. `doubts`: the API is to be asked again."""

    pauses: Pauses
    keeps: bool = False
    doubts: bool = False
    lifted: tuple[str, ...] = ()


@dataclass(slots=True)
class Newest:
    """Judges each reading of the volume (None: it cannot be seen) against the API's last word."""

    steady: Callable[[], float] = time.monotonic
    _seen: Pauses | None = None  # what the volume shows
    _since: float = -math.inf  # when it was first seen to show this
    _changed_at: float = math.inf  # when it first changed
    _shown: set[str] = field(default_factory=set)  # what it paused at any time before the first word
    _shown_at: float | None = None  # of the last word that the volume has shown

    def judge(self, seen: Pauses | None, observation: Observation[Pauses] | None) -> Known:
        """Give what holds now."""
        now = self.steady()
        if seen != self._seen:
            if self._seen is not None and seen is not None:
                self._changed_at = min(self._changed_at, now)
            self._seen, self._since = seen, now
        if observation is None:
            self._shown |= seen.keys() if seen else set()
            keeps = now - self._changed_at <= LATE_SECONDS
            return Known(seen or {}, keeps, lifted=tuple(sorted(self._shown - (seen or {}).keys())) if keeps else ())
        if seen == observation.content:
            self._shown_at = observation.at
            return Known(observation.content)
        if seen is None:
            return Known(observation.content)
        if observation.is_fresh:
            doubts = self._since > observation.at
            return Known(seen | observation.content if doubts else observation.content, doubts=doubts)
        return Known(seen if self._shown_at == observation.at else seen | observation.content)


@dataclass(slots=True)
class Watched:
    """The ConfigMap `name`, as its volume and a watch together know it."""

    name: str
    watch: Watch[Pauses]
    newest: Newest = field(default_factory=Newest)

    def judge(self, seen: Pauses | None) -> Known:
        """Give what holds, when its volume shows `seen`."""
        known = self.newest.judge(seen, self.watch.report.observation)
        if known.doubts:
            self.watch.doubt()
        return known

    @property
    def problems(self) -> list[Problem]:
        """What a person must know of the watch."""
        problem = self.watch.report.problem
        return [] if problem is None else [problem]
