"""The figures of one experiment: each metric of each arm, and beside control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.remarks import not_computed
from abside.report.stats.compare import Estimate, estimate, value_of
from abside.report.stats.gini import compared, jackknifed
from abside.report.tally.items import items_shown
from abside.report.tally.loads import load_percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.metric import Metric
    from abside.report.stats.gini import Gini
    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Overview
    from abside.report.tally.moments import ArmFigures
    from abside.report.tally.units import Choice, Counted, Tally

LOAD = "page_load_mean"  # its percentile stands beside it


@dataclass(frozen=True, slots=True)
class Figures:
    """Each metric's figure of each arm, and its estimate of each arm beside control."""

    values: dict[str, dict[str, float | None]]  # metric → variant → figure
    estimates: tuple[Estimate, ...]
    curves: dict[str, tuple[float, ...]]  # variant → Lorenz curve of the items shown, where their gini is asked for
    load_p75: dict[str, float]  # variant → ms, where page loads are known


@dataclass(frozen=True, slots=True)
class Figuring:
    """What the figures are made from. `arms` are those with units, control first."""

    engine: Engine
    tally: Tally
    events: Table
    choice: Choice
    counted: Counted
    arms: Sequence[ArmFigures]

    def figures(self, seen: Overview, currency: str | None) -> Figures:
        """Make them all. Raises EngineFailed."""
        reasons = {metric.name: not_computed(metric, seen, currency) for metric in self.choice.metrics}
        ginis = self._ginis(reasons)
        values, estimates = {}, []
        for metric in self.choice.metrics:
            reason = reasons[metric.name]
            values[metric.name] = {arm.variant: None if reason else _value(metric, arm, ginis) for arm in self.arms}
            control, *others = self.arms
            for arm in others:
                if reason:
                    made = Estimate(metric.name, arm.variant, None, None, reason=reason)
                elif metric.kind == "gini":
                    both = ginis.get(control.variant), ginis.get(arm.variant)
                    made = compared(metric.name, arm.variant, *both)
                else:
                    made = estimate(metric, control, arm)
                estimates.append(made)
        curves = {arm.variant: found.curve for arm in self.arms if (found := ginis.get(arm.variant)) is not None}
        loads = {}
        if any(metric.name == LOAD for metric in self.choice.metrics) and not reasons[LOAD]:
            loads = load_percentiles(self.engine, self.choice, self.counted.hits, self.counted.units)
        return Figures(values, tuple(estimates), curves, loads)

    def _ginis(self, reasons: Mapping[str, str]) -> dict[str, Gini | None]:
        """Count the items shown, where a metric asks for it."""
        if not any(metric.kind == "gini" and not reasons[metric.name] for metric in self.choice.metrics):
            return {}
        shown = items_shown(self.engine, self.tally.outcomes, self.events, self.choice, self.counted.units)
        return {variant: jackknifed(counts) for variant, counts in shown.items()}


def _value(metric: Metric, arm: ArmFigures, ginis: Mapping[str, Gini | None]) -> float | None:
    if metric.kind != "gini":
        return value_of(metric, arm)
    found = ginis.get(arm.variant)
    return None if found is None else found.corrected
