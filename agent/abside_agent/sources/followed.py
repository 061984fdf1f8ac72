"""The ConfigMaps of one directory of documents, as its volume and a watch of each together know them."""

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

    Their words are one word, because the directory does not tell whose its keys are: while one is not watched, none is.
    One that is gone, or holds no document, counts as not watched: so neither a deletion nor a wrong name empties what
    is in force.
    """

    watches: dict[str, Watch[Keys]]
    trust: Trust = field(default_factory=Trust)
    _told: tuple[float, ...] = ()  # when each said what was last taken together
    _keys: Keys = field(default_factory=lambda: Keys({}))  # that; its bytes are the watches' own
    _word: Observation[bytes] | None = None  # its digest

    def judge(self, seen: Keys | None) -> Keys | None:
        """Give the documents that hold, when the directory shows `seen`; None where nobody knows any."""
        observation = self._together()
        own = [watch.report.observation for watch in self.watches.values()]
        is_watched = all(one is not None and one.is_fresh for one in own)  # also where one is gone
        verdict = self.trust.judge(None if seen is None else seen.digest(), observation, is_watched=is_watched)
        if verdict.doubts:
            for watch, content in zip(self.watches.values(), own, strict=True):
                if content is not None and self.trust.is_behind(content.at):  # else it has answered since
                    watch.doubt()
        return self._keys if verdict.by_api else seen

    @property
    def problems(self) -> list[Problem]:
        """What a person must know of the watches."""
        found = [watch.report.problem for watch in self.watches.values()]
        return [problem for problem in found if problem is not None] + [
            _without_documents(name) for name, watch in self.watches.items() if _is_void(watch.report.observation)
        ]

    def _together(self) -> Observation[bytes] | None:
        """Give the last word that all had a part in while all were watched; it is as old as its oldest part."""
        words = [watch.report.observation for watch in self.watches.values()]
        spoken = [
            observation
            for observation in words
            if observation is not None and observation.content.found and observation.is_fresh
        ]
        is_fresh = len(spoken) == len(words)
        told = tuple(observation.at for observation in spoken)
        if is_fresh and told != self._told:
            self._told, self._keys = told, merged(observation.content for observation in spoken)
            self._word = Observation(self._keys.digest(), min(told), is_fresh=True)
        return self._word and replace(self._word, is_fresh=is_fresh)


def _is_void(observation: Observation[Keys] | None) -> bool:
    return observation is not None and not observation.content.found


def _without_documents(name: str) -> Problem:
    message = "the API knows no *.yaml in this ConfigMap, or no such ConfigMap: what was in force stays"
    remedy = "put documents there, or take its name out of --fast-watch-config"
    return flaw(name, "FAST_WATCH", (), message, remedy, severity="warning").problem
