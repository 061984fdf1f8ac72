"""The operand of a condition: one value a document compares with, in the one normal form of its type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from abside.assignment.attribute import FIRST_SECOND, LAST_SECOND, READERS, version_text

if TYPE_CHECKING:
    from abside.snapshot import AttributeType

LONGEST_EXACT = 16  # digits of the largest
LARGEST_EXACT = 2**53  # beyond, JSON readers disagree on an integer


AS_STRING = "declare the attribute as a string, let the rec service send one, and write the value in quotes"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class OperandError(ValueError):
    """A value that cannot be compared with: what is wrong with it, and what would be right."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(code, message, remedy)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}"


def normal(value: object, declared: AttributeType) -> str | float | bool:
    """Return the form a snapshot stores, equal for equal values. An element of a `list` attribute is a "string".

    A version in three parts or more, without "v" and build metadata; a date as µs since 1970; a whole number as an
    integer. Raises OperandError.
    """
    known = READERS[declared](value)
    if known is None:
        code, message, remedy = _NOT_ONE[declared]
        raise OperandError(code, message, _instead(value, declared) or remedy)
    match declared:
        case "version":
            return version_text(known)
        case "number":
            return _exact(known)
        case "string":
            return _writable(known)
        case _:
            return cast("float | bool", known)


_NOT_ONE: dict[AttributeType, tuple[str, str, str]] = {
    "string": ("WRONG_TYPE", "a string is compared with a string", 'put it in quotes: "…"'),
    "number": (
        "WRONG_TYPE",
        "a number is compared with a finite number",
        "write one without quotes, for example 18",
    ),
    "boolean": ("WRONG_TYPE", "a boolean is compared with true or false", "write true or false, without quotes"),
    "version": ("NOT_A_VERSION", "this is not a version", 'write one like "2.14.0" or "2.14.0-rc.1"'),
    "date": ("NOT_A_DATE", "this is not a date", 'write "2026-12-01T09:00:00Z", with a zone, or seconds since 1970'),
}


def _instead(value: object, declared: AttributeType) -> str:
    """Return what to write for this very value, where that can be seen; following it leads to no other mistake."""
    match declared:
        case "version" if type(value) in (int, float):
            return f'write it in quotes, "{value}": 2.10 and 2.1 are one number and two versions'
        case "number" if type(value) is str and _NUMBER.fullmatch(value.strip()):
            whole = value.strip().lstrip("-").partition(".")[0]
            exact = len(whole) <= LONGEST_EXACT and int(whole) <= LARGEST_EXACT
            return f"write {value.strip()} without quotes" if exact else AS_STRING
        case "boolean" if type(value) is str and value.strip().lower() in ("true", "false"):
            return f"write {value.strip().lower()} without quotes"
        case "date" if type(value) is int and FIRST_SECOND <= value // 1000 <= LAST_SECOND:
            return f"write seconds since 1970, {value // 1000}, or a time like 2026-12-01T09:00:00Z"
        case _:
            return ""


def _exact(value: float) -> float:
    """Return a whole number as an integer: 1.0 and 1 are one operand."""
    if int(value) != value:
        return value
    if abs(value) > LARGEST_EXACT:
        raise OperandError("OUT_OF_RANGE", "a whole number lies within ±2^53", AS_STRING)
    return int(value)


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise OperandError("WRONG_TYPE", "this text holds a lone surrogate", "write the character itself") from exc
    return text
