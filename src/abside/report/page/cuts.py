"""One experiment cut into slices: the primary by day, by days since the first exposure, by attribute; its ratio too."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from abside.report.stats.adjust import benjamini_hochberg
from abside.report.stats.band import always_valid
from abside.report.stats.compare import estimate
from abside.report.stats.ratio import SampleRatio, sample_ratio
from abside.report.tally.daily import seen_by_day
from abside.report.tally.slices import by_column, by_day, by_days_since, by_value
from abside.report.tally.writers import units_by_writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from abside.metric import Metric
    from abside.report.page.roles import AnalysisPlan
    from abside.report.stats.compare import Estimate
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.moments import ArmFigures
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice, Counted


UNIT_TYPE = "unit_type"


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: a day, a number of days, a value. `estimates` are of the primary, an arm each."""

    key: str
    units: dict[str, int]
    estimates: tuple[Estimate, ...]
    sample_ratio: SampleRatio


@dataclass(frozen=True, slots=True)
class Cuts:
    """Every cut of one page."""

    days: tuple[Slice, ...] = ()  # as it would have been seen at the end of each day
    since: tuple[Slice, ...] = ()  # by days since the first exposure; units seen so long
    by: dict[str, tuple[Slice, ...]] | None = None  # attribute, or unit type → its values; exploratory
    ratios: dict[str, tuple[Slice, ...]] | None = None  # where the sample ratio is a mismatch: what may explain it


@dataclass(frozen=True, slots=True)
class Cutting:
    """What slices are made from. `primary`: None where it has no figure that can be cut."""

    engine: Engine
    events: Table
    outcomes: Outcomes
    choice: Choice
    counted: Counted
    analysis: AnalysisPlan
    control: str
    weights_bp: dict[str, int] | None
    last_ts: datetime
    primary: Metric | None

    def cuts(self, by: Sequence[str], logged: Sequence[str], *, is_mismatch: bool) -> Cuts:
        """Make every cut. `logged`: the attributes looked at where the ratio is a mismatch. Raises EngineFailed."""
        metric = self.primary
        ratios = self._ratios(logged) if is_mismatch else None
        if metric is None:
            return Cuts(ratios=ratios)
        figures, own = self.counted.units, [metric]
        days = seen_by_day(self.engine, self.outcomes, self.choice, self.counted, metric, self.last_ts)
        since = by_days_since(
            self.engine,
            self.counted.hits,
            figures,
            metric,
            self.choice.placements,
            self.last_ts,
            self.choice.currency,
        )
        kinds = by_column(self.engine, figures, UNIT_TYPE, own, self.last_ts)
        values = {name: by_value(self.engine, figures, name, own, self.last_ts) for name in by}
        if len(kinds) > 1:
            values = {UNIT_TYPE: kinds, **values}
        return Cuts(
            days=self._banded(self._slices(metric, days)),
            since=self._slices(metric, since),
            by={name: _adjusted(self._slices(metric, found)) for name, found in values.items()} or None,
            ratios=ratios,
        )

    def _ratios(self, logged: Sequence[str]) -> dict[str, tuple[Slice, ...]]:
        """Cut the sample ratio by all that may explain a mismatch."""
        units, last = self.counted.units, self.last_ts
        cuts = {"day": by_day(self.engine, units, [], last)}
        for name in ("placement", UNIT_TYPE):
            cuts[name] = by_column(self.engine, units, name, [], last)
        told = {name: {key: _units(arms) for key, arms in cut.items()} for name, cut in cuts.items()}
        told |= units_by_writer(self.engine, self.outcomes, self.events, self.choice, units)
        for name in logged:
            shown = f"attribute {name}" if name in told else name  # shoppers too may have a cluster
            told[shown] = {key: _units(arms) for key, arms in by_value(self.engine, units, name, [], last).items()}
        return {
            name: tuple(Slice(key, found, (), self._ratio(self._known(found))) for key, found in cut.items())
            for name, cut in told.items()
        }

    def _known(self, units: Mapping[str, int]) -> dict[str, int]:
        return {name: count for name, count in units.items() if self.weights_bp is None or name in self.weights_bp}

    def _ratio(self, units: Mapping[str, int]) -> SampleRatio:
        return sample_ratio(units, self.weights_bp, reason="no weights")

    def _slices(self, metric: Metric, slices: Mapping[str, Sequence[ArmFigures]]) -> tuple[Slice, ...]:
        found = []
        for key, arms in slices.items():
            by_name = {arm.variant: arm for arm in arms if self.weights_bp is None or arm.variant in self.weights_bp}
            control = by_name.get(self.control)
            others = [arm for name, arm in by_name.items() if name != self.control]
            made = [estimate(metric, control, arm) for arm in others] if control else []
            units = {name: arm.units for name, arm in by_name.items()}
            found.append(Slice(key, units, tuple(made), self._ratio(units)))
        return tuple(found)

    def _banded(self, slices: Sequence[Slice]) -> tuple[Slice, ...]:
        """Add the always-valid band to looks at growing figures."""
        planned = self.analysis.planned_units
        if not planned:
            return tuple(slices)
        whole = []
        for one in slices:
            total = sum(one.units.values())
            made = []
            for each in one.estimates:
                both = one.units[self.control] + one.units[each.variant]
                share = planned * both / total
                interval, lift = each.lift_interval, each.lift
                can = interval is not None and lift is not None
                band = always_valid(lift, interval, units=both, planned=share) if can else None  # type: ignore[arg-type]
                made.append(replace(each, band=band))
            whole.append(replace(one, estimates=tuple(made)))
        return tuple(whole)


def _units(arms: Sequence[ArmFigures]) -> dict[str, int]:
    return {arm.variant: arm.units for arm in arms}


def _adjusted(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Adjust p over all values of an attribute and all arms."""
    found = [one.p for each in slices for one in each.estimates if one.p is not None]
    adjusted = iter(benjamini_hochberg(found))
    return tuple(
        replace(
            each,
            estimates=tuple(
                one if one.p is None else replace(one, p_adjusted=next(adjusted)) for one in each.estimates
            ),
        )
        for each in slices
    )
