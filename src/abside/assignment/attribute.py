"""Attribute values by declared type: each reader returns what can be compared, or None where the value is not known."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import AttributeType

Version = tuple[tuple[int, ...], bool, tuple[tuple[int, int, str], ...]]

VERSION_PARTS = 6  # numeric ones; Windows and Android builds have four, a calendar version with a build five
VERSIONS_KEPT = 1024  # texts read before: a shop has some hundred app versions, and reading one anew takes 1.5 µs
MAX_VERSION_CHARS = 256  # semver.org advises 255; and int() of a few hundred digits is cheap
FIRST_SECOND = -62_135_596_800  # 0001-01-01T00:00:00Z, the first RFC 3339 instant of Python
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z; milliseconds since 1970 lie beyond it and are not mistaken

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

_NUMERIC = r"(?:0|[1-9][0-9]*)"
_PRERELEASE = rf"(?:{_NUMERIC}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_ZEROS = (0,) * VERSION_PARTS
_VERSION = re.compile(
    rf"[vV]?([0-9]+(?:\.[0-9]+){{0,{VERSION_PARTS - 1}}})"
    rf"(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-9]{2})"
)


def string(value: object) -> str | None:
    """Return a string as it is: no trimming, no folding."""
    return value if type(value) is str else None


def number(value: object) -> float | None:
    """Return an integer or a finite float; a boolean is not a number."""
    if type(value) is int or (type(value) is float and value - value == 0.0):  # inf - inf is NaN
        return value
    return None


def boolean(value: object) -> bool | None:
    """Return a boolean; 0, 1 and "true" are not booleans."""
    return value if type(value) is bool else None


def version(value: object) -> Version | None:
    """Return a key whose order is the precedence of semver 2.0, section 11; build metadata does not count.

    Accepted, as apps have them: an optional "v" or "V", one to six numeric parts, with leading zeros or without ("2.1"
    is "2.1.0", "2024.08.01" is "2024.8.1"), a prerelease, build metadata.
    """
    if type(value) is not str or len(value) > MAX_VERSION_CHARS:
        return None
    return _version(value)


@lru_cache(maxsize=VERSIONS_KEPT)
def _version(text: str) -> Version | None:
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    numeric, prerelease = found.groups()
    numbers = tuple(map(int, numeric.split(".")))
    identifiers = () if prerelease is None else tuple(map(_identifier, prerelease.split(".")))
    # A prerelease comes before its release, and a shorter list of identifiers before a longer one.
    return numbers + _ZEROS[len(numbers) :], prerelease is None, identifiers


def version_text(key: Version) -> str:
    """Return the one spelling of a version key: up to the last part that is not 0, three at least; no "v", no build."""
    numbers, _, identifiers = key
    length = max([3, *(place for place, number in enumerate(numbers, 1) if number)])
    suffix = ".".join(text or str(value) for _, value, text in identifiers)
    return ".".join(map(str, numbers[:length])) + (f"-{suffix}" if suffix else "")


def date(value: object) -> int | None:
    """Return µs since 1970, UTC, of an RFC 3339 string with a zone, or of epoch seconds (a number)."""
    if type(value) is str:
        return _from_rfc3339(value)
    seconds = number(value)
    if seconds is None or not FIRST_SECOND <= seconds <= LAST_SECOND:
        return None
    return round(seconds * 1_000_000)


def date_text(at_us: int) -> str:
    """Return the RFC 3339 form of µs since 1970, in UTC."""
    return (EPOCH + at_us * MICROSECOND).isoformat().replace("+00:00", "Z")


def strings(value: object) -> list[str] | None:
    """Return a list of strings as it is; None where it contains anything else."""
    if type(value) is list and all(type(item) is str for item in value):
        return value
    return None


READERS: dict[AttributeType, Callable[[object], Any]] = {
    "string": string,
    "number": number,
    "boolean": boolean,
    "version": version,
    "date": date,
    "list": strings,
}


def _identifier(text: str) -> tuple[int, int, str]:
    """Numeric identifiers come before the others and compare as numbers; the others compare in ASCII order."""
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def _from_rfc3339(text: str) -> int | None:
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        at_us = (datetime.fromisoformat(text.upper()) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):  # a 31st of February, a 60th second
        return None
    return at_us if FIRST_SECOND <= at_us // 1_000_000 <= LAST_SECOND else None  # its zone can carry it out
