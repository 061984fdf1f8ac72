"""The report as text: a terminal's, or plain lines when nobody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abside.collector.store import UNREADABLE
from abside.report.page.words import (
    NONE,
    as_p,
    clocks_words,
    comparison,
    dates,
    duration,
    moment,
    percent,
    printable,
    sample_ratio_words,
    sentence,
    share,
    written,
)
from abside.report.store.exposures import LATE_SECONDS
from abside.report.tally.outcomes import EARLY_SECONDS, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

    from abside.metric import Metric
    from abside.report.page.cuts import Slice
    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.sensitivity import Sensitivity
    from abside.report.report import Report

ALARM, MUTED, HEAD = "bold red", "dim", "bold"
LEAST_WIDTH = 200  # the widest table; a narrow terminal breaks lines where it ends, and cuts nothing
EXPERIMENTS_SHOWN = 100
DAYS_SHOWN = 14
COMPARED = ("lift", "95 % interval", "always valid", "p", "adjusted", "")


class Pen:
    """Writes to a terminal in colour, to anything else plainly. What comes from events cannot steer a terminal."""

    def __init__(self, out: IO[str], *, is_terminal: bool | None = None) -> None:
        self._console = Console(file=out, force_terminal=is_terminal, markup=False, highlight=False, emoji=False)
        self._console.width = max(self._console.width, LEAST_WIDTH)

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line, never cut."""
        self._console.print(Text(printable(text), style), soft_wrap=True)

    def table(self, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, left: int = 1) -> None:
        """Write a table; all but the first `left` columns are numbers."""
        edge = box.SIMPLE_HEAD if self._console.is_terminal else None
        table = Table(box=edge, header_style=HEAD, pad_edge=False, padding=(0, 2, 0, 0))
        for index, name in enumerate(header):
            table.add_column(printable(name), justify="left" if index < left or not name else "right", no_wrap=True)
        for row in rows:
            table.add_row(*map(printable, row))
        with self._console.capture() as lines:
            self._console.print(table)
        for line in lines.get().splitlines():
            self._console.file.write(line.rstrip() + "\n")


def render(report: Report, pen: Pen) -> None:
    """Write the whole report."""
    seen = report.overview
    pen.line(f"{report.engine}: {report.files:,} files, {report.rows:,} rows, {dates(seen.first, seen.last)}", MUTED)
    rows = ", ".join(f"{count:,} {name}" for name, count in seen.rows.items())
    pen.line(f"events: {rows or 'none'}")
    if report.set_aside:
        files = "1 damaged file" if report.set_aside == 1 else f"{report.set_aside:,} damaged files"
        pen.line(f"not in any figure: {files} that the collector set aside (….parquet{UNREADABLE})", ALARM)
    pen.line(_losses(report))
    if report.clocks:
        pen.line(f"! {clocks_words(report.clocks)}", "yellow")
    if report.documents.degraded:
        problems = len(report.documents.problems)
        pen.line(f"the documents (revision {report.documents.revision}) have {problems} problems: abside check", ALARM)
    pen.line()
    _experiments(report, pen)
    for page in report.pages:
        pen.line()
        _page(page, report, pen)
    for refused in report.refused:
        pen.line()
        pen.line(f"{refused.experiment}: {refused.reason}", ALARM)
    if not report.pages and not report.refused:
        pen.line()
        pen.line("no experiment of the documents has an exposure in these events", ALARM)


def _losses(report: Report) -> str:
    account = report.ledger
    if not account.sidecars:
        return "lost: not known, no account of a sidecar is in these events"
    ended = f"{account.sidecars:,} sidecar{'' if account.sidecars == 1 else 's'}"
    if account.without_end:
        ended += f", {account.without_end:,} of them running or killed: the last seconds are not in it"
    if account.unread:
        ended += f", {account.unread:,} of them not readable and not in it"
    lost = ", ".join(f"{count:,} {name}" for name, count in sorted(account.lost.items()) if count)
    return f"lost: {lost or 'nothing'}, by the accounts of {ended}"


def _experiments(report: Report, pen: Pen) -> None:
    names = sorted({*report.overview.phases, *report.statuses})
    rows = []
    for name in names:
        phases = report.overview.phases.get(name, {})
        told = ", ".join(f"{number}" for number in phases) or NONE
        rows.append((name, report.statuses.get(name, "in no document"), told, f"{sum(phases.values()):,}"))
    shown = sorted(rows, key=lambda row: (row[0] not in report.statuses, row[0]))[:EXPERIMENTS_SHOWN]
    pen.table(("experiment", "documents", "phases", "exposures"), shown, left=3)
    found = len({*report.statuses, *report.overview.phases}) + report.overview.experiments - len(report.overview.phases)
    if found > len(shown):
        pen.line(f"and {found - len(shown):,} more names")


def _page(page: ExperimentPage, report: Report, pen: Pen) -> None:
    pen.line(f"{page.experiment.id}: {page.experiment.name}", HEAD)
    if page.sample_ratio.is_mismatch:
        pen.line(sample_ratio_words(page), ALARM)
    pen.line(sentence(page))
    for note in page.notes:
        pen.line(f"! {note}", "yellow")
    pen.line(_scope(page))
    for change in page.scope.history:
        pen.line(f"  {moment(change.at)}  {change.what}", MUTED)
    pen.line()
    _arms(page, pen)
    if not page.sample_ratio.is_mismatch:
        pen.line(sample_ratio_words(page))
    pen.line(_left_out(page))
    pen.line(_copies(page, report))
    pen.line(_unmatched(page))
    pen.line(_fallbacks(page))
    pen.line()
    _figures(page, pen)
    if page.sensitivity:
        pen.line()
        pen.table(
            (f"{page.analysis.primary}, otherwise", "variant", "units", "value", *COMPARED), _otherwise(page), left=2
        )
    _cuts(page, pen)


