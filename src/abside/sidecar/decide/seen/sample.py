"""A sample of requests, looked at for mistakes: a targeted attribute that is not sent is the commonest.

A request that is not looked at costs one subtraction and one comparison. The first requests under a revision are all
looked at, later ones ever more rarely, at random distances: callers ask in patterns, and a fixed distance could always
meet the same placement.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abside.assignment.attribute import READERS
from abside.assignment.condition import BUILT_IN
from abside.sidecar.decide.seen.crowds import Crowds
from abside.sidecar.decide.seen.strays import count_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from abside.assignment.assign import Evaluator
    from abside.assignment.plan import PlacementPlan
    from abside.assignment.unit import Subject
    from abside.snapshot import AttributeType, Json

FIRST_LOOKS = 100  # of a revision: whoever just started an experiment tries it by hand and looks here
LONGEST_GAP = 2_000  # requests between two looks, on average half: a look costs what a request does, so 0.1 % more
MAX_WATCHED = 2_000  # experiments; those that come and go over months must not grow memory


@dataclass(slots=True)
class ExperimentSample:
    """What the sample saw of one running experiment since its eligibility last changed."""

    eligibility: tuple[Json, ...]
    targeted: tuple[tuple[str, AttributeType], ...]
    requests: int = 0
    no_unit: int = 0
    not_eligible: int = 0
    missing: dict[str, int] = field(default_factory=dict)  # attribute → requests without it, or with null
    wrong_type: dict[str, int] = field(default_factory=dict)  # attribute → requests where it cannot be read as declared

    def to_map(self) -> dict[str, Any]:
        """Return the sample as the status shows it, with every targeted attribute, also one that was never missing."""
        return {
            "requests": self.requests,
            "no_unit": self.no_unit,
            "not_eligible": self.not_eligible,
            "attributes": {
                name: {"missing": self.missing.get(name, 0), "wrong_type": self.wrong_type.get(name, 0)}
                for name, _ in self.targeted
            },
        }


class Sample:
    """The sample of one process. Each decision takes one off `left` and calls `look` when none is left."""

    __slots__ = ("_chance", "_looks", "_revision", "_seen", "crowds", "left", "undeclared")

    def __init__(self, chance: random.Random | None = None) -> None:
        self.left = 1
        self._chance = chance or random.Random()
        self._looks = 0
        self._revision = ""
        self._seen: dict[str, ExperimentSample] = {}
        self.undeclared: dict[str, int] = {}  # attribute → requests that had it
        self.crowds = (Crowds("user_id"), Crowds("session_id"))

    def look(self, revision: str, plan: PlacementPlan, subject: Subject) -> None:
        """Count one request at one placement, for every experiment that runs there, and choose the next to look at."""
        if revision != self._revision:
            self._revision, self._looks = revision, 0
        self._looks += 1
        self.left = 1 if self._looks < FIRST_LOOKS else self._chance.randint(1, min(LONGEST_GAP, 2 * self._looks))
        for evaluator in plan.evaluators:
            if evaluator.closed is None:
                self._count(evaluator, subject)

    def look_at_names(
        self, subject: Subject, declared: Container[str], *, own: Container[str] = (), bot: bool = False
    ) -> None:
        """Count the attributes of the same request that are not declared, but for the protocol's `own`, and its ids."""
        for name in subject.attributes:
            if name not in declared and name not in own:
                count_name(self.undeclared, name)
        if not bot:
            for crowds, unit_id in zip(self.crowds, (subject.user_id, subject.session_id), strict=True):
                if unit_id is not None:
                    crowds.look(unit_id)

    def of(self, evaluator: Evaluator) -> ExperimentSample:
        """Return what was seen of an experiment; nothing where its eligibility is not the one that was looked at."""
        seen = self._seen.get(evaluator.experiment.id)
        eligibility = evaluator.experiment.eligibility
        if seen is None or (seen.eligibility is not eligibility and seen.eligibility != eligibility):
            return ExperimentSample(eligibility, tuple(dict.fromkeys(_needed(eligibility))))
        return seen

    def _count(self, evaluator: Evaluator, subject: Subject) -> None:
        seen = self.of(evaluator)
        seen.eligibility = evaluator.experiment.eligibility  # the same object again: the next comparison is free
        if seen.requests == 0:
            if len(self._seen) >= MAX_WATCHED:
                self._seen.clear()
            self._seen[evaluator.experiment.id] = seen
        seen.requests += 1
        verdict = evaluator.verdict(subject)
        if verdict == "NO_UNIT":
            seen.no_unit += 1
        elif verdict == "NOT_ELIGIBLE":
            seen.not_eligible += 1
        for name, declared in seen.targeted:
            value = subject.attributes.get(name)
            if value is None:
                seen.missing[name] = seen.missing.get(name, 0) + 1
            elif READERS[declared](value) is None:
                seen.wrong_type[name] = seen.wrong_type.get(name, 0) + 1


def _needed(nodes: Iterable[Any]) -> Iterator[tuple[str, AttributeType]]:
    """Yield the attributes without which a shopper is out: not those of `missing`, nor with `or_missing`."""
    for node in nodes:
        if "attribute" in node:
            if node["attribute"] not in BUILT_IN and node["op"] != "missing" and not node.get("or_missing"):
                yield node["attribute"], node["type"]
        else:
            yield from _needed(node.get("any") or node.get("all") or ())
