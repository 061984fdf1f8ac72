"""How many units change variant or configuration, by placement and by experiment: exact, or by a sample.

Assumed, and printed with the figures: every unit is eligible, has a user id and a session id, and is not forced.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

from abside.assignment.assign import Evaluator
from abside.assignment.plan import PlacementPlan
from abside.assignment.unit import Subject
from abside_agent.commands.impact.joint import (
    EvaluatorPair,
    JointTable,
    TooManyCellsError,
    outcomes,
    same_variants,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.assign import Arm
    from abside.snapshot import Placement, Snapshot

MAX_CELLS = 200_000  # combinations of one group of experiments; half a second
SAMPLE_UNITS = 100_000  # a standard error of at most 0.16 points


@dataclass(frozen=True, slots=True)
class PlacementMove:
    """Shares, 0 to 1, of the units at one placement. `sample_units` is 0 where they are exact.

    `variant`, `configuration`, `either`: those that change, of all units. `enrolled`: those in an experiment here
    before; `enrolled_…`: those of them that change; None where there are none.
    """

    placement: str
    variant: float
    configuration: float
    either: float
    enrolled: float
    enrolled_variant: float | None
    enrolled_configuration: float | None
    enrolled_either: float | None
    sample_units: int = 0

    def standard_error(self, share: float) -> float:
        """Return the standard error of a share of all units; 0 where it is exact."""
        return sqrt(share * (1 - share) / self.sample_units) if self.sample_units else 0.0


@dataclass(frozen=True, slots=True)
class ExperimentMove:
    """Shares, 0 to 1, of all units: in an experiment before and after; joining, leaving, switching variant."""

    experiment: str
    before: float
    after: float
    joins: float
    leaves: float
    switches: float


def by_placement(
    old: Snapshot, new: Snapshot, now_us: int, *, max_cells: int = MAX_CELLS, sample_units: int = SAMPLE_UNITS
) -> list[PlacementMove]:
    """Return the moves at each placement that both snapshots have."""
    was, now = _evaluators(old, now_us), _evaluators(new, now_us)
    moves = []
    for name in sorted(old.placements.keys() & new.placements.keys()):
        before, after = old.placements[name], new.placements[name]
        try:
            found, units = table(before, after, _pairs(was, now, name), max_cells), 0
        except TooManyCellsError:
            plans = PlacementPlan.build(before, was.values()), PlacementPlan.build(after, now.values())
            found, units = sample(*plans, sample_units), sample_units
        moves.append(_move(before, found, units))
    return moves


def by_experiment(old: Snapshot, new: Snapshot, now_us: int) -> dict[str, ExperimentMove]:
    """Return the moves of each experiment that either snapshot has."""
    was, now = _evaluators(old, now_us), _evaluators(new, now_us)
    moves = {}
    for name in sorted(was.keys() | now.keys()):
        rows = list(outcomes([EvaluatorPair(name, _open(was.get(name)), _open(now.get(name)))], MAX_CELLS))
        moves[name] = ExperimentMove(
            name,
            before=sum(share for share, one, _ in rows if one),
            after=sum(share for share, _, other in rows if other),
            joins=sum(share for share, one, other in rows if other and not one),
            leaves=sum(share for share, one, other in rows if one and not other),
            switches=sum(share for share, one, other in rows if one and other and not same_variants(one, other)),
        )
    return moves


def sample(old: PlacementPlan, new: PlacementPlan, units: int) -> JointTable:
    """Estimate the table by the real buckets of `units` synthetic units."""
    counts: Counter[tuple[tuple[Arm, ...], tuple[Arm, ...]]] = Counter()
    for number in range(units):
        subject = Subject(f"user-{number}", f"session-{number}", {}, old.placement.id)
        counts[old.arms(subject), new.arms(subject)] += 1
    found: JointTable = {}
    for (before, after), count in counts.items():
        same_config = old.merged(before).config_id == new.merged(after).config_id
        cell = (same_variants(before, after), same_config, not before)
        found[cell] = found.get(cell, 0.0) + count / units
    return found


def _evaluators(snapshot: Snapshot, now_us: int) -> dict[str, Evaluator]:
    """Return an evaluator for every experiment, without eligibility and forced units."""
    return {
        name: Evaluator.build(replace(experiment, eligibility=(), force={}), now_us)
        for name, experiment in snapshot.experiments.items()
    }


def _pairs(was: dict[str, Evaluator], now: dict[str, Evaluator], placement: str) -> list[EvaluatorPair]:
    pairs = [
        EvaluatorPair(name, _open(was.get(name), placement), _open(now.get(name), placement))
        for name in sorted(was.keys() | now.keys())
    ]
    return [pair for pair in pairs if pair.old is not None or pair.new is not None]


def _open(evaluator: Evaluator | None, placement: str | None = None) -> Evaluator | None:
    """Return the evaluator where it assigns units, at this placement if one is named; else None."""
    if evaluator is None or evaluator.closed is not None:
        return None
    here = placement is None or placement in evaluator.experiment.placements
    return evaluator if here else None


def _move(placement: Placement, found: JointTable, sample_units: int) -> PlacementMove:
    enrolled = _sum(found, lambda _variant, _config, out: not out)

    def of_enrolled(share: float) -> float | None:
        return min(share / enrolled, 1.0) if enrolled > 0 else None

    return PlacementMove(
        placement.id,
        variant=_sum(found, lambda variant, _config, _out: not variant),
        configuration=_sum(found, lambda _variant, config, _out: not config),
        either=_sum(found, lambda variant, config, _out: not (variant and config)),
        enrolled=enrolled,
        enrolled_variant=of_enrolled(_sum(found, lambda variant, _config, out: not variant and not out)),
        enrolled_configuration=of_enrolled(_sum(found, lambda _variant, config, out: not config and not out)),
        enrolled_either=of_enrolled(_sum(found, lambda variant, config, out: not (variant and config) and not out)),
        sample_units=sample_units,
    )


def _sum(found: JointTable, wanted: Callable[[bool, bool, bool], bool]) -> float:
    return min(sum(share for cell, share in found.items() if wanted(*cell)), 1.0)
