"""Prepared bytes: the parts of an answer and its exposure that arms and revision fix are encoded once, not per request.

A placement with a few experiments has few distinct answers, one for each combination of arms; an answer's bytes are
put together when its combination is first met. They are cut from the output of the encoders, with marks in the
places that a request fills, so they cannot differ from it.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgpack
import orjson

from abside import event
from abside.assignment.unit import MAX_UNIT_BYTES
from abside.snapshot import ALGO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.assign import Arm
    from abside.assignment.plan import PlacementPlan
    from abside.assignment.unit import Subject, UnitId
    from abside.sidecar.record.accounts import Accounts, ArmCount

MAX_PREPARED = 1024  # of a placement, as many as it keeps merged configurations
MAX_PREPARED_BYTES = 4 * 2**20  # of their answers: large configurations must not grow with the combinations
NULL = b"null"
# What is fixed of an exposure, up to each place that a request fills: event id, ts, seen_ts, user id, session id,
# exposure id; then around the units, one for each arm; then what follows the attributes.
Filled: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, bytes, list[bytes], bytes]


FilledToken: TypeAlias = tuple[bytes, bytes, bytes, list[bytes], bytes]  # the same of what a token carries


class Evaluated(NamedTuple):
    """What is fixed of a flag's OFREP answer: alone, up to where its metadata ends; among others; and the rest."""

    alone: bytes
    among: bytes
    rest: bytes


class ExposureTemplate(NamedTuple):
    """What is fixed of a placement's exposures, between the places that a request or its arms fill."""

    event: list[bytes]
    token: list[bytes]


ExposureTemplates: TypeAlias = tuple[ExposureTemplate, ExposureTemplate]  # of shoppers, of bots


class AnswerCache:
    """One placement under one revision, and the answers prepared so far. `pinnable`: an answer shows its unit."""

    __slots__ = ("_arms", "_known_bytes", "_templates", "known", "pinnable", "plan", "revision")

    def __init__(self, revision: str, plan: PlacementPlan, *, pinnable: bool) -> None:
        self.revision = revision
        self.plan = plan
        self.pinnable = pinnable
        self.known: dict[tuple[Arm, ...], PreparedAnswer] = {}  # only `prepared` adds to it
        self._arms: dict[Arm, EncodedArm] = {}
        self._templates: ExposureTemplates | None = None
        self._known_bytes = 0

    def prepared(self, arms: tuple[Arm, ...], accounts: Accounts) -> PreparedAnswer:
        """Return the prepared bytes for these arms; they are made when the arms are first met."""
        known = self.known.get(arms)
        if known is None:
            known = self._made(arms, accounts)
            self._known_bytes += len(known.rest)
            if len(self.known) >= MAX_PREPARED or self._known_bytes > MAX_PREPARED_BYTES:
                self.known.clear()
                self._known_bytes = len(known.rest)
            self.known[arms] = known
        return known

    def _made(self, arms: tuple[Arm, ...], accounts: Accounts) -> PreparedAnswer:
        if self._templates is None:
            self._templates = (
                _template(self.revision, self.plan, bot=False),
                _template(self.revision, self.plan, bot=True),
            )
        for arm in arms:
            if arm not in self._arms:
                self._arms[arm] = EncodedArm(arm, accounts.arm(arm.experiment, arm.variant.id))
        return PreparedAnswer(self.revision, self.plan, arms, [self._arms[arm] for arm in arms], self._templates)


class EncodedArm:
    """One arm, encoded: its JSON in an answer, and its msgpack in an exposure around the unit."""

    __slots__ = ("after", "before", "count", "shown")

    def __init__(self, arm: Arm, count: ArmCount) -> None:
        self.count = count
        self.shown = orjson.dumps({"experiment": arm.experiment, "variant": arm.variant.id, "phase": arm.phase})
        exposed = event.Exposed(arm.experiment, arm.phase, arm.variant.id, _UNIT, _UNIT, arm.forced, arm.traffic_bp)
        self.before, self.after = msgpack.packb(event.assignment(exposed)).split(_UNIT_MARK)


