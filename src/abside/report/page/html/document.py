"""The report → one HTML document. Whatever an id, a name or an event holds, it is text here and no markup."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from abside.report.page.html.style import STYLE
from abside.report.page.html.svg import Bar, Point, forest, line
from abside.report.page.words import (
    NONE,
    as_p,
    clocks_words,
    comparison,
    dates,
    moment,
    sample_ratio_words,
    sentence,
    share,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.cuts import Slice
    from abside.report.page.experiment import ExperimentPage
    from abside.report.page.sensitivity import Sensitivity
    from abside.report.report import Report

COMPARED = ("lift", "95 % interval", "always valid", "p", "adjusted", "")
LONG = 40  # characters of a cell that may break
RATIO_Z = 3.2905  # two-sided p = 0.001
POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is loaded, and no script runs


def to_html(report: Report) -> bytes:
    """Return the whole page, self-contained."""
    seen = report.overview
    head = f"{report.engine}: {report.files:,} files, {report.rows:,} rows, {dates(seen.first, seen.last)}"
    body = ["<h1>abside report</h1>", _paragraph(head, "dim")]
    body.append(_paragraph(", ".join(f"{rows:,} {name}" for name, rows in seen.rows.items()), "dim"))
    if report.clocks:
        body.append(_paragraph(clocks_words(report.clocks), "note"))
    if report.documents.degraded:
        body.append(_paragraph(f"the documents have {len(report.documents.problems)} problems: abside check", "alarm"))
    for page in report.pages:
        body += _page(page)
    body += [_paragraph(f"{one.experiment}: {one.reason}", "alarm") for one in report.refused]
    return _whole("abside report", body).encode("utf-8", "replace")


def _page(page: ExperimentPage) -> list[str]:
    one = page.experiment
    body = [f"<h2>{_text(one.id)}: {_text(one.name)}</h2>"]
    if page.sample_ratio.is_mismatch:
        body.append(_paragraph(sample_ratio_words(page), "alarm"))
    body.append(_paragraph(sentence(page), "sentence"))
    if one.hypothesis:
        body.append(_paragraph(one.hypothesis, "dim"))
    body += [_paragraph(note, "note") for note in page.notes]
    body += [
        "<h3>What was in force</h3>",
        _table(("from", "what"), [(moment(c.at), c.what) for c in page.scope.history]),
    ]
    body += ["<h3>Units</h3>", _arms(page), _paragraph(sample_ratio_words(page), "")]
    body += ["<h3>Figures</h3>", forest("Lift by metric, with its intervals and margins", _bars(page)), _figures(page)]
    if page.sensitivity:
        header = ("otherwise", "variant", "units", "control", "value", *COMPARED)
        metric = next(one for one in page.metrics if one.name == page.analysis.primary)
        rows = [
            (
                *(one.choice, each.variant, _units(one)),
                *(written(metric, each.control), written(metric, each.value), *comparison(each)),
            )
            for one in page.sensitivity
            for each in one.estimates
        ]
        body += [f"<h3>{_text(metric.name)} under other choices</h3>", _table(header, rows)]
    body += _over_time(page)
    for name, found in (page.cuts.by or {}).items():
        body += [f"<h3>{_text(page.analysis.primary)} by {_text(name)}, exploratory</h3>"]
        body += [forest(f"Lift by {name}", _slice_bars(found)), _slices(page, found, name)]
    for name, found in (page.cuts.ratios or {}).items():
        rows = [
            (cut.key, _units(cut), NONE if cut.sample_ratio.p is None else as_p(cut.sample_ratio.p)) for cut in found
        ]
        body += [f"<h3>Sample ratio by {_text(name)}</h3>", _table((name, "units", "p"), rows)]
    return body


def _over_time(page: ExperimentPage) -> list[str]:
    """Draw the growing lift of each arm, the sample ratio as it grew, and the days since the first exposure."""
    body, cuts = [], page.cuts
    if len(cuts.days) > 1:
        body.append(f"<h3>{_text(page.analysis.primary)}, persons first exposed until each day</h3>")
        for arm in page.arms:
            points = [
                Point(cut.key[5:], one.lift, one.lift_interval, one.band)
                for cut in cuts.days
                for one in cut.estimates
                if one.variant == arm.variant
            ]
            if points:
                body.append(line(f"Lift of {arm.variant} until each day", points, 0.0))
        body += [_slices(page, cuts.days, "day"), *_ratio_by_day(page)]
    if len(cuts.since) > 1:
        body += [f"<h3>{_text(page.analysis.primary)}, on each day since the first exposure</h3>"]
        for arm in page.arms:
            points = [
                Point(cut.key, one.lift, one.lift_interval)
                for cut in cuts.since
                for one in cut.estimates
                if one.variant == arm.variant
            ]
            if points:
                body.append(line(f"Lift of {arm.variant} by days since the first exposure", points, 0.0))
        body.append(_slices(page, cuts.since, "day since"))
    return body


def _ratio_by_day(page: ExperimentPage) -> list[str]:
    """Draw the share of each arm that grows, within the band that only one look in a thousand leaves."""
    body = []
    whole = sum(page.sample_ratio.expected.values())
    for variant, expected in page.sample_ratio.expected.items():
        if variant == page.control or not whole:
            continue
        weight, points, rows = expected / whole, [], []
        for cut in page.cuts.days:
            total = sum(cut.units.values())
            reach = RATIO_Z * math.sqrt(weight * (1 - weight) / total) if total else 0.0
            found = cut.units.get(variant, 0) / total if total else None
            points.append(Point(cut.key[5:], found, outer=(weight - reach, weight + reach)))
            rows.append((cut.key, _units(cut), share(cut.units.get(variant, 0), total), _p(cut.sample_ratio.p)))
        body.append(f"<h3>Share of {_text(variant)} by day, with the band of p = 0.001</h3>")
        body += [line(f"Share of {variant}", points, weight), _table(("day", "units", "share", "p"), rows)]
    return body


def _arms(page: ExperimentPage) -> str:
    total = sum(arm.units for arm in page.arms)
    whole = sum(page.sample_ratio.expected.values())
    rows = []
    for arm in page.arms:
        expected = page.sample_ratio.expected.get(arm.variant)
        weight = NONE if expected is None or not whole else f"{expected / whole:.2%}"
        more = (share(arm.crossed, arm.units), share(arm.mature, arm.units))
        rows.append((arm.variant, f"{arm.units:,}", share(arm.units, total), weight, *more))
    return _table(("variant", "units", "share", "weight", "crossovers", "window over"), rows)


def _bars(page: ExperimentPage) -> list[Bar]:
    bars = []
    for one in (found for found in page.estimates if found.lift is not None):
        margin = page.analysis.guardrails.get(one.metric)
        ends = (margin.max_increase, None if margin.max_decrease is None else -margin.max_decrease) if margin else ()
        name = one.metric if len(page.arms) == 2 else f"{one.metric}, {one.variant}"
        bars.append(Bar(name, one.lift, one.lift_interval, one.band, tuple(end for end in ends if end is not None)))
    return bars


def _slice_bars(slices: Sequence[Slice]) -> list[Bar]:
    return [
        Bar(f"{cut.key[:24]}, {one.variant}", one.lift, one.lift_interval) for cut in slices for one in cut.estimates
    ]


def _figures(page: ExperimentPage) -> str:
    rows: list[Sequence[str]] = []
    for metric in page.metrics:
        role = page.analysis.role(metric.name)
        name = metric.name if role == "other" else f"{metric.name} ({role})"
        rows.append((name, page.control, written(metric, page.values[metric.name].get(page.control)), *[""] * 6))
        compared = [one for one in page.estimates if one.metric == metric.name]
        rows += [("", one.variant, written(metric, one.value), *comparison(one)) for one in compared]
    return _table(("metric", "variant", "value", *COMPARED), rows)


def _slices(page: ExperimentPage, slices: Sequence[Slice], name: str) -> str:
    metric = next(one for one in page.metrics if one.name == page.analysis.primary)
    rows = [
        (cut.key, one.variant, _units(cut), written(metric, one.control), written(metric, one.value), *comparison(one))
        for cut in slices
        for one in cut.estimates
    ]
    return _table((name, "variant", "units", "control", "value", *COMPARED), rows)


def _p(p: float | None) -> str:
    return NONE if p is None else as_p(p)


def _units(cut: Slice | Sensitivity) -> str:
    return " / ".join(f"{count:,}" for count in cut.units.values())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    """Put numbers under each other, and let only long words break."""
    is_number = text[:1].isdigit() or text[:1] in ("+", "-")
    style = ' class="n"' if is_number else ' class="said"' if len(text) > LONG else ""
    return f"<td{style}>{_text(text)}</td>"


def _paragraph(text: str, style: str) -> str:
    return f'<p class="{style}">{_text(text)}</p>' if style else f"<p>{_text(text)}</p>"


def _text(text: str) -> str:
    return escape("".join(sign if sign.isprintable() else "?" for sign in text))


def _whole(title: str, body: Sequence[str]) -> str:
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{STYLE}</style></head>",
        "<body>",
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"
