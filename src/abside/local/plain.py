"""Plain decisions: what nearly every call of `Local.assign` asks for, from its arguments to its event on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from abside.assignment.plan import drawn
from abside.assignment.unit import MAX_UNIT_BYTES, Subject
from abside.event import MAX_EVENT_BYTES
from abside.sidecar.active.prepared import NO_ATTRIBUTES, NOBODY, PACK, PACKED_TS, TEXT_HEADS, TS_HEAD, UNIT_HEADS
from abside.spool.errors import SpoolRefused

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from abside.assignment.unit import UnitId
    from abside.local.fixed import FixedAnswer, FixedAnswers
    from abside.local.following import Following
    from abside.sidecar.active.current import Cell
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.decide.request import Rules
    from abside.sidecar.record.accounts import ArmCount
    from abside.sidecar.record.journal import Journal

# The answer's fixed part, the id of its exposure, and the unit to pin.
Decided: TypeAlias = "tuple[FixedAnswer, str | None, UnitId | None]"
PlainDecision: TypeAlias = "Callable[[str, Any, Any, Mapping[str, Any]], Decided | None]"


class Decider(Protocol):
    """The process that decides. `writing` and `obstacle` are read under `lock`; `exposed` counts the answers here."""

    lock: threading.RLock
    cell: Cell
    following: Following
    writing: tuple[HandlerContext, Callable[[bytes], None]]  # the other one appends a payload to the spool
    obstacle: str
    exposed: int

    def look(self, now_us: int) -> None:
        """Do what is due."""


def plain_decision(deciding: Decider, answers: FixedAnswers, rules: Rules, clock: Callable[[], int]) -> PlainDecision:
    """Return `decide` of such a process as one function, of placement, ids and attributes: the same in half the time.

    It returns None, and has done nothing, where something has not its usual form or is due: the whole rule then
    decides, or refuses. As the sidecar's own for plain requests it is long, since a call costs as much as four of its
    questions. Here there is no JSON to read or write, and each event is written on its own.
    """
    lock, cell, following = deciding.lock, deciding.cell, deciding.following
    fixed_of = answers.known.get
    shared_ids, lengths, max_attributes = rules.shared_ids, rules.shared_lengths, rules.max_attributes
    as_user, as_session = UNIT_HEADS["user"], UNIT_HEADS["session"]

    def decide(placement: str, user_id: Any, session_id: Any, attributes: Mapping[str, Any]) -> Decided | None:
        with lock:
            now_us = clock()
            if not following.from_us <= now_us < following.until_us:
                deciding.look(now_us)
            current, (context, append) = cell.current, deciding.writing
            if (
                deciding.obstacle
                or current is None
                or len(attributes) > max_attributes
                or (cache := current.caches.get(placement)) is None
            ):
                return None
            # An ASCII id from "!" on is neither empty nor blank.
            if (
                type(session_id) is str
                and session_id.isascii()
                and session_id >= "!"
                and (size := len(session_id)) <= MAX_UNIT_BYTES
                and (size not in lengths or session_id.lower() not in shared_ids)
            ):
                unit_utf8 = session_id.encode()
                pinned: UnitId = ("session", session_id)
                session = TEXT_HEADS[size] + unit_utf8
                unit = as_session + session
            elif session_id is None and user_id is not None:
                session = NOBODY
            else:
                return None
            if (
                type(user_id) is str
                and user_id.isascii()
                and user_id >= "!"
                and (size := len(user_id)) <= MAX_UNIT_BYTES
                and (size not in lengths or user_id.lower() not in shared_ids)
            ):
                unit_utf8, pinned = user_id.encode(), ("user", user_id)
                user = TEXT_HEADS[size] + unit_utf8
                unit = as_user + user
            elif user_id is None:
                user = NOBODY
            else:
                return None
            sample, draws, journal = context.sample, cache.plan.draws, context.journal
            sample.left -= 1
            if sample.left <= 0:
                subject = Subject(user_id, session_id, attributes, placement)
                sample.look(cache.revision, cache.plan, subject)
                sample.look_at_names(subject, current.snapshot.head.attributes)
            if draws is not None:
                arms = drawn(draws, unit_utf8)
            else:
                subject = Subject(user_id, session_id, attributes, placement)
                arms = cache.plan.arms(subject)
            prepared = cache.known.get(arms) or cache.prepared(arms, journal.accounts)
            if not prepared.config_logged:
                context.configs.served(cache, prepared)
            fixed = fixed_of(prepared) or answers.made(prepared, cache)
            exposure_id = None
            if arms:
                event_id = journal.ids.next_utf8()
                logged = current.attributes_to_log(attributes) if current.logged else None
                start, to_ts, to_seen, to_user, to_session, same, around, end = prepared.filled[0] or prepared.fill(0)
                own = TEXT_HEADS[len(event_id)] + event_id
                ts = PACKED_TS(TS_HEAD, now_us)
                whom = unit.join(around) if prepared.same_kind else prepared.units(around, subject)
                rest = PACK(logged) if logged else NO_ATTRIBUTES
                payload = b"".join(
                    (start, own, to_ts, ts, to_seen, ts, to_user, user, to_session, session, same, own, whom, rest, end)
                )
                if len(payload) <= MAX_EVENT_BYTES:
                    _write(append, journal, payload, prepared.counts)
                else:
                    with journal.batch() as batch:
                        batch.add(payload, prepared.counts)
                exposure_id = event_id.decode()
                deciding.exposed += 1
            return fixed, exposure_id, pinned if cache.pinnable else None

    return decide


def _write(append: Callable[[bytes], None], journal: Journal, payload: bytes, counts: tuple[ArmCount, ...]) -> None:
    """Do for one exposure what the journal does for several."""
    try:
        append(payload)
    except SpoolRefused:  # nothing of it is there: the journal tries once more, counts it and logs why
        journal.append_exposures([payload], [counts])
    except Exception:
        journal.accounts.lose_exposure(counts)
        raise
    else:
        journal.accounts.accepted["exposure"] += 1
        for count in counts:
            count.accepted += 1
