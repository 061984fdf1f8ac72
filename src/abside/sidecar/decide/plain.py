"""Plain requests: what nearly every request is, from its body to its answer in one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from abside.assignment.plan import drawn
from abside.assignment.unit import MAX_UNIT_BYTES, Subject
from abside.event import MAX_EVENT_BYTES
from abside.sidecar.active.prepared import NO_ATTRIBUTES, NOBODY, NULL, PACK, PACKED_TS, TEXT_HEADS, TS_HEAD, UNIT_HEADS
from abside.sidecar.decide.handlers import NOT_EXPOSED, UNIT_OF, assign_within, decide
from abside.sidecar.decide.request import PLAIN_FIELDS, read_assign
from abside.sidecar.record.journal import MAX_TOGETHER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.record.journal import ExposureBatch

NOTHING_SENT: Mapping[str, Any] = {}  # read, never written


def plain_assign(context: HandlerContext, batch: ExposureBatch) -> Callable[[bytes], bytes]:
    """Return `assign_within` for this context and batch: the same answers, events and refusals, in less time.

    A request is decided here where each field has its usual form; every other is decided, or refused, as everywhere.
    The function is long, and asks the same of two ids, since a call costs as much as four such questions.
    """
    cell, sample, rules = context.cell, context.sample, context.rules
    shared_ids, lengths = rules.shared_ids, rules.shared_lengths
    max_nesting, max_attributes = rules.max_nesting, rules.max_attributes
    configs, accounts = context.configs, context.journal.accounts
    next_id, clock = context.journal.ids.next_utf8, context.clock
    payloads, put, count = batch.payloads, batch.payloads.append, batch.counts.append
    loads, is_plain = orjson.loads, PLAIN_FIELDS.issuperset
    as_user, as_session = UNIT_HEADS["user"], UNIT_HEADS["session"]
    user_shown, session_shown = (b',"unit":' + UNIT_OF[kind] + b'"' for kind in ("user", "session"))
    none_shown = b',"unit":' + NULL

    def assign(body: bytes) -> bytes:
        try:
            fields = loads(body)
        except orjson.JSONDecodeError:
            return assign_within(context, batch, body)
        if type(fields) is not dict or b"\\" in body or body.count(b"{") + body.count(b"[") > max_nesting:
            return assign_within(context, batch, body)
        current, get = cell.current, fields.get
        placement, attributes = get("placement"), get("attributes", NOTHING_SENT)
        user_id, session_id = get("user_id"), get("session_id")
        if (
            current is None
            or sample.left <= 1
            or not is_plain(fields)
            or type(attributes) is not dict
            or len(attributes) > max_attributes
            or type(placement) is not str
            or (cache := current.caches.get(placement)) is None
        ):
            return decide(context, batch, read_assign(fields, rules))
        # An ASCII id from "!" on is neither empty nor blank.
        if (
            type(session_id) is str
            and session_id.isascii()
            and session_id >= "!"
            and (size := len(session_id)) <= MAX_UNIT_BYTES
            and (size not in lengths or session_id.lower() not in shared_ids)
        ):
            unit_utf8, shown = session_id.encode(), session_shown
            session = TEXT_HEADS[size] + unit_utf8
            unit = as_session + session
        elif session_id is None and user_id is not None:
            session = NOBODY
        else:
            return decide(context, batch, read_assign(fields, rules))
        if (
            type(user_id) is str
            and user_id.isascii()
            and user_id >= "!"
            and (size := len(user_id)) <= MAX_UNIT_BYTES
            and (size not in lengths or user_id.lower() not in shared_ids)
        ):
            unit_utf8, shown = user_id.encode(), user_shown
            user = TEXT_HEADS[size] + unit_utf8
            unit = as_user + user
        elif user_id is None:
            user = NOBODY
        else:
            return decide(context, batch, read_assign(fields, rules))
        sample.left -= 1
        plan = cache.plan
        draws = plan.draws
        if draws is not None:
            arms = drawn(draws, unit_utf8)
        else:
            subject = Subject(user_id, session_id, attributes, placement)
            arms = plan.arms(subject)
        prepared = cache.known.get(arms) or cache.prepared(arms, accounts)
        if not prepared.config_logged:
            configs.served(cache, prepared)
        exposed = NOT_EXPOSED
        if arms:
            event_id = next_id()
            logged = current.attributes_to_log(attributes) if current.logged else None
            start, to_ts, to_seen, to_user, to_session, again, around, end = prepared.filled[0] or prepared.fill(0)
            own = TEXT_HEADS[len(event_id)] + event_id
            ts = PACKED_TS(TS_HEAD, clock())
            units = unit.join(around) if prepared.same_kind else prepared.units(around, subject)
            packed = PACK(logged) if logged else NO_ATTRIBUTES
            payload = b"".join(
                (start, own, to_ts, ts, to_seen, ts, to_user, user, to_session, session, again, own, units, packed, end)
            )
            if len(payload) <= MAX_EVENT_BYTES and len(payloads) < MAX_TOGETHER:
                put(payload)
                count(prepared.counts)
            else:
                batch.add(payload, prepared.counts)
            exposed = b',"exposure_id":"' + event_id + b'"'
        if cache.pinnable:  # no id here has a sign that JSON would escape
            return b"".join((prepared.lone, exposed, shown, unit_utf8, b'"}', prepared.rest))
        return b"".join((prepared.lone, exposed, none_shown, prepared.rest))

    return assign
