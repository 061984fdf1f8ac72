"""The event: one msgpack map per thing that happened, checked at the door, never inferred later.

Two families: what callers send (impression, click, add_to_cart, purchase, page_view, any other name) and what the
sidecar itself says (exposure, config, account). An outcome carries no variant: the join gives it.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, Literal

import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_EVENT_BYTES = 64 * 1024  # an event is a fact, not a document; also the frame's bound
MAX_EVENTS_A_REQUEST = 1_000  # keeps one request's work on the loop under a few milliseconds
MAX_AGE_US = 7 * 86_400 * 1_000_000  # the widest attribution window; older is a clock or a replay gone wrong
MAX_AHEAD_US = 3_600_000_000  # clocks of one fleet differ by seconds; an integer further ahead is of another unit
UNIT_US = 10 * 365 * 86_400_000_000  # a time of another unit comes this near to now when it is read in that unit
MAX_TEXT_BYTES = 256  # ids and names, like unit ids
MAX_ITEMS = 500  # a page of recommendations, with room
MAX_PROPERTIES = 64
MAX_ASSIGNMENTS = 256  # of one exposure: a receiver repeats its row for each, and refuses more
MAX_VALUE = 10**14  # decimal(18,4) holds 14 digits before the point
MAX_COUNT = 2**31 - 1
MAX_INTEGER = 2**64  # what JSON readers give back unchanged; beyond, two ids could become one
MAX_SHOWN_CHARS = 64  # of a name that a caller made up, in a refusal
TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)
OWN_TYPES: Final = frozenset({"exposure", "config", "account"})  # the sidecar's own: 422 when a caller sends them

EventMap = dict[str, Any]
ErrorCode = Literal["INVALID_EVENT", "WRONG_TYPE", "UNKNOWN_FIELD"]


class EventError(Exception):
    """An event that was refused. `path` names the field; the sentence never repeats a shopper's value.

    `ts_us` is the caller's time where only the two clocks disagree about it.
    """

    def __init__(self, code: ErrorCode, path: str, detail: str, *, ts_us: int | None = None) -> None:
        super().__init__(code, path, detail)
        self.code: ErrorCode = code
        self.path = path
        self.detail = detail
        self.ts_us = ts_us

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail


@dataclass(slots=True)
class EventIds:
    """Ids unique without a system call: a random boot id and a counter."""

    boot: str
    _counter: Iterable[int] = field(default_factory=itertools.count)

    def next(self) -> str:
        """Give `<boot>-<n>`, n in base 16."""
        return f"{self.boot}-{next(self._counter):x}"  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class Exposed:
    """One assignment inside an exposure event."""

    experiment: str
    phase: int
    variant: str
    unit_type: str
    unit_id: str
    forced: bool
    traffic_bp: int


def encode(event: EventMap) -> bytes:
    """Give the frame payload: the event's msgpack map."""
    return msgpack.packb(event)  # type: ignore[no-any-return]


def decode(payload: bytes) -> EventMap:
    """Read one payload. Raises ValueError when it is not one msgpack map."""
    try:
        event = msgpack.unpackb(payload)
    except (msgpack.UnpackException, ValueError) as exc:
        raise ValueError(f"not a msgpack map: {exc!r}") from exc
    if not isinstance(event, dict):
        raise ValueError(f"a msgpack {type(event).__name__}, not a map")  # noqa: TRY004 one error type for one decision
    return event


