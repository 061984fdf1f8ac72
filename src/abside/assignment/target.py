"""Targeting: whether a subject is eligible, from a compiled condition tree to closures that never raise.

Unknown is not eligible: a missing, null or wrong-typed attribute makes a condition false, negative ones included,
unless it has `or_missing`. There is no general NOT, so this is so at every depth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from abside.assignment.attribute import READERS, date_text
from abside.assignment.condition import BUILT_IN, LIST_OPS, PRESENCE
from abside.assignment.operators import OPERATORS
from abside.assignment.unit import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot import AttributeType, Json

Check: TypeAlias = Callable[[Subject], bool]
Saw: TypeAlias = Callable[[Subject], "Json"]
Note: TypeAlias = Callable[[Subject], str]
ConditionNode: TypeAlias = dict[str, Any]

SHOWN_VALUES = 5  # of a long list, in an explanation


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One element of an eligibility, leaf or group: its text, its check, and what it looked at.

    `note`: why what it looked at is not known to it, empty where it is known or missing.
    """

    text: str
    check: Check
    saw: Saw
    note: Note


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A compiled eligibility. `admits` is what assignment asks; `conditions` are its parts, in order."""

    admits: Check
    conditions: tuple[Condition, ...]


def build(conditions: Iterable[Json]) -> Target:
    """Make the closures of a condition tree (see condition.py). Raises KeyError, TypeError or ValueError.

    What is built never raises: operators and operands are checked here against the declared type.
    """
    built = tuple(_condition(cast("ConditionNode", node)) for node in conditions)
    return Target(_all([condition.check for condition in built]), built)


def explain(target: Target, subject: Subject) -> list[tuple[str, Json, bool, str]]:
    """Return (condition, what it saw, whether it is met, note) of every part, by the closures `admits` is made of."""
    return [
        (condition.text, condition.saw(subject), condition.check(subject), condition.note(subject))
        for condition in target.conditions
    ]


def _condition(node: ConditionNode) -> Condition:
    for word, joined in (("any", _any), ("all", _all)):
        if word in node:
            parts = [_condition(part) for part in node[word]]
            text = f"{word} of ({'; '.join(part.text for part in parts)})"
            return Condition(text, joined([part.check for part in parts]), _saw_each(node[word], parts), _notes(parts))
    return _leaf(node)


def _leaf(node: ConditionNode) -> Condition:
    name, declared, op = node["attribute"], node["type"], node["op"]
    _check_leaf(node, name, declared, op)
    saw = _BUILT_IN.get(name) or _attribute(name)
    text = _text(node)
    if op == "missing":
        return Condition(text, lambda subject: saw(subject) is None, saw, _note(node, saw))
    read = _BUILT_IN.get(name) or _typed_attribute(name, READERS[declared])
    test = OPERATORS[op].test(_comparable(declared, node.get("value")))
    or_missing = node.get("or_missing", False)

    def check(subject: Subject) -> bool:
        value = read(subject)
        return or_missing if value is None else test(value)

    return Condition(text, check, saw, _note(node, saw))


def _check_leaf(node: ConditionNode, name: Any, declared: Any, op: Any) -> None:
    """Check a leaf against the table of operators: a wrong operand would raise on every request, not only here."""
    if declared not in READERS:
        raise ValueError(f"the attribute type {declared!r} is not known")
    if op not in OPERATORS or declared not in OPERATORS[op].types:
        raise ValueError(f"the operation {op!r} does not go with a {declared}")
    if name in BUILT_IN and BUILT_IN[name].type != declared:
        raise ValueError(f"{name} is a {BUILT_IN[name].type}, not a {declared}")
    if type(node.get("or_missing", False)) is not bool:
        raise TypeError(f"or_missing of {name} is neither true nor false")
    if op in PRESENCE:
        return
    operand = node["value"]
    if op in LIST_OPS and type(operand) is not list:
        raise TypeError(f"{op} of {name} compares with a list")
    if not all(_fits(declared, one) for one in (operand if op in LIST_OPS else [operand])):
        raise ValueError(f"{op} of {name} compares with what is no {declared}")


def _fits(declared: AttributeType, operand: Any) -> bool:
    if declared == "date":
        return type(operand) is int  # stored as µs
    return READERS["string" if declared == "list" else declared](operand) is not None


def _comparable(declared: AttributeType, operand: Any) -> Any:
    """Return the operand as its reader returns values; dates are stored as such, versions as text."""
    if declared != "version" or operand is None:
        return operand
    read = READERS["version"]
    return [read(item) for item in operand] if isinstance(operand, list) else read(operand)


def _attribute(name: str) -> Saw:
    return lambda subject: subject.attributes.get(name)


def _typed_attribute(name: str, reader: Callable[[object], Any]) -> Callable[[Subject], Any]:
    return lambda subject: reader(subject.attributes.get(name))


# Never missing, and never of another type.
_BUILT_IN: dict[str, Saw] = {
    "placement": lambda subject: subject.placement,
    "logged_in": lambda subject: subject.user_id is not None,
}


def _all(checks: list[Check]) -> Check:
    match checks:
        case []:
            return lambda _: True
        case [only]:
            return only
        case [first, second]:  # the usual length; a loop costs a tenth more
            return lambda subject: first(subject) and second(subject)
    fixed = tuple(checks)

    def all_of(subject: Subject) -> bool:
        for check in fixed:  # noqa: SIM110 - a generator under all() costs three times a loop here
            if not check(subject):
                return False
        return True

    return all_of


def _any(checks: list[Check]) -> Check:
    fixed = tuple(checks)

    def any_of(subject: Subject) -> bool:
        for check in fixed:  # noqa: SIM110 - as above
            if check(subject):
                return True
        return False

    return any_of


def _saw_each(nodes: list[ConditionNode], parts: list[Condition]) -> Saw:
    """Show what a group saw, by attribute, those of the groups within it too."""

    def saw(subject: Subject) -> Json:
        seen: dict[str, Json] = {}
        for node, part in zip(nodes, parts, strict=True):
            if "attribute" in node:
                seen[node["attribute"]] = part.saw(subject)
            else:
                seen.update(cast("dict[str, Json]", part.saw(subject)))
        return seen

    return saw


_IS_NO: dict[AttributeType, str] = {
    "string": "is no string",
    "number": "is no number",
    "boolean": "is neither true nor false",
    "version": "is no version",
    "date": "is no date: RFC 3339 with a zone, or seconds since 1970",
    "list": "is no list of strings",
}


def _note(node: ConditionNode, saw: Saw) -> Note:
    """Return a note where a value is present but not of the declared type: the condition then counts it as missing."""
    name, declared = node["attribute"], cast("AttributeType", node["type"])

    def note(subject: Subject) -> str:
        value = saw(subject)
        return f"{name} {_IS_NO[declared]}" if value is not None and READERS[declared](value) is None else ""

    return note


def _notes(parts: list[Condition]) -> Note:
    return lambda subject: "; ".join(dict.fromkeys(filter(None, (part.note(subject) for part in parts))))


def _text(node: ConditionNode) -> str:
    words = [node["attribute"], node["op"]]
    if "value" in node:
        words.append(_operand_text(node["type"], node["value"]))
    if node.get("or_missing"):
        words.append("or missing")
    return " ".join(words)


def _operand_text(declared: AttributeType, operand: Any) -> str:
    if isinstance(operand, list):
        shown = ", ".join(_operand_text(declared, item) for item in operand[:SHOWN_VALUES])
        more = len(operand) - SHOWN_VALUES
        return f"[{shown}, … {more:,} more]" if more > 0 else f"[{shown}]"
    if declared == "date":
        return date_text(operand)
    return str(operand).lower() if declared == "boolean" else str(operand)
