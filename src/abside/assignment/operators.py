"""The operators of a condition: one record each, from which check, the schema, targeting and explain read."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import AttributeType

Test: TypeAlias = "Callable[[Any], bool]"  # of a value that has the declared type; pure, and never raises


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: the types it compares, what it compares with, and its test.

    `test` takes the operand once, when a plan is built, and returns what runs on every request. `within`: where in a
    text the operand is found when the condition holds, for those who look for a text that satisfies several.
    """

    name: str
    types: tuple[AttributeType, ...]
    test: Callable[[Any], Test]
    operand: Literal["one", "many", "none"] = "one"
    within: Literal["start", "middle", "end", ""] = ""


def _none_of(operands: frozenset[Any]) -> Test:
    return lambda value: value not in operands


def _shares(operands: frozenset[Any]) -> Test:
    return lambda values: not operands.isdisjoint(values)


def _present(_: object) -> Test:
    return lambda value: value is not None


def _missing(_: object) -> Test:
    return lambda value: value is None  # of the value as it was sent: one of another type is there


_SINGLE: tuple[AttributeType, ...] = ("string", "number", "boolean", "version")
_LISTED: tuple[AttributeType, ...] = ("string", "number", "version")
_ORDERED: tuple[AttributeType, ...] = ("number", "version", "date")
_ANY: tuple[AttributeType, ...] = ("string", "number", "boolean", "version", "date", "list")

# Tests are C functions where there is one: they run on every request. A flipped comparison is not a slip:
# partial(gt, operand)(value) asks operand > value, which is value < operand.
OPERATORS: dict[str, Operator] = {
    one.name: one
    for one in (
        Operator("eq", _SINGLE, lambda operand: partial(operator.eq, operand)),
        Operator("ne", _SINGLE, lambda operand: partial(operator.ne, operand)),
        Operator("in", _LISTED, lambda operand: frozenset(operand).__contains__, "many"),
        Operator("not_in", _LISTED, lambda operand: _none_of(frozenset(operand)), "many"),
        Operator("starts_with", ("string",), lambda operand: lambda value: value.startswith(operand), within="start"),
        Operator("ends_with", ("string",), lambda operand: lambda value: value.endswith(operand), within="end"),
        Operator("contains", ("string",), lambda operand: lambda value: operand in value, within="middle"),
        Operator("lt", _ORDERED, lambda operand: partial(operator.gt, operand)),
        Operator("lte", _ORDERED, lambda operand: partial(operator.ge, operand)),
        Operator("gt", _ORDERED, lambda operand: partial(operator.lt, operand)),
        Operator("gte", _ORDERED, lambda operand: partial(operator.le, operand)),
        Operator("has_any", ("list",), lambda operand: _shares(frozenset(operand)), "many"),
        Operator("has_none", ("list",), lambda operand: frozenset(operand).isdisjoint, "many"),
        Operator("exists", _ANY, _present, "none"),
        Operator("missing", _ANY, _missing, "none"),
    )
}


def of_type(declared: AttributeType) -> tuple[str, ...]:
    """Return the names of the operators that compare an attribute of this type, in the order of the table."""
    return tuple(one.name for one in OPERATORS.values() if declared in one.types)


def taking(operand: Literal["one", "many", "none"]) -> frozenset[str]:
    """Return the names of the operators that compare with one value, with a list, or with none."""
    return frozenset(one.name for one in OPERATORS.values() if one.operand == operand)
