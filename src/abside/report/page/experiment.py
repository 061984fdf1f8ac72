"""One experiment's page: everything that is printed of it, as plain records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.cuts import Cuts, Cutting
from abside.report.page.figures import Figuring
from abside.report.page.remarks import (
    arm_remarks,
    changes,
    ended,
    not_computed,
    other_currencies,
    plan_remarks,
    valueless_remarks,
)
from abside.report.page.roles import AnalysisPlan, analysis_of, read
from abside.report.page.scope import Scope, scope_of
from abside.report.page.sensitivity import Sensitivity, sensitivities
from abside.report.page.value_units import Valueless, value_units, without_value
from abside.report.problem import ReportRefused, listed
from abside.report.stats.ratio import SampleRatio, sample_ratio
from abside.report.store.exposures import ExcludedCounts, exposure_copies, left_out
from abside.report.store.fallbacks import FallbackCounts, fallbacks
from abside.report.store.losses import ArmLedger, arm_ledger
from abside.report.tally.rows import keep_rows
from abside.report.tally.slices import OTHERS
from abside.report.tally.units import MAX_VARIANTS, Choice, Counted, Tally, Unmatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric
    from abside.report.ask import Ask
    from abside.report.stats.compare import Estimate
    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Overview, Seen
    from abside.report.tally.moments import ArmFigures
    from abside.snapshot import Experiment


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """One phase of one experiment."""

    experiment: Experiment
    phase: int
    control: str
    window_seconds: int
    analysis: AnalysisPlan
    metrics: tuple[Metric, ...]
    scope: Scope
    exposures: int  # rows of this phase, copies included
    copies: int
    late: int
    left_out: dict[str, ExcludedCounts]
    before_since: int
    after_until: int
    unmatched: Unmatched
    arms: tuple[ArmFigures, ...]
    sample_ratio: SampleRatio
    values: dict[str, dict[str, float | None]]  # metric → variant → figure
    value_units: dict[str, str]  # metric → currency or ms; shares and numbers are not in it
    without_value: dict[str, Valueless]  # type of events whose value is summed → those that have none
    estimates: tuple[Estimate, ...]
    curves: dict[str, tuple[float, ...]]  # variant → Lorenz curve of the items shown
    load_p75: dict[str, float]  # variant → ms
    cuts: Cuts
    sensitivity: tuple[Sensitivity, ...]
    fallbacks: FallbackCounts
    ledger: dict[str, ArmLedger]
    arrived: dict[str, int]  # exposures of every phase in the store, copies too, by variant
    notes: tuple[str, ...]

    @property
    def state(self) -> str:
        """Return whether this is a look on the way or the end, mechanically."""
        units = sum(arm.units for arm in self.arms)
        over = f"windows over for {sum(arm.mature for arm in self.arms) / units:.0%}".replace("%", " %")
        planned = self.analysis.planned_units
        if planned is None:
            return f"no planned_units: {over}"
        is_final = units >= planned and all(arm.mature == arm.units for arm in self.arms)
        share = f"{units / planned:.0%}".replace("%", " %")
        return f"{'final' if is_final else 'interim'}: {units:,} of {planned:,} planned units ({share}), {over}"


def experiment_page(
    engine: Engine,
    events: Table,
    tally: Tally,
    experiment: Experiment,
    seen: Overview,
    ask: Ask,
    metrics: tuple[Metric, ...],
    currency: str | None,
    notes: Sequence[str] = (),
    number: int = 0,
) -> ExperimentPage | ReportRefused:
    """Make the page of one experiment, or say why there is none.

    Raises EngineFailed.
    """
    name = experiment.id
    analysis = analysis_of(experiment)
    metrics = tuple(
        metric for metric in analysis.ordered(metrics) if metric.kind != "gini" or analysis.role(metric.name) != "other"
    )
    phases, phase = seen.phases[name], ask.phase
    if phase is not None and phase not in phases:
        found = listed([str(number) for number in phases])
        return ReportRefused(name, f"has no exposure of phase {phase}; phases with exposures: {found}")
    scope = scope_of(engine, events, experiment, max(phases) if phase is None else phase, ask.since)
    phase, control = scope.phase, scope.control
    known = _variants(experiment, scope.weights_bp, control)
    choice = Choice(
        experiment=name,
        phase=phase,
        unit=experiment.unit,
        placements=experiment.placements,
        window_seconds=analysis.window_seconds,
        variants=tuple(known),
        since=scope.since,
        until=ask.until,
        metrics=metrics,
        currency=currency,
        with_attributes=bool(ask.logged) or ask.with_rows,
    )
    counted = tally.count(choice)
    by_name = {arm.variant: arm for arm in counted.arms}
    refusal = _unusable(name, control, by_name, counted)
    if refusal:
        return refusal
    arms = tuple(by_name[variant] for variant in known if variant in by_name)
    figures = Figuring(engine, tally, events, choice, counted, arms).figures(seen, currency)
    if ask.with_rows:
        keep_rows(engine, tally.outcomes, events, choice, counted, number)
    valueless = without_value(engine, name, metrics, counted.hits)
    ratio = sample_ratio({arm.variant: arm.units for arm in arms}, scope.weights_bp, reason="no weights are known")
    primary = next((one for one in metrics if one.name == analysis.primary and one.kind != "gini"), None)
    if primary is not None and not_computed(primary, seen, currency):
        primary = None
    cutting = Cutting(
        engine, events, tally.outcomes, choice, counted, analysis, control, scope.weights_bp, tally.last_ts, primary
    )
    return ExperimentPage(
        experiment=experiment,
        phase=phase,
        control=control,
        window_seconds=choice.window_seconds,
        analysis=analysis,
        metrics=metrics,
        scope=scope,
        exposures=phases[phase],
        copies=exposure_copies(engine, events, name, phase),
        late=sum(one.late for one in scope.seen if one.phase == phase),
        left_out=left_out(engine, tally, events, choice),
        before_since=counted.before_since,
        after_until=counted.after_until,
        unmatched=counted.unmatched,
        arms=arms,
        sample_ratio=ratio,
        values=figures.values,
        value_units=value_units(metrics, seen, currency),
        without_value=valueless,
        estimates=read(figures.estimates, analysis, arms, control, metrics),
        curves=figures.curves,
        load_p75=figures.load_p75,
        cuts=cutting.cuts(ask.by, ask.logged, is_mismatch=ratio.is_mismatch),
        sensitivity=sensitivities(cutting, arms),
        fallbacks=fallbacks(engine, tally, events, choice, counted.units),
        ledger=dict(sorted(arm_ledger(engine, events, name).items(), key=str)),
        arrived=_arrived(scope.seen),
        notes=(
            *notes,
            *scope.notes,
            *other_currencies(metrics, seen, currency),
            *valueless_remarks(metrics, valueless),
            *changes(scope, counted),
            *ended(ask.until, counted),
            *arm_remarks(name, by_name, known, counted.folded),
            *plan_remarks(analysis, metrics, scope.definitions.unknown),
        ),
    )


def _variants(experiment: Experiment, weights: dict[str, int] | None, control: str) -> list[str]:
    """List the variants that are expected, control first."""
    declared = list(weights) if weights else [arm.id for arm in experiment.variants]
    return [control, *(name for name in declared if name != control)]


def _unusable(name: str, control: str, arms: dict[str, ArmFigures], counted: Counted) -> ReportRefused | None:
    if control in arms:
        return None
    early, late = counted.before_since, counted.after_until
    left = f"; {early:,} units first exposed before are left out" if early else ""
    left += f"; {late:,} units first exposed later are left out" if late else ""
    if not arms:
        none = " within the period asked for" if late else ": all are of bots, forced, or without an id"
        why = " since its figures begin" if early else none
        return ReportRefused(name, f"has exposures, and none of them of a unit{why}{left}")
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    return ReportRefused(name, f"has no unit in its control {control!r}; variants found: {found}{left}")


def _arrived(seen: Sequence[Seen]) -> dict[str, int]:
    """Count as the accounts do: a token that was posted twice was accepted twice, and stands here twice.

    Names beyond MAX_VARIANTS are garbage, and the rarest of them are one.
    """
    arrived: Counter[str] = Counter()
    for one in seen:
        if one.variant is not None:
            arrived[one.variant] += one.rows
    shown = dict(sorted(arrived.most_common(MAX_VARIANTS)))
    rest = arrived.total() - sum(shown.values())
    return {**shown, OTHERS: rest} if rest else shown
