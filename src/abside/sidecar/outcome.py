"""Prepared bytes: what the arms and the revision fix of an answer and of its exposure is encoded once, not per request.

A placement with a few experiments has few distinct outcomes, one for each combination of arms. An outcome's bytes are
made when the combination is first met, by encoding a whole answer and a whole event with marks in the places that a
request fills, and cutting there: so they can never differ from what the encoders would have written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgpack
import orjson

from abside import event
from abside.snapshot import ALGO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.assign import Arm
    from abside.assignment.plan import PlacementPlan
    from abside.assignment.unit import Subject, UnitId
    from abside.sidecar.accounts import Accounts, ArmCount

MAX_OUTCOMES = 1024  # of a placement, as many as it keeps merged configurations; each is about 2 KB
NULL = b"null"

_EVENT_ID, _USER_ID, _SESSION_ID, _UNIT = "\0event_id\0", "\0user_id\0", "\0session_id\0", "\0unit\0"
_ATTRIBUTES = {"\0": "\0attributes\0"}
_TS = 0xFEDC_BA98_7654_3210  # nine bytes in msgpack, as every time of this century is in µs
_NO_ATTRIBUTES = msgpack.packb({})
_NONE: bytes = msgpack.packb(None)
_FIXSTR: list[bytes] = [bytes([0xA0 | size]) for size in range(32)]
_UNIT_ID = msgpack.packb("unit_id")
_UNIT_TYPE: dict[str, bytes] = {kind: msgpack.packb(kind) + _UNIT_ID for kind in ("user", "session")}


class Shelf:
    """One placement under one revision, and the outcomes met so far. `pinnable`: an answer shows its unit."""

    __slots__ = ("_outcomes", "pinnable", "plan", "revision")

    def __init__(self, revision: str, plan: PlacementPlan, *, pinnable: bool) -> None:
        self.revision = revision
        self.plan = plan
        self.pinnable = pinnable
        self._outcomes: dict[tuple[Arm, ...], Outcome] = {}

    def outcome(self, arms: tuple[Arm, ...], accounts: Accounts) -> Outcome:
        """Give the prepared bytes for these arms, made when they are first met."""
        known = self._outcomes.get(arms)
        if known is None:
            if len(self._outcomes) >= MAX_OUTCOMES:
                self._outcomes.clear()
            counts = tuple(accounts.arm(arm.experiment, arm.variant.id) for arm in arms)
            known = self._outcomes[arms] = Outcome(self.revision, self.plan, arms, counts)
        return known


class Outcome:
    """One combination of arms at one placement under one revision. `told`: its configuration stands in an event."""

    __slots__ = (
        "_bot",
        "_exposure",
        "_plan",
        "_revision",
        "_same_kind",
        "arms",
        "config",
        "config_id",
        "counts",
        "lone",
        "part",
        "rest",
        "told",
    )

    def __init__(self, revision: str, plan: PlacementPlan, arms: tuple[Arm, ...], counts: tuple[ArmCount, ...]) -> None:
        merged = plan.merged(arms)
        self.arms = arms
        self.config = merged.config
        self.config_id = merged.config_id
        self.counts = counts
        self.told = False
        head = {"placement": plan.placement.id}
        self.lone = orjson.dumps({**head, "revision": revision, "config_id": merged.config_id})[:-1]
        self.part = orjson.dumps({**head, "config_id": merged.config_id})[:-1]
        named = [{"experiment": arm.experiment, "variant": arm.variant.id, "phase": arm.phase} for arm in arms]
        self.rest = b"," + orjson.dumps({"config": merged.config, "assignments": named})[1:]
        self._revision, self._plan = revision, plan
        self._same_kind = all(arm.kind == "user_or_session" for arm in arms)
        self._exposure = _template(revision, plan, arms, merged.config_id, bot=False)
        self._bot: list[Any] | None = None

    def exposure(
        self,
        event_id: bytes,
        now_us: int,
        subject: Subject,
        attributes: Mapping[str, Any] | None,
        *,
        bot: bool,
    ) -> bytes:
        """Give the packed exposure event; `event_id` has fewer than 32 bytes. There is at least one arm."""
        parts = (self._exposure if not bot else self._template_of_bots()).copy()
        parts[1] = parts[11] = _FIXSTR[len(event_id)] + event_id
        parts[3] = parts[5] = b"\xcf" + now_us.to_bytes(8, "big")  # as msgpack packs every time of this century
        parts[7] = packed_text(subject.user_id)
        parts[9] = packed_text(subject.session_id)
        if self._same_kind:
            kind, unit_id = subject.unit  # type: ignore[misc]  # an arm was given, so there is one
            parts[13:-2:2] = [_UNIT_TYPE[kind] + packed_text(unit_id)] * len(self.arms)
        else:
            parts[13:-2:2] = [_packed_unit(arm.unit_of(subject)) for arm in self.arms]
        parts[-2] = msgpack.packb(attributes) if attributes else _NO_ATTRIBUTES
        return b"".join(parts)

    def _template_of_bots(self) -> list[Any]:
        if self._bot is None:
            self._bot = _template(self._revision, self._plan, self.arms, self.config_id, bot=True)
        return self._bot


def _packed_unit(unit: UnitId | None) -> bytes:
    kind, unit_id = unit or ("", "")
    return _UNIT_TYPE[kind] + packed_text(unit_id)


def packed_text(text: str | None) -> bytes:
    """Give msgpack of a text or null; shorter than the library's call for what ids are."""
    if text is None:
        return _NONE
    raw = text.encode()
    if len(raw) < 32:
        return _FIXSTR[len(raw)] + raw
    packed: bytes = msgpack.packb(text)
    return packed


def _template(revision: str, plan: PlacementPlan, arms: tuple[Arm, ...], config_id: str, *, bot: bool) -> list[Any]:
    """Cut a whole event at its marks: bytes at even places, what a request fills at odd ones.

    In order: event id, ts, seen_ts, user id, session id, exposure id, a unit for each arm, attributes.
    """
    marked = event.exposure(
        event_id=_EVENT_ID,
        now_us=_TS,
        user_id=_USER_ID,
        session_id=_SESSION_ID,
        placement=plan.placement.id,
        revision=revision,
        config_id=config_id,
        algo=ALGO,
        assignments=[
            event.Exposed(arm.experiment, arm.phase, arm.variant.id, _UNIT, _UNIT, arm.forced, arm.traffic_bp)
            for arm in arms
        ],
        attributes=_ATTRIBUTES,
        bot=bot,
    )
    unit = msgpack.packb(_UNIT) + _UNIT_ID + msgpack.packb(_UNIT)
    marks = [msgpack.packb(one) for one in (_EVENT_ID, _TS, _USER_ID, _SESSION_ID, _ATTRIBUTES)]
    return list(re.split(b"(" + b"|".join(re.escape(one) for one in (*marks, unit)) + b")", event.encode(marked)))
