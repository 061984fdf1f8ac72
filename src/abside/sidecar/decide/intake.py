"""What callers report: outcomes and exposures of prefetched answers. All of a request is taken, or none of it.

Needs no snapshot, so the same sidecar beside a cart service is the road in for its outcomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from abside import event
from abside.event import meant_field
from abside.serve.answer import Refusal
from abside.sidecar.active.slices import in_slices
from abside.sidecar.decide import token
from abside.sidecar.decide.batch import divided, read_one, too_many
from abside.sidecar.decide.callers import AGREE_US
from abside.sidecar.decide.request import NO_UNIT_DETAIL, kind_of, parse_json, unit_id, unknown_field

if TYPE_CHECKING:
    from collections.abc import Generator

    from abside.sidecar.decide.handlers import HandlerContext

MAX_EVENT_NESTING = 8
MAX_TOKEN_COMMAS = 4 * event.MAX_EVENTS_A_REQUEST  # of a body; tokens contain none, so it never has more
_TOKEN_FIELD = frozenset({"exposure_token"})
_SEND_TOKENS = 'send {"exposure_token": …}, or a list of them'


def events(context: HandlerContext, body: bytes) -> bytes:
    """Take `POST /v1/events`, one event or a list, and return the body of its 202.

    Raises Refusal with the index of the first bad one.
    """
    listed, several = _listed(parse_json(body, MAX_EVENT_NESTING + 1))
    taken = []
    for position, fields in enumerate(listed):
        index = position if several else None
        if type(fields) is not dict:
            raise Refusal(422, "WRONG_TYPE", f"an event must be an object, not {kind_of(fields)}", index=index)
        taken.append(_event(context, fields, index))
    return accept(context, taken, several=several)


def exposures(context: HandlerContext, body: bytes) -> bytes:
    """Take `POST /v1/exposures`, the tokens of prefetched answers now used, and return the body of its 202."""
    reading = _exposures(context, body)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            answer: bytes = done.value
            return answer


def _exposures(context: HandlerContext, body: bytes) -> Generator[None, None, bytes]:
    listed, several = _listed(parse_json(body, context.rules.max_nesting))
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
        raise too_many(f"{len(tokens):,}")
    several = several or len(tokens) > 1
    taken = []
    for index, one in enumerate(tokens):
        taken.append(exposed(context, one, index if several else None))
        yield
    return accept(context, taken, several=several)


async def large_events(context: HandlerContext, body: bytes) -> bytes:
    """Take a body of `POST /v1/events` beyond `SLICED_BYTES`, event by event, with the loop's other work in between."""
    async with context.large:
        return await in_slices(_large_events(context, body))


async def large_exposures(context: HandlerContext, body: bytes) -> bytes:
    """Take a large body of `POST /v1/exposures` in the same way."""
    if body.count(b",") > MAX_TOKEN_COMMAS:
        raise too_many(f"more than {event.MAX_EVENTS_A_REQUEST:,}")
    async with context.large:
        return await in_slices(_exposures(context, body))


def _large_events(context: HandlerContext, body: bytes) -> Generator[None, None, bytes]:
    """All of a request, or none: nothing is written before the last event was read."""
    spans = yield from divided(body)
    payloads: list[bytes] = []
    counted: list[event.EventMap] = []
    for position, span in enumerate([(0, len(body))] if spans is None else spans):
        index = None if spans is None else position
        fields = read_one(body, span, index, MAX_EVENT_NESTING + (spans is None))
        if type(fields) is not dict:
            raise Refusal(422, "WRONG_TYPE", f"an event must be an object, not {kind_of(fields)}", index=index)
        taken = _event(context, fields, index)
        payloads.append(context.journal.pack(taken, index))
        counted.append({"type": taken["type"]})
        yield
    if payloads:
        context.journal.accept_packed(payloads, counted)
    return orjson.dumps({"accepted": len(payloads)})


