"""From the eligibility a document writes to the condition tree a snapshot stores, with every mistake in one pass.

    leaf   {"attribute": name, "type": declared type, "op": op, "value": operand, "or_missing": true}
    group  {"any": [node, …]} or {"all": [node, …]}

`value` is left out for exists and missing, `or_missing` where it is false. Operands are in one normal form per type (a
version in three parts, a date as µs since 1970, a list sorted without repeats), so that equal rules have equal digests.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeAlias, cast

from abside.assignment.operand import OperandError, normal
from abside.assignment.operators import OPERATORS, of_type, taking
from abside.snapshot import Attribute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.snapshot import AttributeType, Json

ConditionPath: TypeAlias = "tuple[str | int, ...]"

MAX_DEPTH = 3  # groups within groups: what a person can still read
MAX_CONDITIONS = 50  # about 8 µs a request at worst
MAX_VALUES = 10_000  # a list of ids; a longer one belongs into an attribute of its own
MOST_COMPARED = 200  # names that a wrong one is compared with, 3 µs each: there may be thousands of both
MAX_VALUE_CHARS = 80  # of a wrong value shown in an error
MAX_SHOWN_BITS = 256  # Python refuses to print integers of several thousand digits

PRESENCE = taking("none")
LIST_OPS = taking("many")
BUILT_IN: dict[str, Attribute] = {"placement": Attribute("string"), "logged_in": Attribute("boolean")}

_ALL_OPS = tuple(OPERATORS)
_SYMBOLS = {"=": "eq", "==": "eq", "!=": "ne", "<>": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_FIELDS = ("attribute", "op", "value", "or_missing")
_GROUPS = ("any", "all")
_NOTHING = object()  # a mistake of absence: there is no value to show


@dataclass(frozen=True, slots=True)
class ConditionError:
    """One mistake in an eligibility; `path` leads to it from the eligibility's root, as keys and indexes."""

    path: ConditionPath
    code: str
    value: str
    message: str
    remedy: str


def compile_eligibility(
    tree: object, attributes: Mapping[str, Attribute]
) -> tuple[tuple[Json, ...], list[ConditionError]]:
    """Return the condition tree of a document's eligibility, and every mistake in it.

    `tree` is plain data as parsed. `attributes` are the declared ones; `placement` and `logged_in` are built in. Where
    there is a mistake, the tree lacks what was wrong and must not be used.
    """
    compiling = _Compiling({**attributes, **BUILT_IN})
    return tuple(compiling.nodes(tree, (), depth=0)), compiling.errors


