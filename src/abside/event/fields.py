"""The fields of callers' events: which type has which, and the check of each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from abside.event.record import MAX_COUNT, MAX_INTEGER, MAX_ITEMS, MAX_PROPERTIES, MAX_TEXT_BYTES, MAX_VALUE, EventError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_INEXACT = 2.0**63  # a JSON reader makes a float of an integer from about here on


def text(path: str, value: Any) -> str:
    """Take a non-empty string of at most MAX_TEXT_BYTES; an integer (a numeric catalogue) becomes decimal text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_INTEGER:
        value = str(value)
    if not isinstance(value, str):
        raise EventError("WRONG_TYPE", path, f"must be a string or an integer, not {kind(value)}{_too_long(value)}")
    try:
        length = len(value.encode())
    except UnicodeEncodeError as exc:
        raise EventError("INVALID_EVENT", path, "holds a lone surrogate, which is not text") from exc
    if not 0 < length <= MAX_TEXT_BYTES:
        raise EventError("INVALID_EVENT", path, f"must have 1 to {MAX_TEXT_BYTES} UTF-8 bytes, not {length}")
    return value


def _number(path: str, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EventError("WRONG_TYPE", path, f"must be a number, not {kind(value)}")
    if not abs(value) < MAX_VALUE:  # so put, NaN is refused too
        raise EventError("INVALID_EVENT", path, f"must be finite and below {MAX_VALUE:,}")
    return value


def _amount(path: str, value: Any) -> float | int:
    """Take what was put in a cart or paid: revenue is a sum of these."""
    if _number(path, value) < 0:
        remedy = "what is given back is an event of its own type, for example refund"
        raise EventError("INVALID_EVENT", path, f"must be 0 or more; {remedy}")
    return value  # type: ignore[no-any-return]


def _duration(path: str, value: Any) -> float | int:
    if _number(path, value) < 0:
        raise EventError("INVALID_EVENT", path, "must be 0 or more milliseconds")
    return value  # type: ignore[no-any-return]


def _whole(path: str, value: Any, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        shown = kind(value)
        if isinstance(value, float):
            shown = "a fraction" if value % 1 else "one with a decimal point"
        raise EventError("WRONG_TYPE", path, f"must be a whole number, not {shown}")
    if least and value < least:
        raise EventError("INVALID_EVENT", path, f"must be {least} or more; send no event where nothing was taken")
    if not least <= value <= MAX_COUNT:
        raise EventError("INVALID_EVENT", path, f"must be between {least} and {MAX_COUNT}")
    return value


def _quantity(path: str, value: Any) -> int:
    """Take how many were put in a cart or bought: none would count as a cart or a conversion."""
    return _whole(path, value, least=1)


def _currency(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise EventError("WRONG_TYPE", path, f"must be a string, not {kind(value)}")
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise EventError("INVALID_EVENT", path, "must be three capital letters (ISO 4217), for example EUR")
    return value


def _items(path: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise EventError("WRONG_TYPE", path, f"must be a list of item ids in rank order, not {kind(value)}")
    if len(value) > MAX_ITEMS:
        raise EventError("INVALID_EVENT", path, f"has {len(value)} items, the bound is {MAX_ITEMS}")
    return [text(f"{path}[{index}]", item) for index, item in enumerate(value)]


def flag(path: str, value: Any) -> bool:
    """Return a boolean as it is. Raises EventError."""
    if not isinstance(value, bool):
        raise EventError("WRONG_TYPE", path, f"must be true or false, not {kind(value)}")
    return value


def _properties(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EventError("WRONG_TYPE", path, f"must be a flat object of scalars, not {kind(value)}")
    if len(value) > MAX_PROPERTIES:
        raise EventError("INVALID_EVENT", path, f"has {len(value)} entries, the bound is {MAX_PROPERTIES}")
    return {text(path, name): _scalar(f"{path}.{name}", item) for name, item in value.items()}


def _scalar(path: str, value: Any) -> Any:
    if isinstance(value, (dict, list)):
        raise EventError("WRONG_TYPE", path, f"must be a string, number, boolean or null, not {kind(value)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(path, value)
    if isinstance(value, str):
        return _string(path, value)
    return value


def _string(path: str, value: str) -> str:
    """Take any text that UTF-8 can carry; the event's own bound limits its length."""
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise EventError("INVALID_EVENT", path, "holds a lone surrogate, which is not text") from exc
    return value


def _too_long(value: Any) -> str:
    """Return the remedy for a number that came as an integer of more than 64 bits, "" for any other."""
    beyond = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= FIRST_INEXACT
    return " beyond 64 bits: send it as a string" if beyond else ""


def kind(value: Any) -> str:
    """Name a JSON value's type as a JSON author knows it."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


COMMON_FIELDS: Final = frozenset({"event_id", "type", "ts", "user_id", "session_id", "bot"})
_MONEY = {"value": _amount, "currency": _currency}
_MORE = {"properties": _properties}  # every outcome may have some
FIELDS: Final[dict[str, dict[str, Callable[[str, Any], Any]]]] = {
    "impression": {"exposure_id": text, "placement": text, "items": _items, **_MORE},
    "click": {"item_id": text, "position": _whole, "placement": text, "exposure_id": text, **_MORE},
    "add_to_cart": {"item_id": text, "quantity": _quantity, **_MONEY, "placement": text, "exposure_id": text, **_MORE},
    "purchase": {"order_id": text, **_MONEY, "item_id": text, "quantity": _quantity, **_MORE},
    "page_view": {"page_type": text, "page_load_ms": _duration, **_MORE},
}
# A made-up type may have a negative value: a correction or a balance is one, and no metric of ours adds it up.
CUSTOM_FIELDS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "value": _number,
    "currency": _currency,
    **_MORE,
}