class PreparedAnswer:
    """One combination of arms at one placement under one revision. `config_logged`: an event contains its config."""

    __slots__ = (
        "_encoded",
        "_filled_tokens",
        "_templates",
        "arms",
        "config",
        "config_id",
        "config_logged",
        "counts",
        "evaluated",
        "filled",
        "lone",
        "part",
        "rest",
        "same_kind",
    )

    def __init__(
        self,
        revision: str,
        plan: PlacementPlan,
        arms: tuple[Arm, ...],
        encoded: list[EncodedArm],
        templates: ExposureTemplates,
    ) -> None:
        merged = plan.merged(arms)
        self.arms = arms
        self.config = merged.config
        self.config_id = merged.config_id
        self.counts = tuple(one.count for one in encoded)
        self.config_logged = False
        head = {"placement": plan.placement.id}
        self.lone = orjson.dumps({**head, "revision": revision, "config_id": merged.config_id})[:-1]
        self.part = orjson.dumps({**head, "config_id": merged.config_id})[:-1]
        shown = b",".join([one.shown for one in encoded])
        self.rest = b',"config":%b,"assignments":[%b]}' % (orjson.dumps(merged.config), shown)
        self.evaluated: dict[str, Evaluated] = {}  # by flag: the placement, and the experiment where it is the only arm
        self.same_kind = all(arm.kind == "user_or_session" for arm in arms)
        self._encoded = encoded
        self._templates = templates
        # Of shoppers, of bots: made when first exposed, and when the first token is made.
        self.filled: list[Filled | None] = [None, None]
        self._filled_tokens: list[FilledToken | None] = [None, None]

    def exposure(
        self, event_id: bytes, now_us: int, subject: Subject, attributes: Mapping[str, Any] | None, *, bot: bool
    ) -> bytes:
        """Return the packed exposure event; `event_id` has fewer than 32 bytes. There is at least one arm."""
        start, to_ts, to_seen, to_user, to_session, again, arms, end = self.filled[bot] or self.fill(bot)
        own = TEXT_HEADS[len(event_id)] + event_id
        ts = PACKED_TS(TS_HEAD, now_us)
        user, session = _text(subject.user_id), _text(subject.session_id)
        if self.same_kind and subject.unit is not None:
            kind = subject.unit[0]
            units = (UNIT_HEADS[kind] + (user if kind == "user" else session)).join(arms)
        else:
            units = self.units(arms, subject)
        logged = PACK(attributes) if attributes else NO_ATTRIBUTES
        return b"".join(
            (start, own, to_ts, ts, to_seen, ts, to_user, user, to_session, session, again, own, units, logged, end)
        )

    def carried(self, event_id: bytes, subject: Subject, attributes: Mapping[str, Any] | None, *, bot: bool) -> bytes:
        """Return msgpack of `event.carried` of the same exposure: what a token carries."""
        filled = self._filled_tokens[bot] or self._fill_token(bot)
        start, to_user, to_session, arms, end = filled
        user, session = _text(subject.user_id), _text(subject.session_id)
        if self.same_kind and subject.unit is not None:
            kind = subject.unit[0]
            units = (UNIT_HEADS[kind] + (user if kind == "user" else session)).join(arms)
        else:
            units = self.units(arms, subject)
        logged = PACK(attributes) if attributes else NO_ATTRIBUTES
        own_id = TEXT_HEADS[len(event_id)] + event_id
        return b"".join((start, own_id, to_user, user, to_session, session, units, logged, end))

    def units(self, arms: list[bytes], subject: Subject) -> bytes:
        """Put the unit of each arm, which may be of two kinds, between the arms."""
        return arms[0] + b"".join(
            [_unit(arm.unit_of(subject)) + after for arm, after in zip(self.arms, arms[1:], strict=True)]
        )

    def fill(self, bot: int) -> Filled:
        """Make what is fixed of its exposures, of shoppers (0) or bots (1), and keep it."""
        before, arms, end = _filled(self._templates[bot].event, self.config_id, self._encoded)
        start, to_ts, to_seen, to_user, to_session, to_again = before
        filled = self.filled[bot] = start, to_ts, to_seen, to_user, to_session, to_again, arms, end
        return filled

    def _fill_token(self, bot: bool) -> FilledToken:
        (start, to_user, to_session), arms, end = _filled(self._templates[bot].token, self.config_id, self._encoded)
        filled = self._filled_tokens[bot] = start, to_user, to_session, arms, end
        return filled


