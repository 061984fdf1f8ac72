"""Syntax errors of libyaml as problems that a person can act on. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from abside_agent.document.text import Unreadable

if TYPE_CHECKING:
    from abside_agent.document.tree import Place

_GLUED = re.compile(r"(\s*(?:- +)?)([\w.-]+):(?!//)(\S.*)")
MAX_DEPTH = 32  # the deepest document of ours needs 10; parameters may nest as deep as a request may (32)

_COLON = 'indent it, put text with ": " in quotes, or write the blank that the line above lacks after its `:`'
# A part of libyaml's message → our message and remedy. The first match counts.
_REMEDIES = (
    ("mapping values are not", "a `:` is where no value can begin", _COLON),
    ("unexpected end of stream", "the quote that opens here is never closed", "close it"),
    ("unknown escape", "this escape is not known in double quotes", r"write \\ for a backslash, or use single quotes"),
    ("expected key", "the line is not indented as its neighbours", "indent it as the other keys beside it"),
    ("expected '-' indicator", "a list item or a key has the wrong indent", "indent it as the items beside it"),
    ("',' or ']'", "a `[` list is not closed, or a comma is missing", "write `[a, b]`"),
    ("',' or '}'", "a `{` mapping is not closed, or a comma is missing", "write `{a: 1, b: 2}`"),
    ("cannot start any token", "no value can begin with this character", "put the text in quotes"),
    ("block sequence entries are not allowed", "a list begins on the line of its key", "begin it on a line of its own"),
    ("<document start>", "text follows the end of the document", "indent it, or give it a key"),
)  # fmt: skip


def syntax_error(text: str, exc: Any) -> Unreadable:
    """Return the problem of a yaml.MarkedYAMLError in this text; parse.py alone imports yaml."""
    mark = exc.problem_mark or exc.context_mark
    reason = exc.problem or exc.context or "not YAML"
    if "unexpected end of stream" in reason and exc.context_mark is not None:
        mark = exc.context_mark
    if mark is None:
        return Unreadable("SYNTAX", (0, 0), f"this is not YAML: {reason}", "see https://yaml.org")
    lines = text.splitlines()
    if mark.line >= len(lines) and exc.context_mark is not None:
        mark = exc.context_mark  # where it opened: the end of the file shows nothing
    place = (min(mark.line + 1, len(lines) or 1), mark.column + 1)
    line = lines[mark.line] if mark.line < len(lines) else ""
    # libyaml 0.2.6 has a bound of its own, and may reach it before it reports the first value.
    if "nesting depth" in reason:
        return too_deep(place)
    if "could not find expected ':'" in reason:
        return _no_colon(lines, exc.context_mark or mark)
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Unreadable("TAB", (place[0], line.index("\t") + 1), "a tab cannot indent", "use spaces")
    for words, message, remedy in _REMEDIES:
        if words in reason:
            return Unreadable("SYNTAX", place, message, remedy, line.strip()[:60])
    return Unreadable("SYNTAX", place, f"this is not YAML: {reason}", "check quotes and indentation", line.strip()[:60])


def _no_colon(lines: list[str], mark: Any) -> Unreadable:
    """Return the problem of a line that should be a key and its value; libyaml notices on a later one."""
    line = lines[mark.line] if mark.line < len(lines) else ""
    if glued := _GLUED.match(line):
        message = f"a blank is missing after `{glued[2]}:`"
        remedy = f"write `{glued[2]}: {glued[3].strip()[:40]}`"
        return Unreadable("SYNTAX", (mark.line + 1, glued.start(3) + 1), message, remedy, line.strip()[:60])
    place = (mark.line + 1, mark.column + 1)
    return Unreadable("SYNTAX", place, "a key without its `:`", "write `key: value`", line.strip()[:60])


def too_deep(place: Place) -> Unreadable:
    """Return the problem of values that nest too deep."""
    return Unreadable("TOO_DEEP", place, f"values nest deeper than {MAX_DEPTH} levels", "flatten them", "")
