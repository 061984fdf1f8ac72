"""The shape of an exposure: what a token carries and a receiver reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from abside.event.record import MAX_ASSIGNMENTS, MAX_COUNT, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.event.record import EventMap

MAX_ALGO = 2**15 - 1  # a receiver's column has 16 bits


def carried(exposure: EventMap) -> list[Any]:
    """Return what a token carries of an exposure: the values of `EXPOSURE_SHAPE` in its order, then `bot`."""
    return [*(exposure[name] for name in EXPOSURE_SHAPE), exposure.get("bot", False)]


def wrong_field(fields: Mapping[str, Any]) -> str | None:
    """Return the first field that is none of an exposure; None where all of `EXPOSURE_SHAPE` fit."""
    return next((name for name, fits in EXPOSURE_SHAPE.items() if not fits(fields[name])), None)


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_TEXT_BYTES


def _is_id(value: Any) -> bool:
    return value is None or _is_name(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def _are_assignments(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= MAX_ASSIGNMENTS and all(map(_is_assignment, value))


def _are_attributes(value: Any) -> bool:
    return type(value) is dict and all(_is_name(name) and _is_attribute(one) for name, one in value.items())


def _is_attribute(value: Any) -> bool:
    plain = (str, int, float, bool)
    return type(value) in plain or (type(value) is list and all(type(item) is str for item in value))


def _is_assignment(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == _ASSIGNMENT.keys()
        and all(fits(value[name]) for name, fits in _ASSIGNMENT.items())
    )


_ASSIGNMENT: dict[str, Callable[[Any], bool]] = {
    "experiment": _is_name,
    "phase": _is_count,
    "variant": _is_name,
    "unit_type": _is_name,
    "unit_id": _is_name,
    "forced": lambda value: type(value) is bool,
    "traffic_bp": _is_count,
}
EXPOSURE_SHAPE: Final[dict[str, Callable[[Any], bool]]] = {  # in the order of a token
    "event_id": _is_name,
    "user_id": _is_id,
    "session_id": _is_id,
    "placement": _is_name,
    "revision": _is_name,
    "config_id": _is_name,
    "algo": lambda value: _is_count(value) and value <= MAX_ALGO,
    "assignments": _are_assignments,
    "attributes": _are_attributes,
}
