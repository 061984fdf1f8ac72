"""The shape of a placement's parameters: what an answer's configuration may contain, whichever variants it is of.

A variant keeps the declared type of each value, and a list's entries those of the declared entries
(abside_agent.rules.fit), so the placement's own values show it all. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Plain = Literal["text", "boolean", "whole", "number", "null", "mapping", "anything"]


@dataclass(frozen=True, slots=True)
class PlainShape:
    """A value without parts that have types of their own; `mapping` has keys that are not known."""

    kind: Plain


@dataclass(frozen=True, slots=True)
class RecordShape:
    """A mapping with known keys, in the document's order."""

    fields: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True)
class ListShape:
    """A list, whose entries have one shape."""

    entry: Shape


@dataclass(frozen=True, slots=True)
class EitherShape:
    """One of several."""

    shapes: tuple[Shape, ...]


Shape: TypeAlias = PlainShape | RecordShape | ListShape | EitherShape
ANYTHING, MAPPING, WHOLE, NUMBER = (
    PlainShape("anything"),
    PlainShape("mapping"),
    PlainShape("whole"),
    PlainShape("number"),
)
_PLAIN: dict[type[Any], PlainShape] = {
    str: PlainShape("text"),
    bool: PlainShape("boolean"),
    int: WHOLE,
    float: NUMBER,
    type(None): PlainShape("null"),
}


def shape_of(value: Any) -> Shape:
    """Return the shape of a JSON value."""
    if isinstance(value, dict):
        return record_of(value) if value else MAPPING
    if isinstance(value, list):
        return ListShape(_one_of(shape_of(entry) for entry in value))
    return _PLAIN[type(value)]


def record_of(parameters: dict[str, Any]) -> RecordShape:
    """Return the shape of parameters by name."""
    return RecordShape(tuple((name, shape_of(value)) for name, value in parameters.items()))


def _one_of(shapes: Iterable[Shape]) -> Shape:
    found = list(dict.fromkeys(shapes))
    if NUMBER in found and WHOLE in found:
        found.remove(WHOLE)  # in [0, 0.5, 1] the whole numbers are floats that happen to be whole
    if sum(isinstance(one, RecordShape) for one in found) > 1:
        found = list(dict.fromkeys(MAPPING if isinstance(one, RecordShape) else one for one in found))
    if not found:
        return ANYTHING
    return found[0] if len(found) == 1 else EitherShape(tuple(found))
