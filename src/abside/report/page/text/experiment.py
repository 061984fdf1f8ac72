"""One experiment, written with a pen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.page import rows
from abside.report.page.lines import counted_lines, scope_line
from abside.report.page.text.bars import bars
from abside.report.page.text.pen import ALARM, HEAD, MUTED, NOTE
from abside.report.page.words import moment, sample_ratio_words, sentence

if TYPE_CHECKING:
    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.text.pen import Pen
    from abside.report.report import Report

DAYS_SHOWN = 14


def write_page(page: ExperimentPage, report: Report, pen: Pen) -> None:
    """Write one experiment: a mismatch before anything else, then what the figures are of, the figures, the cuts."""
    pen.line(f"{page.experiment.id}: {page.experiment.name}", HEAD)
    if page.sample_ratio.is_mismatch:
        pen.line(sample_ratio_words(page), ALARM)
    pen.line(sentence(page))
    for note in page.notes:
        pen.line(f"! {note}", NOTE)
    pen.say(scope_line(page))
    for change in page.scope.history:
        pen.line(f"{moment(change.at)}  {change.what}", MUTED, indent=2)
    pen.line()
    pen.table(rows.arms(page))
    for line in counted_lines(page, report):
        pen.say(line)
    _ratios(page, pen)
    pen.line()
    pen.table(rows.figures(page))
    for text in rows.folded(page):
        pen.line(text, MUTED)
    for text in bars(page, pen.width):
        pen.line(text)
    if page.sensitivity:
        pen.line()
        pen.table(rows.otherwise(page))
    _over_time(page, pen)


def _ratios(page: ExperimentPage, pen: Pen) -> None:
    """Write where the cause of a mismatch may be."""
    for name, found in (page.cuts.ratios or {}).items():
        pen.line()
        pen.table(rows.ratios(found, name))


def _over_time(page: ExperimentPage, pen: Pen) -> None:
    """Write the cuts of the primary; a terminal shows the last days, the other forms all."""
    primary, cuts = page.analysis.primary, page.cuts
    if len(cuts.days) > 1:
        pen.line()
        pen.line(f"{primary}, as it was at the end of each day: persons first exposed, and outcomes, until then")
        pen.table(rows.slices(page, cuts.days[-DAYS_SHOWN:], "day"))
    if len(cuts.since) > 1:
        pen.line()
        pen.line(f"{primary}, on each day since the first exposure, of the persons seen so long")
        pen.table(rows.slices(page, cuts.since[:DAYS_SHOWN], "day since"))
    for name, found in (cuts.by or {}).items():
        pen.line()
        pen.line(f"{primary} by {name} at the first exposure: exploratory, p adjusted over all values")
        pen.table(rows.slices(page, found, name))