def from_caller(
    fields: Mapping[str, Any],
    *,
    user_id: str | None,
    session_id: str | None,
    event_id: Callable[[], str],
    now_us: int,
    callers_us: int | None = None,
) -> EventMap:
    """Check a caller's event and give the map to store. Units are already parsed (assignment's rule).

    `now_us` becomes `seen_ts`, and `ts` where the caller gave none or one in the future. `callers_us` is now by the
    clock that callers agree on, where it is known: a time is too old or too far ahead only by both. `event_id` is
    called where the caller gave none. Raises EventError; takes no part of a bad event.
    """
    kind = fields.get("type")
    if not isinstance(kind, str) or not TYPE_NAME.match(kind):
        raise EventError(
            "INVALID_EVENT", "type", "must be a name of lower-case letters, digits and _, for example add_to_cart"
        )
    if kind in OWN_TYPES:
        raise EventError("INVALID_EVENT", "type", f"{kind} events are written by the sidecar itself")
    known = FIELDS.get(kind, CUSTOM_FIELDS)
    event: EventMap = {"event_id": "", "type": kind, "ts": now_us, "seen_ts": now_us}
    event["user_id"] = user_id
    event["session_id"] = session_id
    for name, value in fields.items():
        if name in COMMON_FIELDS:
            continue
        check = known.get(name)
        if check is None:
            raise EventError("UNKNOWN_FIELD", name[:MAX_SHOWN_CHARS], _unknown(name, kind, fields))
        if value is not None:  # null is absent: an answer's exposure_id may be null, and clients send it back
            event[name] = check(name, value)
    if fields.get("ts") is not None:
        event["ts"] = _timestamp(fields["ts"], now_us, callers_us)
    if fields.get("bot") is not None and _flag("bot", fields["bot"]):
        event["bot"] = True
    if "quantity" in known:
        event.setdefault("quantity", 1)
    if "value" in event and "currency" not in event and kind in FIELDS:
        raise EventError("INVALID_EVENT", "currency", "is required beside value, for example EUR")
    given = fields.get("event_id")
    event["event_id"] = event_id() if given is None else _text("event_id", given)
    return event


def exposure(
    *,
    event_id: str,
    now_us: int,
    user_id: str | None,
    session_id: str | None,
    placement: str,
    revision: str,
    config_id: str,
    algo: int,
    assignments: Iterable[Exposed],
    attributes: Mapping[str, Any],
    bot: bool = False,
) -> EventMap:
    """Give the one exposure event of one placement answered; its `exposure_id` is its `event_id`."""
    event: EventMap = {
        "event_id": event_id,
        "type": "exposure",
        "ts": now_us,
        "seen_ts": now_us,
        "user_id": user_id,
        "session_id": session_id,
        "exposure_id": event_id,
        "placement": placement,
        "revision": revision,
        "config_id": config_id,
        "algo": algo,
        "assignments": [assignment(one) for one in assignments],
        "attributes": dict(attributes),
    }
    if bot:
        event["bot"] = True
    return event


def assignment(one: Exposed) -> dict[str, Any]:
    """Give an assignment's place in an exposure event."""
    return {
        "experiment": one.experiment,
        "phase": one.phase,
        "variant": one.variant,
        "unit_type": one.unit_type,
        "unit_id": one.unit_id,
        "forced": one.forced,
        "traffic_bp": one.traffic_bp,
    }


def within_bound(exposure: EventMap) -> EventMap:
    """Give an exposure that is too large for an event without its attributes: who was in is what must not be lost."""
    return {**exposure, "attributes": {}} if len(encode(exposure)) > MAX_EVENT_BYTES else exposure


def own(kind: Literal["config", "account"], *, event_id: str, now_us: int, **fields: Any) -> EventMap:
    """Give a `config` or `account` event: about the sidecar, of no shopper."""
    head = {"event_id": event_id, "type": kind, "ts": now_us, "seen_ts": now_us, "user_id": None, "session_id": None}
    return {**head, **fields}