def _scope(page: ExperimentPage) -> str:
    first = min((arm.first for arm in page.arms), default=None)
    last = max((arm.last for arm in page.arms), default=None)
    unit = page.experiment.unit.replace("_", " ")
    return (
        f"phase {page.phase}, unit {unit}, at {', '.join(page.experiment.placements)}; first exposures "
        f"{dates(first, last)}; outcomes within {duration(page.window_seconds)}"
    )


def _arms(page: ExperimentPage, pen: Pen) -> None:
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
    pen.table(header, rows)


def _left_out(page: ExperimentPage) -> str:
    told = [f"{one.rows:,} {why} (of {one.units:,} units)" for why, one in sorted(page.left_out.items())]
    return f"of {page.exposures:,} exposures, left out: {', '.join(told) or 'none'}"


def _copies(page: ExperimentPage, report: Report) -> str:
    outcomes = sum(count for name, count in report.overview.late.items() if name in OUTCOMES)
    return (
        f"duplicates removed: {page.copies:,} exposures, {report.outcome_copies:,} outcomes of the store; "
        f"more than {duration(LATE_SECONDS)} late: {page.late:,} exposures, {outcomes:,} outcomes of the store"
    )


def _unmatched(page: ExperimentPage) -> str:
    found = page.unmatched
    early = f" ({found.just_before:,} of them by less than {duration(EARLY_SECONDS)})" if found.just_before else ""
    return (
        f"of {found.outcomes:,} outcomes of the store, in no figure: {found.of_nobody:,} "
        f"({share(found.of_nobody, found.outcomes)}) of people who are no unit here, "
        f"{found.before:,} before the first exposure{early}, {found.after:,} after the window"
    )


def _fallbacks(page: ExperimentPage) -> str:
    found = page.fallbacks
    if not found.calls:
        return "answered by a client's fallback: none told"
    units = ", ".join(f"{count:,} units of {name}" for name, count in (found.units or {}).items()) or "no unit"
    return f"answered by a client's fallback: {found.calls:,} calls; {units}; {found.elsewhere:,} shoppers in no arm"


def _otherwise(page: ExperimentPage) -> list[tuple[str, ...]]:
    metric = next(one for one in page.metrics if one.name == page.analysis.primary)
    return [
        (one.choice, each.variant, _units(one), written(metric, each.value), *comparison(each))
        for one in page.sensitivity
        for each in one.estimates
    ]


def _cuts(page: ExperimentPage, pen: Pen) -> None:
    """Write the cuts of the primary; a page shows the last days, the other forms all."""
    primary, cuts = page.analysis.primary, page.cuts
    metric = next((one for one in page.metrics if one.name == primary), page.metrics[0])
    for name, found in (cuts.ratios or {}).items():
        rows = [
            (one.key, _units(one), "-" if one.sample_ratio.p is None else as_p(one.sample_ratio.p)) for one in found
        ]
        pen.line()
        pen.table((f"sample ratio by {name}", "units", "p"), rows)
    if len(cuts.days) > 1:
        pen.line()
        pen.line(f"{primary}, persons first exposed until the end of each day")
        _slices(cuts.days[-DAYS_SHOWN:], "day", metric, pen)
    if len(cuts.since) > 1:
        pen.line()
        pen.line(f"{primary}, on each day since the first exposure, of the persons seen so long")
        _slices(cuts.since[:DAYS_SHOWN], "day since", metric, pen)
    for name, found in (cuts.by or {}).items():
        pen.line()
        pen.line(f"{primary} by {name} at the first exposure: exploratory, p adjusted over all values")
        _slices(found, name, metric, pen)


def _slices(slices: Sequence[Slice], name: str, metric: Metric, pen: Pen) -> None:
    rows = []
    for one in slices:
        for each in one.estimates:
            values = (written(metric, each.control), written(metric, each.value))
            rows.append((one.key, each.variant, _units(one), *values, *comparison(each)))
        if not one.estimates:
            rows.append((one.key, "", _units(one), *[""] * 7, "an arm has no unit"))
    header = (
        name,
        "variant",
        "units",
        "control",
        "value",
        "lift",
        "95 % interval",
        "always valid",
        "p",
        "adjusted",
        "",
    )
    pen.table(header, [row[: len(header)] for row in rows], left=2)


def _units(one: Slice | Sensitivity) -> str:
    return " / ".join(f"{count:,}" for count in one.units.values())


def _figures(page: ExperimentPage, pen: Pen) -> None:
    rows = []
    for metric in page.metrics:
        role = page.analysis.role(metric.name)
        name = metric.name if role == "other" else f"{metric.name} ({role})"
        values = page.values[metric.name]
        compared = [one for one in page.estimates if one.metric == metric.name]
        rows.append((name, page.control, written(metric, values[page.control]), *[""] * 6))
        rows += [("", one.variant, written(metric, one.value), *comparison(one)) for one in compared]
    pen.table(("metric", "variant", "value", *COMPARED), rows, left=2)
