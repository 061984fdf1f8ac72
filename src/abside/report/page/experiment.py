"""One experiment's page: everything that is printed of it, as plain records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.cuts import Cuts, Cutting
from abside.report.page.roles import AnalysisPlan, analysis_of, read
from abside.report.page.scope import Scope, scope_of, told_parts
from abside.report.page.sensitivity import Sensitivity, sensitivities
from abside.report.problem import ReportRefused, listed
from abside.report.stats.compare import Estimate, estimate, value_of
from abside.report.stats.gini import Gini, compared, jackknifed
from abside.report.stats.ratio import SampleRatio, sample_ratio
from abside.report.store.exposures import ExcludedCounts, exposure_copies, left_out
from abside.report.store.fallbacks import FallbackCounts, fallbacks
from abside.report.store.losses import ArmLedger, arm_ledger
from abside.report.tally.items import items_shown
from abside.report.tally.rows import keep_rows
from abside.report.tally.units import Choice, Counted, Tally, Unmatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric
    from abside.report.ask import Ask
    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Overview, Seen
    from abside.report.tally.moments import ArmFigures
    from abside.snapshot import Experiment

HEAVY_SHARE = 0.05  # of an arm's exposures, by one unit: no shopper
CROWD_UNITS = 100  # below, one unit has its share anyway


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
    unmatched: Unmatched
    arms: tuple[ArmFigures, ...]
    sample_ratio: SampleRatio
    values: dict[str, dict[str, float | None]]  # metric → variant → figure
    estimates: tuple[Estimate, ...]
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
    choice = Choice(
        experiment=name,
        phase=phase,
        unit=experiment.unit,
        placements=experiment.placements,
        window_seconds=analysis.window_seconds,
        since=scope.since,
        metrics=metrics,
        currency=currency,
        with_attributes=bool(ask.logged) or ask.with_rows,
    )
    counted = tally.count(choice)
    by_name = {arm.variant: arm for arm in counted.arms}
    refusal = _unusable(name, control, by_name, counted)
    if refusal:
        return refusal
    copies = exposure_copies(engine, events, name)
    known = _variants(experiment, scope.weights_bp, control)
    arms = tuple(by_name[variant] for variant in known if variant in by_name)
    refused = {metric.name: _refused(metric, seen, currency) for metric in metrics}
    ginis: dict[str, Gini | None] = {}
    if any(metric.kind == "gini" and not refused[metric.name] for metric in metrics):
        shown = items_shown(engine, tally.outcomes, events, choice, counted.units)
        ginis = {variant: jackknifed(counts) for variant, counts in shown.items()}
    estimates = []
    for metric in metrics:
        for arm in arms:
            if arm.variant == control:
                continue
            if refused[metric.name]:
                made = Estimate(metric.name, arm.variant, None, None, reason=refused[metric.name])
            elif metric.kind == "gini":
                made = compared(metric.name, arm.variant, ginis.get(control), ginis.get(arm.variant))
            else:
                made = estimate(metric, by_name[control], arm)
            estimates.append(made)
    if ask.with_rows:
        keep_rows(engine, tally.outcomes, events, choice, counted, number)
    ratio = sample_ratio({arm.variant: arm.units for arm in arms}, scope.weights_bp, reason="no weights are known")
    cutting = Cutting(engine, choice, counted, analysis, control, scope.weights_bp, tally.last_ts)
    return ExperimentPage(
        experiment=experiment,
        phase=phase,
        control=control,
        window_seconds=choice.window_seconds,
        analysis=analysis,
        metrics=metrics,
        scope=scope,
        exposures=phases[phase],
        copies=sum(count for (number, _), count in copies.items() if number == phase),
        late=sum(one.late for one in scope.seen if one.phase == phase),
        left_out=left_out(engine, tally, events, choice),
        before_since=counted.before_since,
        unmatched=counted.unmatched,
        arms=arms,
        sample_ratio=ratio,
        values={
            metric.name: dict.fromkeys((arm.variant for arm in arms), None)
            if refused[metric.name]
            else _values(metric, arms, ginis)
            for metric in metrics
        },
        estimates=read(estimates, analysis, arms, control, metrics),
        cuts=cutting.cuts(ask.by, ask.logged, is_mismatch=ratio.is_mismatch),
        sensitivity=sensitivities(cutting, tally.outcomes, arms),
        fallbacks=fallbacks(engine, tally, events, choice, counted.units),
        ledger=arm_ledger(engine, events, name),
        arrived=_arrived(scope.seen),
        notes=(
            *notes,
            *scope.notes,
            *_other_currencies(metrics, seen, currency),
            *_changes(scope, counted),
            *_remarks(experiment, by_name, known, analysis, scope, metrics),
        ),
    )


def _variants(experiment: Experiment, weights: dict[str, int] | None, control: str) -> list[str]:
    """List the variants that are expected, control first."""
    declared = list(weights) if weights else [arm.id for arm in experiment.variants]
    return [control, *(name for name in declared if name != control)]


def _unusable(name: str, control: str, arms: dict[str, ArmFigures], counted: Counted) -> ReportRefused | None:
    if control in arms:
        return None
    early = counted.before_since
    left = f"; {early:,} units first exposed before are left out" if early else ""
    if not arms:
        why = " since its figures begin" if early else ": all are of bots, forced, or without an id"
        return ReportRefused(name, f"has exposures, and none of them of a unit{why}{left}")
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    return ReportRefused(name, f"has no unit in its control {control!r}; variants found: {found}{left}")


def _changes(scope: Scope, counted: Counted) -> list[str]:
    """Return why figures begin where they do, and what is left out."""
    said = []
    since = "" if scope.since is None else f"{scope.since:%Y-%m-%d %H:%M:%S}Z"
    begin = f"figures begin at {since}{' as asked' if scope.is_asked else ''}"
    left = f"{counted.before_since:,} units first exposed before are left out"
    if len(scope.parts) > 1 and counted.before_since:
        parts = told_parts(scope.parts)
        said.append(f"the weights changed within phase {scope.phase} ({parts}); {begin}, {left}")
    if scope.definitions.since is not None:
        what = ", ".join(scope.definitions.changed)
        strays = f"; {scope.strays:,} exposures met the old one after it was changed everywhere" if scope.strays else ""
        said.append(f"the configuration of {what} changed; {begin}, {left}{strays}")
    if scope.is_asked and not said:
        said.append(f"{begin}, {left}")
    return said


def _values(metric: Metric, arms: Sequence[ArmFigures], ginis: dict[str, Gini | None]) -> dict[str, float | None]:
    if metric.kind != "gini":
        return {arm.variant: value_of(metric, arm) for arm in arms}
    found = {arm.variant: ginis.get(arm.variant) for arm in arms}
    return {variant: None if one is None else one.corrected for variant, one in found.items()}


def _refused(metric: Metric, seen: Overview, currency: str | None) -> str:
    """Return why a metric is not computed at all: absent is not zero, and two currencies are not added up."""
    missing = [kind for kind in metric.needs if kind not in seen.rows]
    if missing:
        return f"no data: the store holds no {' and no '.join(missing)}"
    found = _currencies(metric, seen) if metric.is_money and currency is None else {}
    if len(found) < 2:
        return ""
    told = listed([f"{name} ({rows:,})" for name, rows in found.items()])
    return f"several currencies: {told}; write currency: {next(iter(found))} at the top of a document"


def _currencies(metric: Metric, seen: Overview) -> dict[str, int]:
    kinds = {term.event for term in metric.terms if term.field == "value"}
    found: Counter[str] = Counter()
    for kind in kinds:
        found.update(seen.currencies.get(kind, {}))
    return dict(found.most_common())


def _other_currencies(metrics: Sequence[Metric], seen: Overview, currency: str | None) -> list[str]:
    """Name the values that are in no figure, of another currency than the documents'."""
    others: Counter[str] = Counter()
    for kind in {term.event for metric in metrics for term in metric.terms if term.field == "value"}:
        others.update(seen.currencies.get(kind, {}))
    if currency is None or not (set(others) - {currency}):
        return []
    told = listed([f"{rows:,} in {name}" for name, rows in others.most_common() if name != currency])
    return [f"values in {currency} count, in no figure: {told}"]


