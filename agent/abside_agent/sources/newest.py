"""Which pauses are valid: those of the Kubernetes API or those of the mounted volume. No I/O.

The rule prefers pauses: losing the API, or a restart without it, lifts none.

    no answer of the API yet        the volume's, and the pauses from before a restart that the volume has not shown
                                    since, until LATE_SECONDS after its first change, which may be a late one
    both are equal                  that
    the API is being watched        the API's
      but the volume changed since  both, and the API is asked again: the volume is late, or the watch misses events
    the API is away                 both, until the volume has shown the API's last answer; from then on the volume's

A limit: without the API, a pause that ended before the volume showed it to this agent ends as much later.
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
    """The valid pauses. `keeps`: those from before stay too, except `lifted`. `doubts`: the API must be asked again."""

    pauses: Pauses
    keeps: bool = False
    doubts: bool = False
    lifted: tuple[str, ...] = ()


@dataclass(slots=True)
class Newest:
    """Compares each reading of the volume (None: it cannot be seen) with the API's last answer."""

    steady: Callable[[], float] = time.monotonic
    _seen: Pauses | None = None  # what the volume shows
    _since: float = -math.inf  # when it was first seen to show this
    _changed_at: float = math.inf  # when it first changed
    _shown: set[str] = field(default_factory=set)  # the pauses it showed at any time before the API's first answer
    _shown_at: float | None = None  # the time of the last answer of the API that the volume has shown

    def judge(self, seen: Pauses | None, observation: Observation[Pauses] | None) -> Known:
        """Return what is valid now."""
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
    """The ConfigMap `name`, known by its volume and by a watch."""

    name: str
    watch: Watch[Pauses]
    newest: Newest = field(default_factory=Newest)

    def judge(self, seen: Pauses | None) -> Known:
        """Return what is valid while the volume shows `seen`; ask the API again where that is in doubt."""
        known = self.newest.judge(seen, self.watch.report.observation)
        if known.doubts:
            self.watch.doubt()
        return known

    @property
    def problems(self) -> list[Problem]:
        """The problem of the watch, if it has one."""
        problem = self.watch.report.problem
        return [] if problem is None else [problem]
