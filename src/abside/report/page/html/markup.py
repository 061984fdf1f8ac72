"""Text → markup. Whatever an id, a name or an event holds, it is text here and no markup."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from abside.report.page.words import NONE

if TYPE_CHECKING:
    from abside.report.page.rows import Grid
    from abside.report.page.words import Line

LONG = 40  # characters of a cell that may break
NUMBER, TOLD = ' class="n"', ' class="told"'
PERCENT = "\u00a0%"  # a line never begins with the sign
NEW_LINE, BREAK = "\n", "_<wbr>"  # a name in a narrow column is broken where its words are


def text(plain: str) -> str:
    """Return text that is no markup, without signs that a browser would act on."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in plain)
    return escape(plain).replace(" %", PERCENT)


def heading(plain: str, level: int = 3) -> str:
    """Return a heading."""
    return f"<h{level}>{text(plain)}</h{level}>"


def paragraph(plain: str, style: str = "") -> str:
    """Return a paragraph; `style` is a class of the style sheet."""
    return f'<p class="{style}">{text(plain)}</p>' if style else f"<p>{text(plain)}</p>"


def lines(said: list[Line]) -> list[str]:
    """Return a paragraph for each sentence, as loud as it is."""
    return [paragraph(line.text, line.tone) for line in said]


def table(grid: Grid) -> str:
    """Return a table that scrolls in itself where the window is narrower; columns without any figure are left out.

    What is said of a row (a last column without a name) stands below its figures, over the whole width.
    """
    is_told = grid.header[-1] == ""
    every = range(len(grid.header) - is_told)
    shown = [index for index in every if index < grid.left or any(row[index] not in ("", NONE) for row in grid.rows)]
    head = "".join(f"<th{'' if index < grid.left else NUMBER}>{text(grid.header[index])}</th>" for index in shown)
    body = []
    for row in grid.rows:
        cells = "".join(_cell(row[index], is_figure=index >= grid.left) for index in shown)
        said = row[-1] if is_told else ""
        body.append(f"<tr{TOLD if said else ''}>{cells}</tr>")
        if said:
            body.append(f'<tr class="said"><td></td><td colspan="{len(shown) - 1}"><div>{text(said)}</div></td></tr>')
    whole = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{NEW_LINE.join(body)}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{whole}</div>'


def _cell(plain: str, *, is_figure: bool) -> str:
    """Put numbers under each other, and let only long words break."""
    is_number = is_figure and (plain[:1].isdigit() or plain[:1] in ("+", "-", "<"))
    style = NUMBER if is_number else ' class="long"' if len(plain) > LONG else ""
    return f"<td{style}>{text(plain).replace('_', BREAK)}</td>"
