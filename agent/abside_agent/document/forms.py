"""Readers of values written as one word: percentages, slots, instants, durations, ids. Each raises FormError."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from abside.assignment.attribute import date
from abside.snapshot import BASIS_POINTS
from abside_agent.document.instants import why_not

if TYPE_CHECKING:
    from abside_agent.document.tree import Scalar

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
CURRENCY_PATTERN = r"^[A-Z]{3}$"
PERCENT_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,2})?%$"
SLOTS_PATTERN = r"^[0-9]{1,3}(\.[0-9]{1,2})?%-[0-9]{1,3}(\.[0-9]{1,2})?%$"
INSTANT_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
WINDOW_PATTERN = r"^[1-9][0-9]{0,3}[hdw]$"
MAX_WINDOW_SECONDS = (
    90 * 86_400
)  # after a quarter an outcome is unrelated to what was shown, and the cost of the join grows with the window
MAX_UNIT_BYTES = 256  # docs/bucketing.md: the sidecar refuses a longer id, so forcing it would never match

ID_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[-+]?[0-9]{0,9}\.?[0-9]{1,9}")
_SHARE = re.compile(r"([-+]?[0-9]{0,9}\.?[0-9]{1,9})\s*%")
_SLOTS = re.compile(r"(.+%)\s*-\s*(.+%)")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})?")
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hdw])")
_SECONDS = {"h": 3600, "d": 86_400, "w": 604_800}


class FormError(ValueError):
    """A value that does not have the form of its field."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


def percent(scalar: Scalar) -> int:
    """Read `20%` or `2.5%` as basis points, 0 to 10000."""
    text = scalar.text.strip()
    if _NUMBER.fullmatch(text):
        fraction = Decimal(text) * 100 if 0 < Decimal(text) < 1 else None
        also = "" if fraction is None else f", or {fraction.normalize():f}% if that is the share you mean"
        raise FormError("PERCENT", "a percentage needs its sign", f"write {text}%{also}")
    share = _SHARE.fullmatch(text)
    if not share or isinstance(scalar.value, bool):
        raise FormError("PERCENT", "this is not a percentage", "write for example 20% or 2.5%")
    points = Decimal(share[1]) * 100
    if points != points.to_integral_value():
        rounded = max(Decimal("0.01"), round(Decimal(share[1]), 2))  # never a remedy that switches it off
        nearest = f"write {rounded}%"
        raise FormError("PERCENT", "a percentage has at most two decimals", nearest)
    if not 0 <= points <= BASIS_POINTS:
        raise FormError("PERCENT", "a percentage lies between 0% and 100%", "write 0% to 100%")
    return int(points)


def slots(scalar: Scalar) -> tuple[int, int]:
    """Read `0%-50%`, half-open, as layer buckets (0, 5000)."""
    parts = _SLOTS.fullmatch(scalar.text.strip().replace("\N{EN DASH}", "-"))
    if not parts:
        raise FormError("SLOTS", "slots are a range of percentages", "write for example 0%-50%")
    start, stop = (percent(type(scalar)(part, part, scalar.place)) for part in parts.groups())
    if start >= stop:
        raise FormError("SLOTS", "slots must ascend", "write the smaller percentage first, for example 0%-50%")
    return start, stop


def instant(scalar: Scalar) -> int:
    """Read RFC 3339 with a zone as µs UTC."""
    match = _INSTANT.fullmatch(scalar.text)
    at_us = date(scalar.text) if match else None
    if at_us is not None:
        return at_us
    if match and not match[2] and date(f"{scalar.text}Z") is not None:
        raise FormError("INSTANT", "a time needs its zone", f"write {scalar.text}Z for UTC, or {scalar.text}+01:00")
    raise FormError("INSTANT", *why_not(scalar.text))


def window(scalar: Scalar) -> int:
    """Read `7d`, `36h` or `2w` as seconds."""
    match = _WINDOW.fullmatch(scalar.text)
    if not match:
        raise FormError("WINDOW", "this is not a duration", "write for example 7d, 36h or 2w")
    length = int(match[1]) * _SECONDS[match[2]]
    if length > MAX_WINDOW_SECONDS:
        raise FormError("WINDOW", f"a window is at most {MAX_WINDOW_SECONDS // 86_400} days", "write for example 7d")
    return length


def identifier(scalar: Scalar) -> str:
    """Read an id as written: `NO` and `007` are ids too."""
    if not ID_WORD.fullmatch(scalar.text):
        raise FormError(
            "ID",
            "this is not an id",
            "use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit",
        )
    return scalar.text


def currency(scalar: Scalar) -> str:
    """Read a currency as ISO 4217 has it."""
    if not re.fullmatch(CURRENCY_PATTERN, scalar.text):
        raise FormError("CURRENCY", "this is no currency", "write three capital letters, for example EUR")
    return scalar.text


def unit_id(scalar: Scalar) -> str:
    """Read a unit id as written: an integer is its digits."""
    if isinstance(scalar.value, bool | float) or scalar.value is None:
        raise FormError("UNIT_ID", "a unit id is text or an integer", f'write "{scalar.text}" in quotes')
    if not scalar.text or len(scalar.text.encode()) > MAX_UNIT_BYTES:
        raise FormError("UNIT_ID", f"a unit id has 1 to {MAX_UNIT_BYTES} bytes", "write the id the rec service sends")
    return scalar.text
