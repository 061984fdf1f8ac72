"""Values as Python services have them, in the forms that JSON has. Duck-typed: no library is imported for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from operator import index
from typing import TYPE_CHECKING, Any
from uuid import UUID

from abside.client.raised import is_ours

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1  # what the sidecar reads exactly
MAX_ARRAY_VALUES = 1_000  # a request has at most 64 KiB
MAX_DEPTH = 8
MAX_DIGITS = 40  # of a Decimal that may be a whole number: far beyond 64 bits, and short to write out
ID_TYPES = frozenset({str, int, type(None)})  # sent as they are
_PLAIN = frozenset({str, int, float, bool, type(None)})


class UnsendableError(ValueError):
    """A value that no request can carry. `path` is where it is; the reason never has the value."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


def sendable(attributes: Any, left_out: Callable[[str, str], None]) -> Any:
    """Return attributes without those that cannot be sent; `left_out` is called with name and reason of each."""
    if type(attributes) is dict and all(map(_is_plain, attributes, attributes.values())):
        return attributes
    if not isinstance(attributes, Mapping):
        return attributes  # refused by the sidecar, which has the sentence for it
    sent = {}
    for name, value in attributes.items():
        if not isinstance(name, str):
            left_out(f"({type(name).__name__})", "its name is no text")
            continue
        try:
            sent[json_form(name)] = json_form(value)
        except UnsendableError as exc:
            left_out(name, exc.reason)
    return sent


def id_form(value: Any) -> Any:
    """Return an id as it is sent; one that cannot be is returned as it is, and refused with the request."""
    try:
        return json_form(value)
    except UnsendableError:
        return value


def json_form(value: Any, path: str = "", depth: int = MAX_DEPTH) -> Any:
    """Return a value in JSON's types. Raises UnsendableError.

    A UUID becomes text; an enum its value; a date text; a datetime with a zone RFC 3339 in UTC; a Decimal a number,
    whole where it has no decimals; whatever is an index a whole number; numpy's scalars and arrays what `tolist`
    returns.
    """
    if isinstance(value, Enum):
        return json_form(value.value, path, depth)
    if value is None or value is True or value is False:
        return value
    for kind, form in _FORMS:
        if isinstance(value, kind):
            return form(value, path)
    try:
        if isinstance(value, Mapping | list | tuple):
            return _nested(value, path, depth)
        return _by_its_methods(value, path, depth)
    except (TypeError, ValueError, ArithmeticError) as exc:
        if isinstance(exc, UnsendableError) or not is_ours(exc):
            raise
        raise UnsendableError(path, f"its {type(value).__name__} cannot be converted ({type(exc).__name__})") from exc


def _nested(value: Any, path: str, depth: int) -> Any:
    if depth <= 0:
        raise UnsendableError(path, f"it is nested deeper than {MAX_DEPTH} levels")
    if not isinstance(value, Mapping):
        return [json_form(one, f"{path}[{place}]", depth - 1) for place, one in enumerate(value)]
    within = f"{path}." if path else ""
    return {_key(name, path): json_form(one, f"{within}{name}", depth - 1) for name, one in value.items()}


def _key(name: Any, path: str) -> str:
    if isinstance(name, str | int):  # as json writes them
        return str(json_form(name, path))
    raise UnsendableError(path, f"a key of it is a {type(name).__name__}, no text")


def _by_its_methods(value: Any, path: str, depth: int) -> Any:
    kind = type(value)
    if hasattr(kind, "tolist") and hasattr(kind, "dtype"):
        if getattr(value.dtype, "kind", "") in ("M", "m"):
            raise UnsendableError(path, "numpy's times have no zone; pass a datetime with one")
        if (count := getattr(value, "size", 1)) > MAX_ARRAY_VALUES:
            raise UnsendableError(path, f"an array of {count:,} values; at most {MAX_ARRAY_VALUES:,} are sent")
        return json_form(value.tolist(), path, depth - 1) if depth > 0 else _nested(value, path, depth)
    if hasattr(kind, "__index__"):
        return _integer(index(value), path)
    raise UnsendableError(path, f"a {kind.__name__} is not JSON; pass text, a number, true, false or a list of these")


def _text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise UnsendableError(path, "it has half of a character (a lone surrogate)") from exc
    return str.__str__(value)


def _integer(value: int, path: str) -> int:
    if not MIN_INTEGER <= value <= MAX_INTEGER:
        raise UnsendableError(path, "a whole number of more than 64 bits; pass it as text")
    return int(value)


def _float(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise UnsendableError(path, "NaN and infinity are not JSON; leave it out where it is unknown")
    return float(value)


def _decimal(value: Decimal, path: str) -> float | int:
    if not value.is_finite():
        raise UnsendableError(path, "NaN and infinity are not JSON; leave it out where it is unknown")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= 0 and value.adjusted() < MAX_DIGITS:
        return _integer(int(value), path)
    return _float(float(value), path)


def _datetime(value: datetime, path: str) -> str:
    if value.utcoffset() is None:
        raise UnsendableError(path, "a datetime without a zone; give it one, for example tzinfo=UTC")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _is_plain(name: Any, value: Any) -> bool:
    """Whether JSON has this as it is; what is rare goes by the whole rule."""
    kind = type(value)
    if type(name) is not str or kind not in _PLAIN:
        return False
    if kind is str:
        return bool(value.isascii())
    if kind is float:
        return math.isfinite(value)
    return kind is not int or MIN_INTEGER <= value <= MAX_INTEGER


# In this order: a datetime is a date too.
_FORMS: tuple[tuple[type, Callable[[Any, str], Any]], ...] = (
    (str, _text),
    (int, _integer),
    (float, _float),
    (datetime, _datetime),
    (date, lambda value, _: value.isoformat()),
    (Decimal, _decimal),
    (UUID, lambda value, _: str(value)),
)
