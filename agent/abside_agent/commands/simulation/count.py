"""Counts the variants of many units, by the evaluators of the sidecar. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

from abside.assignment.assign import Arm, Reason
from abside.assignment.unit import Subject
from abside.chi_square import Fit, fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from abside.assignment.assign import Evaluator
    from abside.snapshot import Json

MAX_OVERLAPPING = 50  # experiments whose overlap is counted: with more, the pairs cost more than all else


@dataclass(frozen=True, slots=True)
class ExperimentCounts:
    """The units of a simulation in one experiment: how many got each variant, and why others got none."""

    evaluator: Evaluator
    verdicts: Mapping[Arm | Reason, int]

    @property
    def split(self) -> list[int]:
        """How many got each variant by its weight, in declared order; forced ones are not among them."""
        return [self.verdicts.get(arm, 0) for arm in self.evaluator.arms]

    @property
    def forced(self) -> int:
        """How many were forced into a variant."""
        return sum(self.verdicts.get(arm, 0) for arm in self.evaluator.forced_arms.values())

    @property
    def reasons(self) -> dict[Reason, int]:
        """How many got no variant, by reason."""
        return {verdict: count for verdict, count in self.verdicts.items() if not isinstance(verdict, Arm)}

    @property
    def fit(self) -> Fit | None:
        """How well the shares fit the weights."""
        return fit(self.split, [arm.variant.stop - arm.variant.start for arm in self.evaluator.arms])

    @property
    def in_slots(self) -> tuple[int, int]:
        """How many were in the experiment's slots, of how many whose layer's bucket was asked."""
        reasons = self.reasons
        asked = sum(self.split) + reasons.get("OUTSIDE_SLOTS", 0) + reasons.get("NOT_IN_TRAFFIC", 0)
        return asked - reasons.get("OUTSIDE_SLOTS", 0), asked


@dataclass(slots=True)
class Simulation:
    """The counts of all units. `overlaps` is None where there are too many experiments to count it."""

    units: int = 0
    experiments: list[ExperimentCounts] = field(default_factory=list)
    overlaps: dict[tuple[str, str], int] | None = None


def count(evaluators: Sequence[Evaluator], ids: Iterable[str], attributes: Mapping[str, Json]) -> Simulation:
    """Evaluate every experiment for every id, used as both user id and session id.

    The placement is the first of each experiment; only a condition on the placement uses it.
    """
    asked = [
        (evaluator.verdict, evaluator.experiment.placements[0], Counter[Arm | Reason]()) for evaluator in evaluators
    ]
    pairs = Counter[tuple[int, int]]() if len(evaluators) <= MAX_OVERLAPPING else None
    units = 0
    for unit in ids:
        units += 1
        subject = Subject(unit, unit, attributes, "")
        inside = []
        for index, (verdict_of, placement, verdicts) in enumerate(asked):
            subject.placement = placement
            verdict = verdict_of(subject)
            verdicts[verdict] += 1
            if type(verdict) is Arm:
                inside.append(index)
        if pairs is not None and len(inside) > 1:
            for pair in combinations(inside, 2):
                pairs[pair] += 1
    counted = [
        ExperimentCounts(evaluator, verdicts) for evaluator, (_, _, verdicts) in zip(evaluators, asked, strict=True)
    ]
    names = [evaluator.experiment.id for evaluator in evaluators]
    overlaps = (
        None if pairs is None else {(names[a], names[b]): pairs[a, b] for a, b in combinations(range(len(names)), 2)}
    )
    return Simulation(units, counted, overlaps)