_EVENT_ID, _USER_ID, _SESSION_ID, _UNIT = "\0event_id\0", "\0user_id\0", "\0session_id\0", "\0unit\0"
_CONFIG_ID, _ASSIGNMENTS, _ATTRIBUTES = "\0config_id\0", "\0assignments\0", {"\0": "\0attributes\0"}
PACK = msgpack.Packer().pack  # kept: a new one a call takes twice as long
PACKED_TS = struct.Struct(">BQ").pack
TS_HEAD = 0xCF  # as msgpack packs every time of this century
_TS = 0xFEDC_BA98_7654_3210  # nine bytes in msgpack, as every time of this century is in µs
_UNIT_ID: bytes = msgpack.packb("unit_id")
_UNIT_MARK: bytes = msgpack.packb(_UNIT) + _UNIT_ID + msgpack.packb(_UNIT)
UNIT_HEADS: dict[str, bytes] = {kind: msgpack.packb(kind) + _UNIT_ID for kind in ("user", "session")}
NO_ATTRIBUTES: bytes = msgpack.packb({})
NOBODY: bytes = msgpack.packb(None)  # an id that is not there
# What msgpack writes before a text of so many bytes: ids are at most as long as this.
TEXT_HEADS: list[bytes] = [msgpack.packb("x" * size)[: -size or None] for size in range(MAX_UNIT_BYTES + 1)]


def _text(text: str | None) -> bytes:
    """Return msgpack of an id or null; faster than the library's call."""
    if text is None:
        return NOBODY
    raw = text.encode()
    return TEXT_HEADS[len(raw)] + raw


def _unit(unit: UnitId | None) -> bytes:
    kind, unit_id = unit or ("user", "")  # there is an arm, so there is a unit
    return UNIT_HEADS[kind] + _text(unit_id)


def _template(revision: str, plan: PlacementPlan, *, bot: bool) -> ExposureTemplate:
    """Cut a whole event, and what a token carries of it, at the marks in both."""
    marked = event.exposure(
        event_id=_EVENT_ID,
        now_us=_TS,
        user_id=_USER_ID,
        session_id=_SESSION_ID,
        placement=plan.placement.id,
        revision=revision,
        config_id=_CONFIG_ID,
        algo=ALGO,
        assignments=(),
        attributes=_ATTRIBUTES,
        bot=bot,
    )
    marked["assignments"] = _ASSIGNMENTS
    return ExposureTemplate(_cut(event.encode(marked)), _cut(msgpack.packb(event.carried(marked))))


def _cut(packed: bytes) -> list[bytes]:
    """Return what is fixed between the marks.

    In order: event id, ts, seen_ts, user id, session id, exposure id, config id, assignments, attributes; a token has
    no times and the id once.
    """
    marks = (_EVENT_ID, _TS, _USER_ID, _SESSION_ID, _CONFIG_ID, _ASSIGNMENTS, _ATTRIBUTES)
    return re.split(b"|".join(re.escape(msgpack.packb(mark)) for mark in marks), packed)


def _filled(fixed: list[bytes], config_id: str, encoded: list[EncodedArm]) -> tuple[list[bytes], list[bytes], bytes]:
    """Put configuration and arms into a template: what comes before them, what is around the units, the end."""
    *before, to_config, to_assignments, to_attributes, end = fixed
    array: bytes = msgpack.Packer().pack_array_header(len(encoded))
    left = to_config + msgpack.packb(config_id) + to_assignments + array
    arms = []
    for one in encoded:
        arms.append(left + one.before)
        left = one.after
    return before, [*arms, left + to_attributes], end