@dataclass(slots=True)
class _Compiling:
    """One pass over a tree: what is right is returned, what is wrong is kept in `errors`, and the pass goes on."""

    attributes: Mapping[str, Attribute]
    errors: list[ConditionError] = field(default_factory=list)
    conditions: int = 0

    def wrong(self, path: ConditionPath, code: str, value: object, message: str, remedy: str) -> None:
        self.errors.append(ConditionError(path, code, _shown(value), message, remedy))

    def nodes(self, tree: object, path: ConditionPath, *, depth: int) -> list[Json]:
        if not isinstance(tree, list):
            self.wrong(path, "WRONG_TYPE", tree, "a list of conditions stands here", 'begin each condition with "- "')
            return []
        if depth and not tree:
            self.wrong(path, "EMPTY_LIST", tree, "a group holds at least one condition", "add one, or drop the group")
        found = [self.node(entry, (*path, index), depth) for index, entry in enumerate(tree)]
        return [node for node in found if node is not None]

    def node(self, entry: object, path: ConditionPath, depth: int) -> Json:
        if not isinstance(entry, dict):
            remedy = "write {attribute: …, op: …, value: …}, {any: […]} or {all: […]}"
            self.wrong(path, "WRONG_TYPE", entry, "a condition is a mapping", remedy)
            return None
        groups = [key for key in _GROUPS if key in entry]
        if not groups:
            return self.leaf(entry, path)
        self.known_fields(entry, path, groups[:1], f"a group holds nothing beside {groups[0]!r}")
        if depth >= MAX_DEPTH:
            self.wrong(path, "TOO_DEEP", entry, f"groups nest {MAX_DEPTH} deep at most", "flatten this one")
            return None
        return {groups[0]: self.nodes(entry[groups[0]], (*path, groups[0]), depth=depth + 1)}

    def leaf(self, entry: dict[object, object], path: ConditionPath) -> Json:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS:
            if self.conditions == MAX_CONDITIONS + 1:
                message = f"an experiment has {MAX_CONDITIONS} conditions at most"
                self.wrong(path, "TOO_MANY_CONDITIONS", _NOTHING, message, "join values of one attribute with op: in")
            return None
        self.known_fields(entry, path, _FIELDS, "a condition has no such field")
        name, declared = self.attribute(entry, path)
        op = self.op(entry, path, declared)
        or_missing = self.or_missing(entry, path, op)
        if op is None or op in PRESENCE:
            if op is not None and "value" in entry:
                self.wrong((*path, "value"), "UNEXPECTED_VALUE", entry["value"], f"{op} takes no value", "drop it")
            operand: Json = None
        elif "value" not in entry:
            self.wrong(path, "MISSING_FIELD", _NOTHING, f"{op} needs a value", "add value: …")
            operand = None
        else:
            operand = self.operand(entry["value"], (*path, "value"), op, declared)
        if declared is None or op is None:
            return None
        node: dict[str, Json] = {"attribute": name, "type": declared, "op": op}
        if op not in PRESENCE:
            node["value"] = operand
        if or_missing:
            node["or_missing"] = True
        return node

    def known_fields(
        self, entry: dict[object, object], path: ConditionPath, known: Sequence[str], message: str
    ) -> None:
        for key in entry:
            if key not in known:
                where = (*path, key if isinstance(key, str | int) else str(key))
                remedy = _did_you_mean(key, known) or f"known here: {', '.join(known)}"
                self.wrong(where, "UNKNOWN_FIELD", key, message, remedy)

    def attribute(self, entry: dict[object, object], path: ConditionPath) -> tuple[str, AttributeType | None]:
        """Return the name and its type, None where it is not known."""
        if "attribute" not in entry:
            self.wrong(path, "MISSING_FIELD", _NOTHING, "a condition names its attribute", "add attribute: …")
            return "", None
        name = entry["attribute"]
        if isinstance(name, str) and name in self.attributes:
            return name, self.attributes[name].type
        where = (*path, "attribute")
        if isinstance(name, str):
            remedy = _did_you_mean(name, tuple(self.attributes)) or "declare it under attributes, with its type"
            self.wrong(where, "UNKNOWN_ATTRIBUTE", name, "this attribute is not declared", remedy)
        else:
            self.wrong(where, "WRONG_TYPE", name, "an attribute's name is a string", "write one declared name")
        return "", None

    def op(self, entry: dict[object, object], path: ConditionPath, declared: AttributeType | None) -> str | None:
        if "op" not in entry:
            self.wrong(
                path, "MISSING_FIELD", _NOTHING, "a condition has an op", f"add op: …, one of {_listed(declared)}"
            )
            return None
        op = entry["op"]
        where = (*path, "op")
        if not isinstance(op, str) or op not in _ALL_OPS:
            remedy = _did_you_mean(op, _ALL_OPS) or f"write one of {_listed(declared)}"
            self.wrong(where, "UNKNOWN_OP", op, "there is no such op", remedy)
            return None
        if declared is not None and declared not in OPERATORS[op].types:
            message = f"{op} does not compare a {declared}"
            self.wrong(where, "OP_NOT_FOR_TYPE", op, message, f"a {declared} has {_listed(declared)}")
            return None
        return op

    def or_missing(self, entry: dict[object, object], path: ConditionPath, op: str | None) -> bool:
        value = entry.get("or_missing", False)
        where = (*path, "or_missing")
        if not isinstance(value, bool):
            self.wrong(where, "WRONG_TYPE", value, "or_missing is true or false", "write or_missing: true")
            return False
        if value and op in PRESENCE:
            self.wrong(where, "UNEXPECTED_FIELD", value, f"{op} already says what a missing value means", "drop it")
        return value

    def operand(self, value: object, path: ConditionPath, op: str, declared: AttributeType | None) -> Json:
        """Return the operand in its normal form. Without a known type only its shape can be checked."""
        if op not in LIST_OPS:
            if isinstance(value, list):
                self.wrong(path, "WRONG_TYPE", value, f"{op} compares with one value", "write one, or use op: in")
                return None
            return None if declared is None else self.single(value, path, declared)
        if not isinstance(value, list):
            own = value if isinstance(value, str) and _is_word(value) else "a, b"
            self.wrong(path, "WRONG_TYPE", value, f"{op} compares with a list of values", f"write value: [{own}]")
            return None
        if not value:
            self.wrong(path, "EMPTY_LIST", value, f"{op} needs at least one value", "add one, or drop the condition")
        if len(value) > MAX_VALUES:
            message = f"a list has {MAX_VALUES:,} values at most"
            self.wrong(path, "TOO_MANY_VALUES", value, message, "let the caller send an attribute that says it")
            return None
        if declared is None:
            return None
        kind: AttributeType = "string" if declared == "list" else declared
        found = [self.single(item, (*path, index), kind) for index, item in enumerate(value)]
        # Sorted and without repeats: neither is a change. One list is all text or all numbers, never both.
        kept = cast("set[str]", {item for item in found if item is not None})
        return [*sorted(kept)]

    def single(self, value: object, path: ConditionPath, declared: AttributeType) -> str | float | bool | None:
        try:
            return normal(value, declared)
        except OperandError as exc:
            self.wrong(path, exc.code, value, exc.message, exc.remedy)
            return None


def _did_you_mean(given: object, known: Sequence[str]) -> str:
    if not isinstance(given, str) or len(known) > MOST_COMPARED:
        return ""
    close = [_SYMBOLS[given]] if given in _SYMBOLS and _SYMBOLS[given] in known else []
    close = close or get_close_matches(given.lower().replace(" ", "_").replace("-", "_"), known, 1)
    return f"did you mean {close[0]!r}?" if close else ""


def _listed(declared: AttributeType | None) -> str:
    return ", ".join(_ALL_OPS if declared is None else of_type(declared))


def _shown(value: object) -> str:
    """Return a wrong value as a document would show it, short, and always writable as UTF-8."""
    match value:
        case _ if value is _NOTHING:
            return ""
        case int() if value.bit_length() > MAX_SHOWN_BITS:
            return f"an integer of {value.bit_length()} bits"
        case list():
            return f"a list of {len(value):,}"
        case dict():
            return f"a mapping of {len(value):,}"
        case str() | bool() | int() | float() | None:
            text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
        case _:
            text = type(value).__name__
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


def _is_word(value: str) -> bool:  # which YAML reads as this text without quotes
    return value.isalpha() and len(value) < MAX_VALUE_CHARS and value.lower() not in {"true", "false", "null"}
