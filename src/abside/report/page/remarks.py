"""What a reader must know beside the figures of one experiment: why they begin where they do, and what is in none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from abside.report.page.scope import told_parts
from abside.report.page.value_units import summed_values
from abside.report.problem import listed
from abside.report.tally.slices import OTHERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from abside.metric import Metric
    from abside.report.page.roles import AnalysisPlan
    from abside.report.page.scope import Scope
    from abside.report.page.value_units import Valueless
    from abside.report.store.exposures import Overview
    from abside.report.tally.moments import ArmFigures
    from abside.report.tally.units import Counted

HEAVY_SHARE = 0.05  # of an arm's exposures, by one unit: no shopper
MAX_STRANGERS = 5  # names that are no variant, each in a line: more of them is garbage in `variant`
CROWD_UNITS = 100  # below, one unit has its share anyway


def changes(scope: Scope, counted: Counted) -> list[str]:
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


def ended(until: datetime | None, counted: Counted) -> list[str]:
    """Return where figures end because somebody asked for it."""
    if until is None:
        return []
    later = f"{counted.after_until:,} units first exposed later are left out"
    return [f"figures are of first exposures before {until:%Y-%m-%d %H:%M:%S}Z as asked, {later}"]


def not_computed(metric: Metric, seen: Overview, currency: str | None) -> str:
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


def other_currencies(metrics: Sequence[Metric], seen: Overview, currency: str | None) -> list[str]:
    """Name the values that are in no figure, of another currency than the documents'."""
    others: Counter[str] = Counter()
    for kind in {term.event for metric in metrics for term in metric.terms if term.field == "value"}:
        others.update(seen.currencies.get(kind, {}))
    if currency is None or not (set(others) - {currency}):
        return []
    told = listed([f"{rows:,} in {name}" for name, rows in others.most_common() if name != currency])
    return [f"values in {currency} count, in no figure: {told}"]


def valueless_remarks(metrics: Sequence[Metric], found: Mapping[str, Valueless]) -> list[str]:
    """Name the events whose value is summed and that have none."""
    summed = summed_values(metrics)
    return [
        f"{one.rows:,} of {one.of:,} {kind} events within the windows have no value: "
        f"each adds 0 to {listed(summed[kind])}"
        for kind, one in found.items()
    ]


def arm_remarks(experiment: str, arms: Mapping[str, ArmFigures], known: Sequence[str], folded: int = 0) -> list[str]:
    """Name the arms without a unit, in one line, those that are no variant, and an id that is no shopper's.

    `folded`: how many names are one arm, OTHERS, because there are too many.
    """
    said = []
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    missing = [name for name in known if name not in arms]
    if missing:
        have = "has" if len(missing) == 1 else "have"
        said.append(f"{listed(missing)} {have} no unit; variants found: {found}")
    strangers = [arm for name, arm in arms.items() if name not in known]
    strangers.sort(key=lambda arm: (folded > 0 and arm.variant == OTHERS, -arm.units))
    said += [
        f"{arm.variant} has {arm.units:,} units and is no variant of {experiment}: they are in no figure"
        for arm in strangers[:MAX_STRANGERS]
    ]
    if rest := strangers[MAX_STRANGERS:]:
        units = sum(arm.units for arm in rest)
        names = len(rest) - 1 + folded if folded else len(rest)
        said.append(f"{names:,} more names that are no variant of {experiment} have {units:,} units together")
    return said + _heavy([arm for name, arm in arms.items() if name in known])


def _heavy(arms: Sequence[ArmFigures]) -> list[str]:
    """Name the arms, and the experiment, of which one unit has more exposures than a shopper makes."""
    exposures, units = sum(arm.exposures for arm in arms), sum(arm.units for arm in arms)
    said = []
    for arm in arms:
        whole, most = exposures or 1, arm.most_exposures
        is_heavy = arm.units >= CROWD_UNITS and most > HEAVY_SHARE * arm.exposures
        if is_heavy or (units >= CROWD_UNITS and most > HEAVY_SHARE * whole):
            shares = f"{most / arm.exposures:.0%} of the exposures of {arm.variant}, {most / whole:.0%} of all"
            said.append(
                f"one unit has {shares}: a robot, or an id that a crowd shares. In units.parquet of --export it has "
                "the most exposures; an id that stands for nobody is named with --shared-ids"
            )
    return said


def plan_remarks(analysis: AnalysisPlan, metrics: Sequence[Metric], unknown: int) -> list[str]:
    """Name what the document asks for and the page has not; `unknown` exposures met a configuration nobody told."""
    names = {metric.name for metric in metrics}
    said = [
        f"the {analysis.role(one)} is {one}, which is not among the figures of this page"
        for one in analysis.named()
        if one not in names
    ]
    if unknown:
        said.append(f"what was served in {unknown:,} exposures is not known: no config event tells it")
    return said
