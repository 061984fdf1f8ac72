"""The YAML 1.2 core schema: what a plain scalar means. NO, on, 1:30 and 2026-12-01 are text here."""

from __future__ import annotations

import math
import re

LONGEST_NUMBER = 40  # characters: far above 2^64 and any double, far below what makes int() slow

# Source: YAML 1.2.2, section 10.3.2 (core schema), in its order.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class NumberError(ValueError):
    """A number that JSON, or a reader of it, cannot represent. `remedy`: what to write instead."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def resolve_plain(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar. Raises NumberError."""
    first = text[:1]
    if first not in _MAY_BE_SPECIAL:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for pattern, base in ((_INTEGER, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            return int(_bounded(text), base) if base == 10 else int(_bounded(text)[2:], base)
    if _FLOAT.fullmatch(text):
        return _finite(float(_bounded(text)))
    if _NOT_FINITE.fullmatch(text):
        raise NumberError("infinity and not-a-number cannot be sent as JSON", "write a finite number")
    return text


_MAY_BE_SPECIAL = frozenset({"", "~", *"nNtTfF", *"0123456789+-."})  # most text is recognised by its first character


def _bounded(text: str) -> str:
    if len(text) > LONGEST_NUMBER:
        raise NumberError(f"a number of {len(text)} characters", "write it in quotes if it is an id")
    return text


def _finite(value: float) -> float:
    if math.isinf(value):
        raise NumberError("this number is too large for any reader", "write a number below 1.8e308")
    return value
