"""The figures as tables for other programs and for pull requests: CSV, and Markdown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from abside.report.page import rows
from abside.report.page.aa import aa_grids, aa_lines
from abside.report.page.value_units import MS
from abside.report.page.words import NONE, sample_ratio_words, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.rows import Grid
    from abside.report.report import Report

COLUMNS = (
    *("experiment", "phase", "metric", "role", "variant", "is_control", "units", "value", "value_unit", "lift"),
    *("lift_low", "lift_high", "band_low", "band_high", "difference", "difference_low", "difference_high"),
    *("p", "p_adjusted", "margin", "label", "reason", "warning"),
)


PLAIN = ("variant", "value", "lift", "difference", "p", "p_adjusted", "margin", "label", "reason", "warning")


def to_csv(report: Report) -> bytes:
    """Return one row a metric and arm, in COLUMNS: fractions unrounded, empty where not estimable."""
    text = io.StringIO()
    out = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    out.writeheader()
    for page in report.pages:
        out.writerows(_rows(page))
    return text.getvalue().encode()


def _rows(page: ExperimentPage) -> Iterator[dict[str, Any]]:
    units = {arm.variant: arm.units for arm in page.arms}
    for metric in page.metrics:
        head = {"experiment": page.experiment.id, "phase": page.phase, "metric": metric.name}
        head |= {"role": page.analysis.role(metric.name), "value_unit": page.value_units.get(metric.name, "")}
        value = page.values[metric.name].get(page.control)
        control = {"variant": page.control, "is_control": 1, "units": units[page.control], "value": value}
        yield {**head, **control}
        for one in (found for found in page.estimates if found.metric == metric.name):
            row = {name: getattr(one, name) for name in PLAIN}
            spans = {"lift": one.lift_interval, "band": one.band, "difference": one.difference_interval}
            for name, interval in spans.items():
                row[f"{name}_low"], row[f"{name}_high"] = interval or (None, None)
            yield {**head, **row, "is_control": 0, "units": units[one.variant]}
    for variant, ms in page.load_p75.items():
        head = {"experiment": page.experiment.id, "phase": page.phase, "metric": rows.LOAD_P75, "role": "other"}
        more = {"is_control": int(variant == page.control), "units": units[variant], "reason": "a percentile"}
        yield {**head, **more, "variant": variant, "value": ms, "value_unit": MS}


def to_markdown(report: Report) -> bytes:
    """Return the pages as Markdown: the sentence, what is to be known, the arms and the figures."""
    lines = []
    if report.aa is not None:
        lines += ["## A/A check", "", *(f"- {_text(line.text)}" for line in aa_lines(report.aa)), ""]
        lines += [line for grid in aa_grids(report.aa) for line in (*_table(grid), "")]
    for page in report.pages:
        lines += [f"## {_text(page.experiment.id)}: {_text(page.experiment.name)}", "", _text(sentence(page)), ""]
        lines += [f"- {_text(note)}" for note in page.notes]
        lines += ["", _text(sample_ratio_words(page)), ""]
        lines += [*_table(rows.arms(page)), "", *_table(rows.figures(page)), ""]
        told = rows.folded(page)
        lines += [*(f"- {_text(one)}" for one in told), *([""] if told else [])]
    lines += [f"- {_text(one.experiment)}: {_text(one.reason)}" for one in report.refused]
    return ("\n".join(lines).rstrip("\n") + "\n").encode()


def _table(grid: Grid) -> list[str]:
    edge = ["---" if index < grid.left else "---:" for index in range(len(grid.header))]
    return [
        f"| {' | '.join(_text(cell) if cell else ' ' for cell in line)} |" for line in (grid.header, edge, *grid.rows)
    ]


def _text(text: str) -> str:
    """Return text that is no markup: ids and notes may hold anything."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    for sign in ("\\", "|", "<", "`", "[", "*", "_"):
        plain = plain.replace(sign, f"\\{sign}")
    return plain if text != NONE else NONE