def _text(path: str, value: Any) -> str:
    """Take a non-empty string of at most MAX_TEXT_BYTES; an integer (a numeric catalogue) becomes decimal text."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < MAX_INTEGER:
        value = str(value)
    if not isinstance(value, str):
        raise EventError("WRONG_TYPE", path, f"must be a string or an integer, not {_kind(value)}{_too_long(value)}")
    try:
        length = len(value.encode())
    except UnicodeEncodeError as exc:
        raise EventError("INVALID_EVENT", path, "holds a lone surrogate, which is not text") from exc
    if not 0 < length <= MAX_TEXT_BYTES:
        raise EventError("INVALID_EVENT", path, f"must have 1 to {MAX_TEXT_BYTES} UTF-8 bytes, not {length}")
    return value


def _number(path: str, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EventError("WRONG_TYPE", path, f"must be a number, not {_kind(value)}")
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


def _whole(path: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise EventError("WRONG_TYPE", path, f"must be a whole number, not {_kind(value)}")
    if not 0 <= value <= MAX_COUNT:
        raise EventError("INVALID_EVENT", path, f"must be between 0 and {MAX_COUNT}")
    return value


def _quantity(path: str, value: Any) -> int:
    """Take how many were put in a cart or bought: none would count as a cart or a conversion."""
    if _whole(path, value) < 1:
        raise EventError("INVALID_EVENT", path, "must be 1 or more; send no event where nothing was taken")
    return value  # type: ignore[no-any-return]


def _currency(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise EventError("WRONG_TYPE", path, f"must be a string, not {_kind(value)}")
    if not re.fullmatch(r"[A-Z]{3}", value):
        raise EventError("INVALID_EVENT", path, "must be three capital letters (ISO 4217), for example EUR")
    return value


def _items(path: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise EventError("WRONG_TYPE", path, f"must be a list of item ids in rank order, not {_kind(value)}")
    if len(value) > MAX_ITEMS:
        raise EventError("INVALID_EVENT", path, f"has {len(value)} items, the bound is {MAX_ITEMS}")
    return [_text(f"{path}[{index}]", item) for index, item in enumerate(value)]


def _flag(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise EventError("WRONG_TYPE", path, f"must be true or false, not {_kind(value)}")
    return value


def _properties(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EventError("WRONG_TYPE", path, f"must be a flat object of scalars, not {_kind(value)}")
    if len(value) > MAX_PROPERTIES:
        raise EventError("INVALID_EVENT", path, f"has {len(value)} entries, the bound is {MAX_PROPERTIES}")
    return {_text(path, name): _scalar(f"{path}.{name}", item) for name, item in value.items()}


def _scalar(path: str, value: Any) -> Any:
    if isinstance(value, (dict, list)):
        raise EventError("WRONG_TYPE", path, f"must be a string, number, boolean or null, not {_kind(value)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(path, value)
    if isinstance(value, str):
        return _string(path, value)
    return value


def _string(path: str, value: str) -> str:
    """Take any text that UTF-8 can carry; the event's own bound holds its length."""
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise EventError("INVALID_EVENT", path, "holds a lone surrogate, which is not text") from exc
    return value


def _timestamp(value: Any, now_us: int, callers_us: int | None) -> int:
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
        raise EventError("WRONG_TYPE", "ts", f"{_TS_REMEDY}, not {_kind(value)}")
    known_us = now_us if callers_us is None else callers_us
    if value < min(now_us, known_us) - MAX_AGE_US:
        raise _other_time("is older than 7 days", value, now_us)
    if is_integer and value > max(now_us, known_us) + MAX_AHEAD_US:
        raise _other_time("lies more than an hour ahead", value, now_us)
    return min(int(value), now_us)


def _other_time(what: str, value: int, now_us: int) -> EventError:
    """Refuse a time, and name the unit that it is in by the look of it."""
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
FIRST_INEXACT = 2.0**63  # a JSON reader makes a float of an integer from about here on


def _too_long(value: Any) -> str:
    """Say of a number that came as an integer of more than 64 bits what to do with it."""
    beyond = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= FIRST_INEXACT
    return " beyond 64 bits: send it as a string" if beyond else ""


