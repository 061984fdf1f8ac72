"""One experiment in HTML: sentences, and every picture beside its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.page import rows
from abside.report.page.forest import page_bars, slice_bars
from abside.report.page.html.markup import heading, lines, paragraph, table
from abside.report.page.html.over_time import over_time
from abside.report.page.html.svg import forest, lorenz
from abside.report.page.lines import counted_lines, scope_line
from abside.report.page.words import sample_ratio_words, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.forest import Bar
    from abside.report.report import Report


def experiment(page: ExperimentPage, report: Report) -> list[str]:
    """Return one experiment: a mismatch before anything else, then what was in force, the figures, the cuts."""
    one = page.experiment
    body = [heading(f"{one.id}: {one.name}", 2)]
    if page.sample_ratio.is_mismatch:
        body.append(paragraph(sample_ratio_words(page), "alarm"))
    body.append(paragraph(sentence(page), "sentence"))
    if one.hypothesis:
        body.append(paragraph(one.hypothesis, "dim"))
    body += [paragraph(note, "note") for note in page.notes]
    body += lines([scope_line(page)])
    if page.scope.history:
        body += [heading("What was in force"), table(rows.history(page))]
    body += [heading("Units"), table(rows.arms(page)), *lines(counted_lines(page, report))]
    for name, found in (page.cuts.ratios or {}).items():
        body += [heading(f"Sample ratio by {name}"), table(rows.ratios(found, name))]
    return [*body, *_figures(page), *over_time(page), *_breakdowns(page), *_curves(page)]


def _figures(page: ExperimentPage) -> list[str]:
    bars = page_bars(page)
    body = [heading("Figures"), forest(_told("Lift by metric", bars), bars) if bars else ""]
    body += [table(rows.figures(page)), *(paragraph(text, "dim") for text in rows.folded(page))]
    if page.sensitivity:
        body += [heading(f"{page.analysis.primary} under other choices"), table(rows.otherwise(page))]
    return body


def _told(title: str, bars: Sequence[Bar]) -> str:
    """Return a forest's caption, which names what is drawn."""
    said = [f"{title}: the line is the 95 % interval"]
    if any(bar.band is not None for bar in bars):
        said.append("the pale bar the always-valid one")
    if any(bar.margins for bar in bars):
        said.append("dashed red a guardrail's margin")
    return ", ".join(said)


def _breakdowns(page: ExperimentPage) -> list[str]:
    body = []
    for name, found in (page.cuts.by or {}).items():
        body.append(heading(f"{page.analysis.primary} by {name} at the first exposure, exploratory"))
        bars = slice_bars(found)
        body += [forest(_told(f"Lift by {name}", bars), bars), table(rows.slices(page, found, name))]
    return body


def _curves(page: ExperimentPage) -> list[str]:
    """Draw how unequally items were shown: the further below the diagonal, the more a few of them have."""
    if not page.curves:
        return []
    told = (
        "The share of all that was shown, by the share of the items, least shown first. On the diagonal all are alike."
    )
    drawn = lorenz("Lorenz curves of the items shown", page.curves)
    return [heading("How unequally items were shown"), paragraph(told, "dim"), drawn, table(rows.curves(page))]
