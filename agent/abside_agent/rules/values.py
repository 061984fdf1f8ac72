"""Values of a condition that never match, or mean something else than they seem to mean: warnings of check. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from abside.assignment.condition import LIST_OPS
from abside.assignment.operand import OperandError, normal
from abside.assignment.operators import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from abside.snapshot import Attribute, AttributeType
    from abside_agent.document.tree import Path

WHOLE = frozenset({"eq", "ne", *LIST_OPS})  # ops that compare a whole text; starts_with may end in a blank
_SEVERAL = re.compile(
    r"\s*[^\s,;|]+\s*([,;|]\s*[^\s,;|]+\s*)+"
)  # words with commas between, also in "Washington, D.C."
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?![\d.])", re.ASCII)
_MORE_QUOTES = re.compile(r"""(["'`]).*\1|\[.*\]""")


class Doubt(NamedTuple):
    """One value that is probably a mistake; `path` begins inside the eligibility."""

    code: str
    path: Path
    message: str
    remedy: str


def doubts(conditions: object, attributes: Mapping[str, Attribute], placements: Sequence[str]) -> Iterator[Doubt]:
    """Yield doubts about an eligibility as written; entries that are no conditions are skipped."""
    for path, leaf in _leaves(conditions, ()):
        name, op, value = leaf.get("attribute"), leaf.get("op"), leaf.get("value")
        if name == "placement":
            yield from _placements(value, op, (*path, "value"), placements)
        elif isinstance(name, str) and isinstance(op, str) and name in attributes:
            yield from _values(value, op, (*path, "value"), attributes[name].type)


def _leaves(node: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for index, entry in enumerate(node if isinstance(node, list) else ()):
        if not isinstance(entry, dict):
            continue
        groups = [key for key in ("any", "all") if key in entry]
        for group in groups:
            yield from _leaves(entry[group], (*path, index, group))
        if not groups:
            yield (*path, index), entry


def _placements(value: Any, op: Any, path: Path, placements: Sequence[str]) -> Iterator[Doubt]:
    for where, one in _each(value, path):
        if op in LIST_OPS and isinstance(one, str) and one not in placements:
            message = "the experiment does not run at this placement, so this never matters"
            yield Doubt("NEVER_MATCHES", where, message, f"its placements are {', '.join(placements)}")


def _values(value: Any, op: str, path: Path, kind: AttributeType) -> Iterator[Doubt]:
    seen: dict[Any, Any] = {}
    of: AttributeType = "string" if kind == "list" else kind
    for where, one in _each(value, path):
        if of == "string" and isinstance(one, str):
            yield from _text(one, op, where)
        if of == "version" and isinstance(one, str) and (date := _DATE.match(one)):
            message = "this looks like a date: as a version, what follows the year is a prerelease"
            remedy = f'write "{int(date[1])}.{int(date[2])}.{int(date[3])}", or declare the attribute as a date'
            yield Doubt("DATE_AS_VERSION", where, message, remedy)
        try:
            key = normal(one, of)
        except OperandError:
            continue  # an error, which is reported elsewhere
        if key in seen:
            yield Doubt("TWICE", where, f"this is {seen[key]!r} again: the list has it already", "keep one")
        seen.setdefault(key, one)


def _each(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, list):
        yield from (((*path, index), one) for index, one in enumerate(value))
    else:
        yield path, value


def _text(text: str, op: str, where: Path) -> Iterator[Doubt]:
    if not text:
        if op in OPERATORS and OPERATORS[op].within:
            yield Doubt("EMPTY_TEXT", where, "every text has this: the condition excludes nobody", "write some text")
        else:
            remedy = "delete it; for who sends none, write op: missing"
            yield Doubt("EMPTY_TEXT", where, "this matches only an empty text, not a missing one", remedy)
    elif text != text.strip() and (op in WHOLE or text != text.lstrip()):
        message = "blanks at the ends count: it matches only a text with the same ones"
        yield Doubt("BLANK_ENDS", where, message, f'write "{text.strip()}"' if text.strip() else "delete it")
    elif op in WHOLE and _SEVERAL.fullmatch(text):
        parts = [part.strip() for part in re.split(r"[,;|]", text)]
        remedy = f"write each by itself: {'op: in, ' if op not in LIST_OPS else ''}value: [{', '.join(parts)}]"
        yield Doubt("LIST_IN_TEXT", where, "this is one text with separators in it, not a list", remedy)
    elif op in WHOLE and _MORE_QUOTES.fullmatch(text):
        message = "the quotes or brackets are part of this text"
        yield Doubt("QUOTES_IN_TEXT", where, message, f"write {text[1:-1]}, if they are not meant")
