"""Markdown for a comment on a pull request: what a document contains can neither end a cell nor call a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside_agent.document.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from abside.snapshot import Problem

MOST_ROWS = 100  # GitHub takes 65,536 characters a comment, GitLab more
MAX_CELL_CHARS = 400
_SIGNS = {ord(sign): f"\\{sign}" for sign in "\\`*_[]|~#"} | {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("@"): "&#64;",  # a name behind it would be told
    ord("\n"): " ",
    ord("\r"): " ",
}


def form_of(json: bool, form: str) -> str:
    """Return the form that `--json` and `--format` ask for. Raises ValueError where they ask for two."""
    if json and form == "markdown":
        raise ValueError("--json and --format markdown ask for two forms: give one of them")
    return "json" if json else form


def plain(text: str) -> str:
    """Return text as it reads, whatever signs it contains."""
    cut = text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"
    return cut.translate(_SIGNS)


def code(text: str) -> str:
    """Return text in a code span, on one line and without the signs that end one or a table's cell."""
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', '¦') or ' '}`"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, figures: int = 0) -> Iterator[str]:
    """Yield a table; its last `figures` columns are aligned to the right. Cells are Markdown already."""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "|".join(["---"] * (len(heads) - figures) + ["---:"] * figures) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def problem_table(problems: Sequence[Problem], command: str) -> Iterator[str]:
    """Yield a table of problems, errors first; of very many, how to see the rest."""
    if not problems:
        return
    ordered = sorted(problems, key=lambda one: one.severity)
    yield from table(("", "where", "what", "what would be right"), map(_row, ordered[:MOST_ROWS]))
    if len(ordered) > MOST_ROWS:
        yield ""
        yield f"And {counted(len(ordered) - MOST_ROWS, 'more problem')}: run {code(command)}."


def _row(one: Problem) -> tuple[str, ...]:
    where = f"{one.file}:{one.line}:{one.column}" if one.line else one.file
    path = f"{code(one.path)}: " if one.path else ""
    got = f" (got {code(one.value)})" if one.value else ""
    severity = f"**{one.severity}**" if one.severity == "error" else one.severity
    return severity, code(where), f"{path}{plain(one.message)}{got} {code(one.code)}", plain(one.remedy)
