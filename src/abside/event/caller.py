"""Events of callers, checked at the door. They carry no variant: the join finds it."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from abside.event.fields import COMMON_FIELDS, CUSTOM_FIELDS, FIELDS, flag, text
from abside.event.fields import kind as kind_of
from abside.event.meant import MAX_LOOKED_AT, also_meant, meant_field
from abside.event.record import MAX_SHOWN_CHARS, OWN_TYPES, EventError
from abside.event.timestamp import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.event.record import EventMap

TYPE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def from_caller(
    fields: Mapping[str, Any],
    *,
    user_id: str | None,
    session_id: str | None,
    event_id: Callable[[], str],
    now_us: int,
    callers_us: int | None = None,
    priced: bool = True,
) -> EventMap:
    """Check a caller's event and return the map to store. Units are already parsed (assignment's rule).

    `now_us` becomes `seen_ts`, and `ts` where the caller gave none or one in the future. `callers_us` is now by the
    clock that callers agree on, where it is known: a time is too old or too far ahead only by both. `event_id` is
    called where the caller gave none. `priced`: a value of a known type must have its currency. Raises EventError;
    takes no part of a bad event.
    """
    kind = fields.get("type")
    if not isinstance(kind, str) or not TYPE_NAME.match(kind):
        raise EventError("INVALID_EVENT", "type", _no_type(kind, fields))
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
        event["ts"] = timestamp(fields["ts"], now_us, callers_us)
    if fields.get("bot") is not None and flag("bot", fields["bot"]):
        event["bot"] = True
    if "quantity" in known:
        event.setdefault("quantity", 1)
    if "value" in event and "currency" not in event and priced and kind in FIELDS:
        raise EventError("INVALID_EVENT", "currency", "is required beside value, for example EUR")
    given = fields.get("event_id")
    event["event_id"] = event_id() if given is None else text("event_id", given)
    return event


def _unknown(name: str, kind: str, fields: Mapping[str, Any]) -> str:
    known = FIELDS.get(kind, CUSTOM_FIELDS)
    ours = frozenset({*known, *COMMON_FIELDS})
    if kind not in FIELDS and any(name in fields_of for fields_of in FIELDS.values()):
        return f"is not a field of {kind} events, a type of your own: put it into properties"
    meant = meant_field(name, ours)
    if meant is None:
        return f"is not a field of {kind} events; it has {', '.join(known)}"
    return f"is not a field of {kind} events; did you mean {meant}?{also_meant(name, fields, ours)}"


def _no_type(given: Any, fields: Mapping[str, Any]) -> str:
    """Return what is wrong with a type and what to write. A type is a name of the caller's code: it may be shown."""
    if given is None:
        named = (one for one in itertools.islice(fields, MAX_LOOKED_AT) if one != "type")
        other = next((one for one in named if meant_field(one, COMMON_FIELDS) == "type"), None)
        if other is None:
            return f"is missing: {_TYPE_FORM}{_TYPE_EXAMPLE}"
        also = also_meant(other, fields, COMMON_FIELDS)
        return f"is missing; {other[:MAX_SHOWN_CHARS]} is not a field here, did you mean type?{also}"
    if not isinstance(given, str):
        return f"must be {_TYPE_FORM}{_TYPE_EXAMPLE}, not {kind_of(given)}"
    if len(given) > MAX_SHOWN_CHARS or not given.isprintable():
        return f"must be {_TYPE_FORM}, {MAX_SHOWN_CHARS} characters at most{_TYPE_EXAMPLE}"
    snake = _NO_NAME.sub("_", _WORD_START.sub("_", given).lower()).strip("_")
    return f"{given!r} must be {_TYPE_FORM}" + (f"; write {snake}" if TYPE_NAME.match(snake) else _TYPE_EXAMPLE)


_TYPE_FORM = "a name of lower-case letters, digits and _"
_TYPE_EXAMPLE = ", for example add_to_cart"
_NO_NAME = re.compile(r"[^a-z0-9]+")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
