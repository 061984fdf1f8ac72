"""Text → markup. Whatever an id, a name or an event holds, it is text here and no markup."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abside.report.page.lines import Line
    from abside.report.page.rows import Grid

LONG = 40  # characters of a cell that may break
NUMBER = ' class="n"'


def text(plain: str) -> str:
    """Return text that is no markup, without signs that a browser would act on."""
    return escape("".join(sign if sign.isprintable() else "?" for sign in plain))


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
    """Return a table that scrolls in itself where the window is narrower."""
    head = "".join(
        f"<th{'' if index < grid.left or not name else NUMBER}>{text(name)}</th>"
        for index, name in enumerate(grid.header)
    )
    rows = ("".join(_cell(cell, is_figure=index >= grid.left) for index, cell in enumerate(row)) for row in grid.rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    whole = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{whole}</div>'


def _cell(plain: str, is_figure: bool) -> str:
    """Put numbers under each other, and let only long words break."""
    is_number = is_figure and (plain[:1].isdigit() or plain[:1] in ("+", "-"))
    style = NUMBER if is_number else ' class="said"' if len(plain) > LONG else ""
    return f"<td{style}>{text(plain)}</td>"
