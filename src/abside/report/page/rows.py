"""Every table of the page as rows of text, the same in a terminal, in HTML and in Markdown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.page.figures import LOAD
from abside.report.page.words import NONE, as_p, comparison, moment, percent, share, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric
    from abside.report.page.cuts import Slice
    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.sensitivity import Sensitivity

LOAD_P75 = "page_load_p75"
COMPARED = ("lift", "95 % interval", "always valid", "p", "adjusted", "")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its first `left` columns are names, the others are numbers, and the last may be words."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def history(page: ExperimentPage) -> Grid:
    """Return what was in force when."""
    return Grid(("from", "what"), tuple((moment(one.at), one.what) for one in page.scope.history), 2)


def arms(page: ExperimentPage) -> Grid:
    """Return the units of each arm beside its weight."""
    total = sum(arm.units for arm in page.arms)
    whole = sum(page.sample_ratio.expected.values())
    rows = []
    for arm in page.arms:
        expected = page.sample_ratio.expected.get(arm.variant)
        account, arrived = page.ledger.get(arm.variant), page.arrived.get(arm.variant, 0)
        missing = account.lost + max(0, account.accepted - arrived) if account else None
        rows.append(
            (
                arm.variant,
                f"{arm.units:,}",
                share(arm.units, total),
                NONE if expected is None or not whole else percent(expected / whole, 2),
                share(arm.crossed, arm.units),
                share(arm.mature, arm.units),
                NONE if missing is None else f"{missing:,}",
            )
        )
    header = ("variant", "units", "share", "weight", "crossovers", "window over", "exposures lost")
    return Grid(header, tuple(rows))


def figures(page: ExperimentPage) -> Grid:
    """Return each metric of each arm, beside control; what `folded` names in a line is not in it."""
    rows: list[tuple[str, ...]] = []
    for metric in page.metrics:
        compared = [one for one in page.estimates if one.metric == metric.name]
        if _is_folded(page, metric):
            continue
        role = page.analysis.role(metric.name)
        name = metric.name if role == "other" else f"{metric.name} ({role})"
        value_unit = page.value_units.get(metric.name, "")
        own = written(metric, page.values[metric.name].get(page.control), value_unit)
        rows.append((name, page.control, own, *[""] * 6))
        rows += [("", one.variant, written(metric, one.value, value_unit), *comparison(one)) for one in compared]
        if metric.name == LOAD:
            rows += _percentiles(page)
    return Grid(("metric", "variant", "value", *COMPARED), tuple(rows), 2)


def _percentiles(page: ExperimentPage) -> list[tuple[str, ...]]:
    """Return the 75th percentile of page load of each arm: a figure without an interval."""
    found = [(variant, f"{ms:,.0f} ms") for variant, ms in page.load_p75.items()]
    said = "a percentile, without an interval"
    return [
        ("" if index else LOAD_P75, variant, ms, *[""] * 5, "" if index else said)
        for index, (variant, ms) in enumerate(found)
    ]


def curves(page: ExperimentPage) -> Grid:
    """Return the Lorenz curve of each arm: the share of all that was shown that the least shown items have."""
    steps = max((len(curve) for curve in page.curves.values()), default=1) - 1
    rows = [
        (percent(step / steps, 0), *(percent(curve[step], 2) for curve in page.curves.values()))
        for step in range(steps + 1)
        if steps
    ]
    return Grid(("least shown items", *page.curves), tuple(rows), 0)


def folded(page: ExperimentPage) -> list[str]:
    """Return a line for each reason why metrics that the document does not name are not computed."""
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for metric in page.metrics:
        if _is_folded(page, metric):
            (reason,) = {one.reason for one in page.estimates if one.metric == metric.name}
            reasons[reason].append(metric.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _is_folded(page: ExperimentPage, metric: Metric) -> bool:
    """Whether nothing at all is known of a metric, for one reason, and nobody asked for it."""
    if page.analysis.role(metric.name) != "other":
        return False
    compared = [one for one in page.estimates if one.metric == metric.name]
    is_empty = all(value is None for value in page.values[metric.name].values())
    return is_empty and bool(compared) and len({one.reason for one in compared}) == 1


def otherwise(page: ExperimentPage) -> Grid:
    """Return the primary under other choices."""
    metric = primary(page)
    value_unit = page.value_units.get(metric.name, "")
    rows = [
        (one.choice, each.variant, _units(one), written(metric, each.value, value_unit), *comparison(each))
        for one in page.sensitivity
        for each in one.estimates
    ]
    return Grid((f"{page.analysis.primary}, otherwise", "variant", "units", "value", *COMPARED), tuple(rows), 2)


def slices(page: ExperimentPage, cut: Sequence[Slice], name: str) -> Grid:
    """Return the primary of each slice."""
    metric = primary(page)
    value_unit = page.value_units.get(metric.name, "")
    rows: list[tuple[str, ...]] = []
    for one in cut:
        for each in one.estimates:
            values = (written(metric, value, value_unit) for value in (each.control, each.value))
            rows.append((one.key, each.variant, _units(one), *values, *comparison(each)))
        if not one.estimates:
            rows.append((one.key, "", _units(one), *[""] * 7, "an arm has no unit"))
    return Grid((name, "variant", "units", "control", "value", *COMPARED), tuple(rows), 2)


def ratios(cut: Sequence[Slice], name: str) -> Grid:
    """Return the sample ratio of each slice."""
    rows = [(one.key, _units(one), NONE if one.sample_ratio.p is None else as_p(one.sample_ratio.p)) for one in cut]
    return Grid((f"sample ratio by {name}", "units", "p"), tuple(rows))


def primary(page: ExperimentPage) -> Metric:
    """Return the metric that cuts and other choices are of."""
    return next((one for one in page.metrics if one.name == page.analysis.primary), page.metrics[0])


def _units(one: Slice | Sensitivity) -> str:
    return " / ".join(f"{count:,}" for count in one.units.values())
