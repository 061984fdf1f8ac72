"""The primary once more under other choices: without crossovers, windows over only, adjusted by what came before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from abside.metric import Metric
from abside.report.stats.compare import adjusted, estimate
from abside.report.tally.before import DAYS_BEFORE, before_of, with_before
from abside.report.tally.moments import moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.cuts import Cutting
    from abside.report.stats.compare import Estimate
    from abside.report.store.engine import Table
    from abside.report.tally.moments import ArmFigures

LEAST_BEFORE = 0.01  # of the units must have done it before: else there is nothing to adjust by


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The primary under one other choice, said in words."""

    choice: str
    units: dict[str, int]
    estimates: tuple[Estimate, ...]


def sensitivities(cutting: Cutting, arms: Sequence[ArmFigures]) -> tuple[Sensitivity, ...]:
    """Return the choices that make a difference here. Raises EngineFailed.

    Leaving crossovers out is offered under equal weights only: under others it biases every figure.
    """
    metric = cutting.primary
    if metric is None:
        return ()
    figures = cutting.counted.units
    found = []
    is_equal = len(set((cutting.weights_bp or {"": 0, "?": 1}).values())) == 1
    if is_equal and any(arm.crossed for arm in arms):
        found.append(_one(cutting, "without crossovers", metric, figures.filter(~figures.crossed)))
    if any(arm.mature < arm.units for arm in arms) and all(arm.mature for arm in arms):
        over = figures.filter(figures.until <= cutting.last_ts)
        found.append(_one(cutting, "windows over only", metric, over))
    return (*found, *_before(cutting, metric))


def _one(cutting: Cutting, choice: str, metric: Metric, figures: Table) -> Sensitivity:
    arms = _arms(cutting, f"{metric.name}: {choice}", figures, metric)
    control = arms.get(cutting.control)
    others = [arm for name, arm in arms.items() if name != cutting.control]
    made = [estimate(metric, control, arm) for arm in others] if control else []
    return Sensitivity(choice, {name: arm.units for name, arm in arms.items()}, tuple(made))


def _before(cutting: Cutting, metric: Metric) -> list[Sensitivity]:
    """Adjust by the same figure of the days before the first exposure (CUPED), where enough units have one."""
    term = before_of(metric)
    if term is None:
        return []
    figures = with_before(cutting.engine, cutting.choice, cutting.counted.met, cutting.counted.units, [term])
    both = Metric(metric.name, "ratio", metric.text, metric.good, metric.above, term)
    arms = _arms(cutting, f"{metric.name}: before and after", figures, both)
    control = arms.get(cutting.control)
    did = sum(arm.nonzero[term.column] for arm in arms.values())
    if control is None or did < LEAST_BEFORE * sum(arm.units for arm in arms.values()):
        return []
    made = [adjusted(metric, term, control, arm) for name, arm in arms.items() if name != cutting.control]
    choice = f"adjusted by the {DAYS_BEFORE} days before (CUPED); raw values"
    units = {name: arm.units for name, arm in arms.items()}
    return [Sensitivity(choice, units, tuple(replace(one, role="primary") for one in made))]


def _arms(cutting: Cutting, purpose: str, figures: Table, metric: Metric) -> dict[str, ArmFigures]:
    found = moments(cutting.engine, purpose, figures, [metric], cutting.last_ts)
    known = cutting.weights_bp
    return {arm.variant: arm for arm in found if known is None or arm.variant in known}
