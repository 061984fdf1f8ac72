"""The whole report, written with a pen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.page.aa import aa_grids, aa_lines
from abside.report.page.lines import report_lines
from abside.report.page.rows import Grid
from abside.report.page.text.experiment import write_page
from abside.report.page.text.pen import ALARM
from abside.report.page.words import NONE

if TYPE_CHECKING:
    from abside.report.page.text.pen import Pen
    from abside.report.report import Report

EXPERIMENTS_SHOWN = 100


def write_report(report: Report, pen: Pen) -> None:
    """Write the whole report."""
    for line in report_lines(report):
        pen.say(line)
    pen.line()
    _experiments(report, pen)
    if report.aa is not None:
        pen.line()
        for line in aa_lines(report.aa):
            pen.say(line)
        for grid in aa_grids(report.aa):
            pen.line()
            pen.table(grid)
    for page in report.pages:
        pen.line()
        write_page(page, report, pen)
    for refused in report.refused:
        pen.line()
        pen.line(f"{refused.experiment}: {refused.reason}", ALARM)
    if not report.pages and not report.refused:
        pen.line()
        pen.line("no experiment of the documents has an exposure in these events", ALARM)


def _experiments(report: Report, pen: Pen) -> None:
    names = sorted({*report.overview.phases, *report.statuses})
    rows = []
    for name in names:
        phases = report.overview.phases.get(name, {})
        told = ", ".join(f"{number}" for number in phases) or NONE
        rows.append((name, report.statuses.get(name, "in no document"), told, f"{sum(phases.values()):,}"))
    shown = sorted(rows, key=lambda row: (row[0] not in report.statuses, row[0]))[:EXPERIMENTS_SHOWN]
    pen.table(Grid(("experiment", "documents", "phases", "exposures"), tuple(shown), 3))
    found = len({*report.statuses, *report.overview.phases}) + report.overview.experiments - len(report.overview.phases)
    if found > len(shown):
        pen.line(f"and {found - len(shown):,} more names")
