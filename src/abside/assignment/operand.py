"""The operand of a condition: one value a document compares with, in the one normal form of its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from abside.assignment.attribute import READERS, version_text

if TYPE_CHECKING:
    from abside.snapshot import AttributeType

LARGEST_EXACT = 2**53  # beyond, JSON readers disagree on an integer


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
    """Give the form a snapshot stores, equal for equal values. An element of a `list` attribute is a "string".

    A version in three parts without "v" and build metadata, a date as µs since 1970, a whole number as an integer.
    Raises OperandError.
    """
    known = READERS[declared](value)
    if known is None:
        raise OperandError(*_NOT_ONE[declared])
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
    "number": ("WRONG_TYPE", "a number is compared with a finite number", "write it without quotes"),
    "boolean": ("WRONG_TYPE", "a boolean is compared with true or false", "write true or false, without quotes"),
    "version": ("NOT_A_VERSION", "this is not a version", 'write it in quotes, like "2.14.0" or "2.14.0-rc.1"'),
    "date": ("NOT_A_DATE", "this is not a date", 'write "2026-12-01T09:00:00Z", with a zone, or seconds since 1970'),
}


def _exact(value: float) -> float:
    """Give a whole number as an integer: 1.0 and 1 are one operand."""
    if int(value) != value:
        return value
    if abs(value) > LARGEST_EXACT:
        raise OperandError("OUT_OF_RANGE", "a whole number lies within ±2^53", "declare a string and compare with that")
    return int(value)


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise OperandError("WRONG_TYPE", "this text holds a lone surrogate", "write the character itself") from exc
    return text
