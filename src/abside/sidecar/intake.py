"""What callers report: outcomes and exposures of prefetched answers. All of a request is taken, or none of it.

Needs no snapshot, so the same sidecar beside a cart service is the road in for its outcomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from abside import event
from abside.serve import Refusal
from abside.sidecar import token
from abside.sidecar.request import NO_UNIT_DETAIL, kind_of, parse_json, unit_id, unknown_field

if TYPE_CHECKING:
    from abside.sidecar.handlers import Desk

MAX_EVENT_NESTING = 8
_TOKEN_FIELD = frozenset({"exposure_token"})


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
        if type(fields) is not dict or "exposure_token" not in fields:
            raise Refusal(422, "WRONG_TYPE", 'send {"exposure_token": …}, or a list of them', index=index)
        if not fields.keys() <= _TOKEN_FIELD:
            raise unknown_field(next(name for name in fields if name not in _TOKEN_FIELD), _TOKEN_FIELD, index)
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
        raise Refusal(400, "NO_UNIT", NO_UNIT_DETAIL, index=index)
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
