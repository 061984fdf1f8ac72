"""Which part of a time is wrong, and what it would be. Pure."""

from __future__ import annotations

import re
from calendar import month_name, monthrange

_PARTS = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"(?:[Tt ]+(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?P<fraction>[.,]\d+)?)?)?"
    r"\s*(?P<zone>\S.*)?"
)
_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d{1,2}):?(?P<minutes>\d{2})?")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
EXAMPLE = "write for example 2026-12-01T09:00:00Z"
LONGEST_FRACTION = 7  # its point and six digits: microseconds


def why_not(text: str) -> tuple[str, str]:
    """Return (message, remedy) for a text that is no RFC 3339 time with a zone."""
    parts = _PARTS.fullmatch(text.strip())
    if parts is None:
        if day := _DAY_FIRST.match(text.strip()):
            date = f"{day[3]}-{int(day[2]):02}-{int(day[1]):02}"
            return "the year comes first, then month and day", f"write {date}, with time and zone: {date}T09:00:00Z"
        return "this is not an RFC 3339 time", EXAMPLE
    year, month, day_of, hour, minute, second = (int(parts[name] or 0) for name in _NAMES)
    if out := _out_of_range(year, month, day_of, hour, minute, second):
        return out, EXAMPLE
    right = f"{year:04}-{month:02}-{day_of:02}T{hour:02}:{minute:02}:{second:02}"
    fraction, zone = parts["fraction"] or "", parts["zone"] or ""
    right += fraction.replace(",", ".")[:LONGEST_FRACTION]
    offset, wrong = _offset(zone)
    if wrong:
        return wrong, f"write {right}Z for UTC, or {right}+01:00"
    if parts["hour"] is None:
        return "the time of day is missing", f"write {right}{offset}"
    if parts["second"] is None:
        return "the seconds are missing", f"write {right}{offset}"
    if len(fraction) > LONGEST_FRACTION:
        return "a second has six digits after the point at most", f"write {right}{offset}"
    return "each part has two digits, with a T between date and time", f"write {right}{offset}"


_NAMES = ("year", "month", "day", "hour", "minute", "second")


def _out_of_range(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:
    if not 1 <= month <= 12:
        return f"there is no month {month:02}"
    last = monthrange(max(year, 1), month)[1]
    if not 1 <= day <= last:
        return f"{month_name[month]} {year} has no day {day}: it has {last}"
    if hour > 23:
        return f"there is no hour {hour}: a day has 00 to 23"
    if minute > 59:
        return f"there is no minute {minute}"
    return f"there is no second {second}" if second > 59 else ""


def _offset(zone: str) -> tuple[str, str]:
    """Return a zone as it is written, and what is wrong with it otherwise."""
    if zone in {"", "Z", "z"}:
        return "Z", ""
    offset = _OFFSET.fullmatch(zone)
    if offset is None:
        return "", f"{zone[:20]} is no zone: it is Z or an offset"
    if int(offset["hours"]) > 23 or int(offset["minutes"] or 0) > 59:
        return "", f"there is no offset {zone[:20]}"
    return f"{offset['sign']}{int(offset['hours']):02}:{offset['minutes'] or '00'}", ""
