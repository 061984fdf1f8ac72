"""Problems for a terminal: by file, the line quoted with a caret, the remedy below."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import click

from abside_agent.document.wording import written_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.snapshot import Problem

LONGEST_LINE = 160  # characters of a quoted line: one line may contain a whole experiment
_WORD = re.compile(r"[^\s,:\]}\[{#\"']+")
_COLOURS = {"error": "red", "warning": "yellow"}


def shown(problems: Iterable[Problem], lines: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """Yield one styled text per file, ended by a line break. `lines`: (file, line from 1) → its text."""
    for file, group in groupby(problems, key=lambda problem: problem.file):
        yield "".join(_problem(one, lines.get((file, one.line), "")) for one in group)


def _problem(one: Problem, line: str) -> str:
    where = f"{one.file}:{one.line}:{one.column}" if one.line else one.file
    severity = click.style(one.severity, fg=_COLOURS[one.severity], bold=True)
    path = f"{one.path}: " if one.path else ""
    is_seen = one.value.strip('"') in line
    got = f" (got {one.value})" if one.value and not is_seen else ""
    text = f"{where}: {severity}: {path}{one.message}{got} [{one.code}]\n"
    margin = " " * len(str(one.line)) if one.line else " "
    if line:
        text += "".join(f"  {part}\n" for part in _quoted(one, line, margin))
    return text + (f"  {margin} = {click.style(one.remedy, bold=True)}\n" if one.remedy else "")


def _quoted(one: Problem, line: str, margin: str) -> Iterator[str]:
    """Yield the line, cut around its column where long, and carets below the value."""
    first = max(0, min(one.column - LONGEST_LINE // 2, len(line) - LONGEST_LINE))
    text = line[first : first + LONGEST_LINE].replace("\t", " ")
    text = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)
    if first:
        text = "…" + text[1:]
    if first + LONGEST_LINE < len(line):
        text = text[:-1] + "…"
    before = sum(_columns(mark) for mark in text[: one.column - 1 - first])
    carets = click.style("^" * max(1, min(_width(one, line), LONGEST_LINE - before)), fg=_COLOURS[one.severity])
    yield f"{one.line} | {text}"
    yield f"{margin} | {' ' * before}{carets}"


def _width(one: Problem, line: str) -> int:
    """Return the width of what the carets mark: the value as written, else the word there."""
    at = one.column - 1
    word = _WORD.match(line, at)
    bare = one.value.strip('"')
    for quoted in (f'"{bare}"', f"'{bare}'", bare, word[0] if word else ""):
        if quoted and line.startswith(quoted, at):
            return sum(_columns(mark) for mark in quoted)
    return 1


def _columns(mark: str) -> int:
    return 2 if east_asian_width(mark) in "WF" else 1


def shown_slots(free: Iterable[tuple[int, int]]) -> str:
    """Return ranges as a document has them."""
    return ", ".join(map(written_range, free))