def _remarks(
    experiment: Experiment,
    arms: dict[str, ArmFigures],
    known: Sequence[str],
    analysis: AnalysisPlan,
    scope: Scope,
    metrics: Sequence[Metric],
) -> list[str]:
    said = []
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    said += [f"{name} has no unit; variants found: {found}" for name in known if name not in arms]
    said += [
        f"{name} has {arm.units:,} units and is no variant of {experiment.id}: they are in no figure"
        for name, arm in arms.items()
        if name not in known
    ]
    names = {metric.name for metric in metrics}
    said += [
        f"the {analysis.role(one)} is {one}, which is not among the figures of this page"
        for one in analysis.named()
        if one not in names
    ]
    said += [
        f"one unit has {arm.most_exposures / arm.exposures:.0%} of the exposures of {name}: a robot, or a shared id"
        for name, arm in arms.items()
        if arm.units >= CROWD_UNITS and arm.most_exposures > HEAVY_SHARE * arm.exposures
    ]
    unknown = scope.definitions.unknown
    if unknown:
        said.append(f"what was served in {unknown:,} exposures is not known: no config event tells it")
    return said


def _arrived(seen: Sequence[Seen]) -> dict[str, int]:
    """Count as the accounts do: a token that was posted twice was accepted twice, and stands here twice."""
    arrived: Counter[str] = Counter()
    for one in seen:
        if one.variant is not None:
            arrived[one.variant] += one.rows
    return dict(arrived)