def _kind(value: Any) -> str:
    """Name a JSON value's type as a JSON author knows it."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


def _unknown(name: str, kind: str, fields: Mapping[str, Any]) -> str:
    known = FIELDS.get(kind, CUSTOM_FIELDS)
    ours = frozenset({*known, *COMMON_FIELDS})
    meant = meant_field(name, ours)
    if meant is None:
        return f"is not a field of {kind} events; it has {', '.join(known)}"
    return f"is not a field of {kind} events; did you mean {meant}?{also_meant(name, fields, ours)}"


def meant_field(name: str, known: frozenset[str]) -> str | None:
    """Return the field of `known` that a caller's name stands for, as other tools write it or mistyped; else None."""
    snake = _WORD_START.sub("_", name[:MAX_SHOWN_CHARS]).lower().replace("-", "_").strip("$_ ")
    elsewhere = next((ours for ours in MEANT.get(snake, ()) if ours in known), None)
    close = get_close_matches(snake, known, n=1)  # of a name cut first: comparing megabytes would stall the loop
    return snake if snake in known else elsewhere or (close[0] if close else None)


def also_meant(named: str, fields: Mapping[str, Any], known: frozenset[str]) -> str:
    """List the other fields that have another name elsewhere, so that one answer mends them all."""
    found = []
    for name in itertools.islice(fields, MAX_LOOKED_AT):
        snake = _WORD_START.sub("_", name[:MAX_SHOWN_CHARS]).lower()
        if name not in known and name != named and (snake in known or snake in MEANT):
            meant = meant_field(name, known)
            if meant is not None:
                found.append(f"{name} → {meant}")
    return f" Also {', '.join(found[:MAX_ALSO])}." if found else ""


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
MAX_LOOKED_AT = 100  # fields of a wrong event: more than any has
MAX_ALSO = 8  # named in one sentence
# What analytics tools call our fields; where one may stand for several, the first that the event has.
MEANT: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("uid", "user", "customer_id", "customer", "shopper_id", "member_id", "account_id", "distinct_id"), ("user_id",)
    ),
    **dict.fromkeys(
        ("anonymous_id", "client_id", "visitor_id", "device_id", "user_pseudo_id", "ga_session_id", "session", "sid"),
        ("session_id",),
    ),
    **dict.fromkeys(("message_id", "insert_id", "id", "uuid", "idempotency_key"), ("event_id",)),
    **dict.fromkeys(("event", "event_name", "event_type", "name", "action"), ("type",)),
    **dict.fromkeys(
        ("timestamp", "time", "event_time", "event_timestamp", "timestamp_micros", "original_timestamp", "sent_at"),
        ("ts",),
    ),
    **dict.fromkeys(("product_id", "product", "sku", "item", "article_id", "content_id"), ("item_id",)),
    **dict.fromkeys(("products", "product_ids", "item_ids"), ("items",)),
    **dict.fromkeys(("price", "revenue", "amount", "total"), ("value",)),
    **dict.fromkeys(("qty", "count"), ("quantity",)),
    **dict.fromkeys(("transaction_id", "order"), ("order_id",)),
    **dict.fromkeys(("rank", "index", "pos"), ("position",)),
    **dict.fromkeys(("slot", "surface", "page", "widget"), ("placement", "page_type")),
    **dict.fromkeys(("params", "props", "traits", "context", "attributes"), ("properties", "attributes")),
    **dict.fromkeys(("properties",), ("properties", "attributes")),
    **dict.fromkeys(("token", "tokens", "exposure_tokens"), ("exposure_token",)),
    "is_bot": ("bot",),
    "currency_code": ("currency",),
}


COMMON_FIELDS: Final = frozenset({"event_id", "type", "ts", "user_id", "session_id", "bot"})
_MONEY = {"value": _amount, "currency": _currency}
FIELDS: Final[dict[str, dict[str, Callable[[str, Any], Any]]]] = {
    "impression": {"exposure_id": _text, "placement": _text, "items": _items},
    "click": {"item_id": _text, "position": _whole, "placement": _text, "exposure_id": _text},
    "add_to_cart": {"item_id": _text, "quantity": _quantity, **_MONEY, "placement": _text, "exposure_id": _text},
    "purchase": {"order_id": _text, **_MONEY, "item_id": _text, "quantity": _quantity},
    "page_view": {"page_type": _text, "page_load_ms": _duration},
}
# A made-up type may have a negative value: a correction or a balance is one, and no metric of ours adds it up.
CUSTOM_FIELDS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "value": _number,
    "currency": _currency,
    "properties": _properties,
}
