"""The ConfigMaps of one directory of documents, known by its volume and by a watch of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from abside_agent.document.tree import flaw
from abside_agent.sources.keys import Keys, merged
from abside_agent.sources.observation import Observation
from abside_agent.sources.trust import Trust

if TYPE_CHECKING:
    from abside.snapshot import Problem
    from abside_agent.sources.observation import Watch


@dataclass(slots=True)
class Followed:
    """The ConfigMaps that one directory shows, each by its name, in the order of the projected volume's sources.

    They are judged together, because the directory does not show which ConfigMap a key is of: while one is not watched,
    none is. A ConfigMap that is gone, or has no document, counts as not watched, so neither a deletion nor a wrong name
    empties what is in force.
    """

    watches: dict[str, Watch[Keys]]
    trust: Trust = field(default_factory=Trust)
    _times: tuple[float, ...] = ()  # of the observations that `_keys` merges
    _keys: Keys = field(default_factory=lambda: Keys({}))  # merged; its bytes are shared with the watches
    _merged: Observation[bytes] | None = None  # its content is the digest of `_keys`

    def judge(self, seen: Keys | None) -> Keys | None:
        """Return the valid documents while the directory shows `seen`; None where there are none."""
        observation = self._together()
        own = [watch.report.observation for watch in self.watches.values()]
        is_watched = all(one is not None and one.is_fresh for one in own)  # includes a ConfigMap that is gone
        verdict = self.trust.judge(None if seen is None else seen.digest(), observation, is_watched=is_watched)
        if verdict.doubts:
            for watch, content in zip(self.watches.values(), own, strict=True):
                if content is not None and self.trust.is_behind(content.at):  # else it has answered since
                    watch.doubt()
        return self._keys if verdict.by_api else seen

    @property
    def problems(self) -> list[Problem]:
        """The problems of the watches."""
        found = [watch.report.problem for watch in self.watches.values()]
        return [problem for problem in found if problem is not None] + [
            _without_documents(name) for name, watch in self.watches.items() if _is_void(watch.report.observation)
        ]

    def _together(self) -> Observation[bytes] | None:
        """Return the last merged observation made while all were watched; it is as old as its oldest part."""
        observations = [watch.report.observation for watch in self.watches.values()]
        usable = [
            observation
            for observation in observations
            if observation is not None and observation.content.found and observation.is_fresh
        ]
        is_fresh = len(usable) == len(observations)
        times = tuple(observation.at for observation in usable)
        if is_fresh and times != self._times:
            self._times, self._keys = times, merged(observation.content for observation in usable)
            self._merged = Observation(self._keys.digest(), min(times), is_fresh=True)
        return self._merged and replace(self._merged, is_fresh=is_fresh)


def _is_void(observation: Observation[Keys] | None) -> bool:
    return observation is not None and not observation.content.found


def _without_documents(name: str) -> Problem:
    message = "the API knows no *.yaml in this ConfigMap, or no such ConfigMap: what was in force stays"
    remedy = "put documents there, or take its name out of --fast-watch-config"
    return flaw(name, "FAST_WATCH", (), message, remedy, severity="warning").problem
