"""Markup that is safe by default, and how figures, sizes and times are written for people.

Every value put into a template is escaped, unless it is markup itself: names, reasons and problems are people's texts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_VALUE_CHARS = 60  # of a parameter: a list of a hundred ids must not drown the others
MAX_TEXT_CHARS = 400  # of one value: a hypothesis-long name must not drown the others
SECONDS_OF = (("day", 86_400), ("hour", 3_600), ("minute", 60))


class Html(str):
    """Text that is markup already. Only `html` and `joined` make it."""

    __slots__ = ()


NOTHING = Html("")


def html(template: str, *values: object) -> Html:
    """Fill the `{}` of a template written in this room."""
    return Html(template.format(*map(_safe, values)))


def joined(parts: Iterable[Html], between: str = "") -> Html:
    """Put pieces of markup one after the other."""
    return Html(between.join(parts))


def value(found: Any) -> str:
    """Write a value as JSON, cut where it is long; "nothing" where there is none."""
    if found is None:
        return "nothing"
    text = orjson.dumps(found).decode()
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def percent(basis_points: float) -> str:
    """Write basis points: 2000 is "20%", 5 is "0.05%"."""
    return f"{round(basis_points / 100, 2):g}%"


def share(part: int, whole: int) -> str:
    """Write a part of a whole that was counted: "79.2%", the whole "100%"; "none" where nothing was counted."""
    if not whole:
        return "none"
    return f"{100 * part / whole:.1f}%" if 0 < part < whole else f"{100 * part // whole}%"


def size(size_bytes: float) -> str:
    """Write bytes in the largest binary unit: "3.4 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


def duration(seconds: float) -> str:
    """Write a duration in its largest unit: "3 minutes"; below one, seconds."""
    for unit, length in SECONDS_OF:
        if seconds >= length:
            return counted(int(seconds // length), unit)
    return counted(int(seconds), "second")


def counted(number: int, noun: str, several: str = "") -> str:
    """Write a number and its noun: "1 problem", "2,000 problems"; `several`: a plural that is no `s` more."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {several or noun + 's'}"


def moment(at_us: int, now_us: int) -> Html:
    """Write an instant (µs UTC) as date and time, and how far off it is."""
    try:
        at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return html("in {}", duration((at_us - now_us) / 1e6))
    off = duration(abs(at_us - now_us) / 1e6)
    away = f"in {off}" if at_us >= now_us else f"{off} ago"
    return html(
        '<time datetime="{}">{}</time> ({})', f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at.day} {at:%b %Y, %H:%M} UTC", away
    )


def _safe(value: object) -> str:
    if isinstance(value, Html):
        return value
    text = str(value)
    return escape(text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}…")
