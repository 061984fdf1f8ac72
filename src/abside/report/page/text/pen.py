"""Writes lines and tables to a terminal of any width and encoding, and plainly to anything else."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from abside.report.page.words import NONE, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.rows import Grid
    from abside.report.page.words import Line

ALARM, MUTED, HEAD, NOTE = "bold red", "dim", "bold", "yellow"
TONES = {"": "", "dim": MUTED, "note": NOTE, "alarm": ALARM}
PLAIN_WIDTH = 200  # of what is no terminal, for bars
GAP = 2  # between columns
EDGE = 1  # of a frame, on both sides of each column
# What a terminal shows that has only ASCII; any other sign becomes a question mark.
ASCII = str.maketrans({"…": "...", "→": "->", "─": "-", "━": "=", "●": "o", "│": "|", "┊": ":", "≥": ">="})


class Pen:
    """Writes to a terminal in colour, to anything else plainly. What comes from events cannot steer a terminal."""

    def __init__(self, out: IO[str], *, is_terminal: bool | None = None, width: int | None = None) -> None:
        self._console = Console(
            file=out, force_terminal=is_terminal, width=width, markup=False, highlight=False, emoji=False
        )
        if not self._console.is_terminal:
            self._console.width = max(self._console.width, PLAIN_WIDTH)
        self.width = self._console.width

    def line(self, text: str = "", style: str = "", *, indent: int = 0) -> None:
        """Write one line, never cut: a terminal breaks it between words, anything else gets it whole."""
        told = Text(self._shown(text), style)
        parts = [told]
        if self._console.is_terminal:
            parts = list(told.wrap(self._console, self.width - indent, overflow="fold")) or parts
        for part in parts:
            part.rstrip()
            self._console.print(Text(" " * indent) + part, soft_wrap=True)

    def say(self, line: Line) -> None:
        """Write a sentence as loud as it is."""
        self.line(f"! {line.text}" if line.tone == "note" else line.text, TONES[line.tone])

    def table(self, grid: Grid) -> None:
        """Write a table; where a terminal is narrower, each row as a paragraph instead."""
        rows = [tuple(map(self._shown, row)) for row in (grid.header, *grid.rows)]
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        if self._console.is_terminal and sum(widths) + (GAP + EDGE) * len(widths) + EDGE > self.width:
            self._paragraphs(grid)
            return
        if self._console.is_terminal:
            self._framed(rows, grid.left)
            return
        for row in rows:
            cells = []
            for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
                room = " " * (width - cell_len(cell))
                is_text = index < grid.left or not rows[0][index]
                cells.append(cell + room if is_text else room + cell)
            self._console.file.write((" " * GAP).join(cells).rstrip() + "\n")

    def _framed(self, rows: Sequence[tuple[str, ...]], left: int) -> None:
        """Write a table that fits the terminal."""
        table = Table(box=box.SIMPLE_HEAD, header_style=HEAD, pad_edge=False, padding=(0, GAP, 0, 0))
        for index, name in enumerate(rows[0]):
            table.add_column(name, justify="left" if index < left or not name else "right", no_wrap=True)
        for row in rows[1:]:
            table.add_row(*row)
        with self._console.capture() as lines:
            self._console.print(table)
        for line in lines.get().splitlines():
            self._console.file.write(line.rstrip() + "\n")

    def _paragraphs(self, grid: Grid) -> None:
        """Write rows without columns: the names, and below them each figure with what it is."""
        for row in grid.rows:
            self.line(", ".join(filter(None, row[: grid.left])), HEAD)
            named = zip(grid.header[grid.left :], row[grid.left :], strict=True)
            told = [f"{name} {cell}".lstrip() for name, cell in named if cell and cell != NONE]
            if told:
                self.line("; ".join(told), indent=GAP)

    def _shown(self, text: str) -> str:
        """Return text that cannot steer the terminal, in signs that its encoding has."""
        plain = printable(text)
        encoding = self._console.encoding
        try:
            plain.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return plain.translate(ASCII).encode(encoding, "replace").decode(encoding)
        return plain
