"""Whether an eligibility can be true for anyone: a search for a shopper whom the real conditions accept. Pure."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from abside.assignment.attribute import FIRST_SECOND, LAST_SECOND, VERSION_PARTS, date_text
from abside.assignment.operators import OPERATORS
from abside.assignment.target import build
from abside.assignment.unit import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from abside.snapshot import Json

MAX_WAYS = 256  # combinations of `any` branches that are tried; with more the answer is "maybe"
_ID = "an-id"  # any usable id: conditions only see that there is one
_FIRST_US, _LAST_US = FIRST_SECOND * 1_000_000, LAST_SECOND * 1_000_000


def can_hold(conditions: Iterable[Json], placements: Sequence[str], unit: str) -> bool:
    """Return whether some shopper at one of the placements may be eligible; True where that is unknown.

    `conditions` is a compiled tree, as a snapshot has it.
    """
    ways = _ways({"all": list(conditions)})
    return ways is None or any(_holds(way, placements, unit) for way in ways)


def _ways(node: Any) -> list[list[Any]] | None:
    """Return conjunctions of leaves, one of which must be true; None where there are too many."""
    if "any" not in node and "all" not in node:
        return [[node]]
    parts = [_ways(part) for part in node.get("any", node.get("all"))]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if "any" in node:
        found = [way for part in known for way in part]
        return found if len(found) <= MAX_WAYS else None
    count = 1
    for part in known:
        count *= len(part)
    return [[leaf for way in choice for leaf in way] for choice in product(*known)] if count <= MAX_WAYS else None


def _holds(leaves: list[Any], placements: Sequence[str], unit: str) -> bool:
    """Whether each attribute has a value that satisfies all its conditions; attributes are independent."""
    by_attribute: dict[str, list[Any]] = {}
    for leaf in leaves:
        by_attribute.setdefault(leaf["attribute"], []).append(leaf)
    return all(
        any(build(asked).admits(subject) for subject in _subjects(name, asked, placements, unit))
        for name, asked in by_attribute.items()
    )


def _subjects(name: str, asked: list[Any], placements: Sequence[str], unit: str) -> Iterator[Subject]:
    somewhere = placements[0] if placements else ""
    if name == "placement":
        yield from (Subject(_ID, None, {}, placement) for placement in placements)
    elif name == "logged_in":
        yield Subject(_ID, None, {}, somewhere)
        if unit != "user":
            yield Subject(None, _ID, {}, somewhere)
    else:
        yield Subject(_ID, None, {}, somewhere)
        for value in _CANDIDATES[asked[0]["type"]](asked):
            yield Subject(_ID, None, {name: value}, somewhere)


def _operands(asked: list[Any], *ops: str) -> list[Any]:
    found: list[Any] = []
    for leaf in asked:
        if "value" in leaf and (not ops or leaf["op"] in ops):
            found += leaf["value"] if isinstance(leaf["value"], list) else [leaf["value"]]
    return found


def _strings(asked: list[Any]) -> list[Any]:
    found: dict[str, list[str]] = {"start": [], "middle": [], "end": []}
    for leaf in asked:
        if where := OPERATORS[leaf["op"]].within:
            found[where].append(leaf["value"])
    first, last = (max(found[where], key=len, default="") for where in ("start", "end"))
    return [*_operands(asked), first + "\x01".join(["", *found["middle"], "\x01"]) + last]


def _numbers(asked: list[Any]) -> list[Any]:
    known = sorted(_operands(asked))
    between = [(low + high) / 2 for low, high in pairwise(known)]
    return [*known, *between, known[0] - 1, known[-1] + 1] if known else [0]


def _booleans(_: list[Any]) -> list[Any]:
    return [True, False]


def _versions(asked: list[Any]) -> list[Any]:
    """Return each version in the conditions, some above it, and the lowest prerelease just below it."""
    found = ["0.0.0-0", "999999.0.0"]
    for text in _operands(asked):
        below_or_above = f"{text}.0" if "-" in text else f"{text}-0"
        parts = [*map(int, text.partition("-")[0].split("."))]
        parts += [0] * (VERSION_PARTS - len(parts))
        found += [text, below_or_above]
        for place in range(2, VERSION_PARTS):
            above = ".".join(map(str, [*parts[:place], parts[place] + 1]))
            found += [f"{above}-0", above]
    return found


def _dates(asked: list[Any]) -> list[Any]:
    near = (us + step for us in _operands(asked) for step in (-1, 0, 1))
    return ["2026-01-01T00:00:00Z", *(date_text(us) for us in near if _FIRST_US <= us <= _LAST_US)]


def _lists(asked: list[Any]) -> list[Any]:
    barred = set(_operands(asked, "has_none"))
    return [[value for value in _operands(asked, "has_any") if value not in barred]]


_CANDIDATES = {
    "string": _strings,
    "number": _numbers,
    "boolean": _booleans,
    "version": _versions,
    "date": _dates,
    "list": _lists,
}
