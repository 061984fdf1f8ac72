"""What callers report: outcomes and exposures of prefetched answers. All of a request is taken, or none of it.

Needs no snapshot, so the same sidecar beside a cart service is the road in for its outcomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from abside import event
from abside.event import meant_field
from abside.serve import Refusal
from abside.sidecar import token
from abside.sidecar.request import NO_UNIT_DETAIL, kind_of, parse_json, unit_id, unknown_field

if TYPE_CHECKING:
    from abside.sidecar.handlers import Desk

MAX_EVENT_NESTING = 8
_TOKEN_FIELD = frozenset({"exposure_token"})
_SEND_TOKENS = 'send {"exposure_token": …}, or a list of them'


def events(desk: Desk, body: bytes) -> bytes:
    """Take `POST /v1/events`, one event or a list, and give the body of its 202.

    Raises Refusal with the index of the first bad one.
    """
    listed, several = _listed(parse_json(body, MAX_EVENT_NESTING + 1))
    taken = []
    for position, fields in enumerate(listed):
        index = position if several else None
        if type(fields) is not dict:
            raise Refusal(422, "WRONG_TYPE", f"an event must be an object, not {kind_of(fields)}", index=index)
        taken.append(_event(desk, fields, index))
    return _accept(desk, taken, several=several)


def exposures(desk: Desk, body: bytes) -> bytes:
    """Take `POST /v1/exposures`, the tokens of prefetched answers now used: as above."""
    listed, several = _listed(parse_json(body, desk.rules.max_nesting))
    tokens: list[Any] = []
    for position, fields in enumerate(listed):
        index = position if several else None
        if type(fields) is not dict:
            raise Refusal(422, "WRONG_TYPE", _SEND_TOKENS, index=index)
        if not fields.keys() <= _TOKEN_FIELD:
            raise wrapped(fields, index) or unknown_field(
                next(name for name in fields if name not in _TOKEN_FIELD), _TOKEN_FIELD, index
            )
        if not fields:
            raise Refusal(422, "WRONG_TYPE", _SEND_TOKENS, index=index)
        value = fields["exposure_token"]
        tokens += value if type(value) is list else [value]
    if len(tokens) > event.MAX_EVENTS_A_REQUEST:
        raise _too_many(len(tokens))
    several = several or len(tokens) > 1
    taken = [_exposure(desk, one, index if several else None) for index, one in enumerate(tokens)]
    return _accept(desk, taken, several=several)


def _listed(value: Any) -> tuple[list[Any], bool]:
    if type(value) is not list:
        return [value], False
    if len(value) > event.MAX_EVENTS_A_REQUEST:
        raise _too_many(len(value))
    return value, True


def _too_many(count: int) -> Refusal:
    return Refusal(413, "TOO_LARGE", f"{count:,} events; a request takes at most {event.MAX_EVENTS_A_REQUEST:,}")


def _event(desk: Desk, fields: dict[str, Any], index: int | None) -> event.EventMap:
    shared_ids = desk.rules.shared_ids
    user_id = unit_id(fields, "user_id", shared_ids, index)
    session_id = unit_id(fields, "session_id", shared_ids, index)
    if user_id is None and session_id is None:
        raise _no_unit(fields, index)
    try:
        return event.from_caller(
            fields,
            user_id=user_id,
            session_id=session_id,
            event_id=desk.journal.ids.next,
            now_us=desk.clock(),
        )
    except event.EventError as exc:
        raise Refusal(422, exc.code, str(exc), path=exc.path, index=index) from exc


def _no_unit(fields: dict[str, Any], index: int | None) -> Refusal:
    """Refuse an event of nobody, and name what is why: an id by another name, or an object around a list."""
    around = wrapped(fields, index)
    if around is not None:
        return around
    named = next((name for name in fields if meant_field(name, _IDS) in _IDS - fields.keys()), None)
    if named is None:
        return Refusal(400, "NO_UNIT", NO_UNIT_DETAIL, index=index)
    kind = fields.get("type")
    known = event.FIELDS.get(kind if type(kind) is str else "", event.CUSTOM_FIELDS)
    return unknown_field(named, frozenset({*known, *event.COMMON_FIELDS}), index, beside=fields)


def wrapped(fields: dict[str, Any], index: int | None) -> Refusal | None:
    """Return the refusal of a list with an object around it, as other collectors want it; None for anything else."""
    name = next((name for name in fields if name in _WRAPPERS and type(fields[name]) is list), None)
    if name is None or "type" in fields:
        return None
    detail = f"{name} is not a field here; send the list itself, [{{…}}, …], without an object around it"
    return Refusal(422, "UNKNOWN_FIELD", detail, path=name, index=index)


_IDS = frozenset({"user_id", "session_id"})
_WRAPPERS = frozenset({"events", "batch", "data", "items", "records", "exposures", "messages"})


def _exposure(desk: Desk, text: Any, index: int | None) -> event.EventMap:
    if type(text) is not str:
        detail = f"exposure_token must be a string, not {kind_of(text)}; an answer without assignments has none to post"
        raise Refusal(422, "WRONG_TYPE", detail, path="exposure_token", index=index)
    try:
        return token.unseal(text, desk.clock())
    except token.TokenError as exc:
        raise Refusal(422, "INVALID_EVENT", f"exposure_token {exc}", path="exposure_token", index=index) from exc


def _accept(desk: Desk, taken: list[event.EventMap], *, several: bool) -> bytes:
    if taken:
        desk.journal.accept(taken, several=several)
    return orjson.dumps({"accepted": len(taken)})
