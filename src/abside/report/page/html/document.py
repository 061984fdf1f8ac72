"""The report → one HTML document, self-contained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.page.aa import aa_grids, aa_lines
from abside.report.page.html.experiment import experiment
from abside.report.page.html.markup import heading, lines, paragraph, table, text
from abside.report.page.html.style import STYLE
from abside.report.page.lines import report_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.report import Report

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is loaded, and no script runs


def to_html(report: Report) -> bytes:
    """Return the whole page."""
    body = ["<h1>abside report</h1>", *lines(report_lines(report))]
    if report.aa is not None:
        body += [heading("A/A check", 2), *lines(aa_lines(report.aa)), *map(table, aa_grids(report.aa))]
    for page in report.pages:
        body += experiment(page, report)
    body += [paragraph(f"{one.experiment}: {one.reason}", "alarm") for one in report.refused]
    if not report.pages and not report.refused:
        body.append(paragraph("no experiment of the documents has an exposure in these events", "alarm"))
    return _whole("abside report", body).encode("utf-8", "replace")


def _whole(title: str, body: Sequence[str]) -> str:
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{text(title)}</title><style>{STYLE}</style></head>",
        "<body>",
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"