def _listed(value: Any) -> tuple[list[Any], bool]:
    if type(value) is not list:
        return [value], False
    if len(value) > event.MAX_EVENTS_A_REQUEST:
        raise too_many(f"{len(value):,}")
    return value, True


def _event(context: HandlerContext, fields: dict[str, Any], index: int | None) -> event.EventMap:
    shared_ids = context.rules.shared_ids
    user_id = unit_id(fields, "user_id", shared_ids, index)
    session_id = unit_id(fields, "session_id", shared_ids, index)
    if user_id is None and session_id is None:
        raise _no_unit(fields, index)
    try:
        return checked(context, fields, user_id, session_id)
    except event.EventError as exc:
        around = wrapped(fields, index)  # an object around a list has no type, and fields of its own
        if around is not None:
            raise around from exc
        raise Refusal(422, exc.code, str(exc), path=exc.path, index=index) from exc


def checked(
    context: HandlerContext, fields: dict[str, Any], user_id: str | None, session_id: str | None, *, priced: bool = True
) -> event.EventMap:
    """Return one event as it is stored; its time is judged by the clock that callers agree on. Raises EventError."""
    given, callers = fields.get("ts"), context.callers
    now_us = context.clock()
    try:
        taken = event.from_caller(
            fields,
            user_id=user_id,
            session_id=session_id,
            event_id=context.journal.ids.next,
            now_us=now_us,
            callers_us=None if given is None else callers.now_us(),
            priced=priced,
        )
    except event.EventError as exc:
        if exc.ts_us is None or not callers.disagree(exc.ts_us, now_us):
            raise
        return checked(context, fields, user_id, session_id, priced=priced)  # by the clock that is known now
    if given is not None and abs(now_us - callers.agreed_us) > AGREE_US and _fits(given, taken["ts"], now_us):
        callers.agree(now_us)
    return taken


def _fits(given: Any, taken_us: int, now_us: int) -> bool:
    """Whether the sidecar's own clock takes this time too. One from the future became now: that shows nothing."""
    if taken_us == now_us:
        return type(given) is int and given <= now_us + event.MAX_AHEAD_US
    return now_us - taken_us <= event.MAX_AGE_US


def _no_unit(fields: dict[str, Any], index: int | None) -> Refusal:
    """Return the refusal of an event without a unit, with the cause: an id by another name, an object around a list."""
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
    if not fields.keys().isdisjoint(_NAMES_ONE_EVENT):
        return None
    name = next((name for name in fields if name in _WRAPPERS and type(fields[name]) is list), None)
    if name is None:
        return None
    detail = f"{name} is not a field here; send the list itself, [{{…}}, …], without an object around it"
    return Refusal(422, "UNKNOWN_FIELD", detail, path=name, index=index)


_IDS = frozenset({"user_id", "session_id"})
_NAMES_ONE_EVENT = frozenset({"type", "event", "event_name", "event_type"})
_WRAPPERS = frozenset({"events", "batch", "data", "items", "records", "exposures", "messages"})


def exposed(context: HandlerContext, text: Any, index: int | None, path: str = "exposure_token") -> event.EventMap:
    """Return the exposure of a token that came at `path`. Raises Refusal."""
    if type(text) is not str:
        detail = f"{path} must be a string, not {kind_of(text)}; an answer without assignments has none to post"
        raise Refusal(422, "WRONG_TYPE", detail, path=path, index=index)
    try:
        return token.unseal(text, context.clock())
    except token.ExposureTokenError as exc:
        raise Refusal(422, "INVALID_EVENT", f"{path} {exc}", path=path, index=index) from exc


def accept(context: HandlerContext, taken: list[event.EventMap], *, several: bool) -> bytes:
    """Write checked events to the spool; return the body of their 202. Raises Refusal."""
    if taken:
        context.journal.accept(taken, several=several)
    return orjson.dumps({"accepted": len(taken)})
