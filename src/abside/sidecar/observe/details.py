"""What the page shows of an experiment beyond its status: made for the cards that are drawn, and for nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from abside.chi_square import fit
from abside.snapshot import BASIS_POINTS, leaf_name, leaves, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.assignment.assign import Evaluator
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.observe.splits import Splits
    from abside.snapshot import Json, Placement, Variant

LEAST_EXPECTED = 5  # exposures of the smallest variant: below, chi-square is no approximation (Cochran 1954)


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A value that a variant sets at a placement, and the placement's own."""

    placement: str
    parameter: str
    was: Json
    becomes: Json


@dataclass(frozen=True, slots=True)
class PodRatio:
    """Exposures of this pod under one split, since an instant (µs UTC).

    `p` of their chi-square is None where they are too few for one.
    """

    since_us: int
    exposures: int
    p: float | None


@dataclass(frozen=True, slots=True)
class ExperimentDetails:
    """One experiment: what it is to show, for whom, what each variant changes, and how its exposures fell."""

    hypothesis: str
    eligibility: tuple[str, ...]
    changes: dict[str, tuple[LeafChange, ...]]
    ratio: PodRatio | None


def details(context: HandlerContext, splits: Splits, name: str) -> ExperimentDetails | None:
    """Return the details of an experiment; None for one that is not in force."""
    current = context.cell.current
    evaluator = current.plans.evaluators.get(name) if current else None
    if current is None or evaluator is None:
        return None
    experiment = evaluator.experiment
    placements = current.snapshot.placements
    return ExperimentDetails(
        experiment.hypothesis,
        tuple(one.text for one in evaluator.target.conditions),
        {one.id: tuple(_changes(one, placements)) for one in experiment.variants},
        _ratio(evaluator, splits),
    )


def _changes(variant: Variant, placements: dict[str, Placement]) -> Iterator[LeafChange]:
    for (placement, *keys), value in leaves(variant.parameters):
        if keys and placement in placements:
            leaf = tuple(keys)
            was = value_at(placements[placement].parameters, leaf)
            if orjson.dumps(was) != orjson.dumps(value):  # as text: in Python 1 == 1.0 == True
                yield LeafChange(placement, leaf_name(leaf), was, value)


def _ratio(evaluator: Evaluator, splits: Splits) -> PodRatio | None:
    found = splits.exposed(evaluator)
    if found is None:
        return None
    since_us, exposures = found
    weights = [one.stop - one.start for one in evaluator.experiment.variants]
    total = sum(exposures.values())
    is_enough = total * min(filter(None, weights), default=0) >= LEAST_EXPECTED * BASIS_POINTS
    fitted = fit([*exposures.values()], weights) if is_enough else None
    return PodRatio(since_us, total, fitted.p if fitted else None)
