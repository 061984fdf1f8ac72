"""The time of a caller's event: microseconds or RFC 3339, by two clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from abside.event.fields import kind
from abside.event.record import EventError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_AGE_US = 7 * 86_400 * 1_000_000  # the widest attribution window; older is a clock or a replay gone wrong
MAX_AHEAD_US = 3_600_000_000  # clocks of one fleet differ by seconds; an integer further ahead is of another unit
UNIT_US = 10 * 365 * 86_400_000_000  # a time of another unit comes this near to now when it is read in that unit
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)


def timestamp(value: Any, now_us: int, callers_us: int | None) -> int:
    """Read µs since 1970 (integer) or RFC 3339 with a zone. The future becomes now.

    Older than 7 days is refused, and an integer more than an hour ahead: it is of another unit.
    """
    is_integer = type(value) is int
    if is_integer and now_us - MAX_AGE_US <= value <= now_us:
        return value  # type: ignore[no-any-return]  # what nearly every time is
    if isinstance(value, str):
        if not RFC_3339.match(value):
            raise EventError("INVALID_EVENT", "ts", _TS_REMEDY)
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError as exc:
            raise EventError("INVALID_EVENT", "ts", _TS_REMEDY) from exc
        elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
        value = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    elif not is_integer:
        raise EventError("WRONG_TYPE", "ts", f"{_TS_REMEDY}, not {kind(value)}")
    known_us = now_us if callers_us is None else callers_us
    if value < min(now_us, known_us) - MAX_AGE_US:
        raise _other_time("is older than 7 days", value, now_us)
    if is_integer and value > max(now_us, known_us) + MAX_AHEAD_US:
        raise _other_time("lies more than an hour ahead", value, now_us)
    return min(int(value), now_us)


def _other_time(what: str, value: int, now_us: int) -> EventError:
    """Return the refusal of a time, with the unit that it seems to be in."""
    for unit, in_us in _UNITS.items():
        if abs(in_us(value) - now_us) < UNIT_US:
            detail = f"{what}; it looks like {unit}: integer timestamps are microseconds since 1970, UTC"
            return EventError("INVALID_EVENT", "ts", detail)
    detail = f"{what}; integer timestamps are microseconds, not seconds, milliseconds or nanoseconds"
    return EventError("INVALID_EVENT", "ts", detail, ts_us=value if abs(value - now_us) < UNIT_US else None)


_UNITS: Final[dict[str, Callable[[int], int]]] = {
    "seconds": lambda value: value * 1_000_000,
    "milliseconds": lambda value: value * 1_000,
    "nanoseconds": lambda value: value // 1_000,
}
_TS_REMEDY = "must be integer microseconds UTC or RFC 3339 with a zone, for example 2026-11-23T09:00:00Z"
