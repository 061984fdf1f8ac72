"""Requests, parsed at the door: JSON within bounds, known fields, usable units."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from abside.assignment.unit import MAX_UNIT_BYTES, NO_FORCE, SHARED_IDS, Subject, UnitError, parse_unit_id
from abside.event import also_meant, meant_field
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.unit import UnitId

MAX_SHOWN_CHARS = 64  # of a name that a caller made up, in a refusal
NO_UNIT_DETAIL = (
    "neither user_id nor session_id is usable; send at least one (an id that many share, as guest or 0, is none)"
)
EXPLAINED_BYTES = 64 * 1024  # how much unreadable JSON is read a second time to find why it is refused


@dataclass(frozen=True, slots=True)
class Rules:
    """The bounds and switches a request is read under; settings of the sidecar."""

    max_nesting: int = 32
    max_attributes: int = 64
    max_placements: int = 32
    shared_ids: frozenset[str] = SHARED_IDS  # in lower case
    allow_force: bool = False
    shared_lengths: frozenset[int] = field(init=False)  # in characters: most ids differ from every shared id by theirs

    def __post_init__(self) -> None:
        object.__setattr__(self, "shared_lengths", frozenset(map(len, self.shared_ids)))


class AssignRequest(Subject):
    """A decision that is asked for at one placement, for use there. It is its own subject: one object a request."""

    __slots__ = ()
    several: bool = False  # the answer is keyed by placement
    expose: bool = True  # using the answer is exposure
    bot: bool = False

    @property
    def placements(self) -> tuple[str, ...]:
        """Where it is asked for."""
        return (self.placement,)

    def at(self, placement: str) -> Subject:
        """Return the subject at one of them."""
        return Subject(self.user_id, self.session_id, self.attributes, placement, self.pinned, self.force)


class ParticularRequest(AssignRequest):
    """One with more fields: several placements, a pinned unit, a forced variant, a bot, or a prefetch."""

    __slots__ = ("bot", "expose", "placements", "several")

    placements: tuple[str, ...]


def parse_json(body: bytes, max_nesting: int) -> Any:
    """Read a body as JSON. Raises Refusal 400 MALFORMED; 422 INVALID_UNIT for a lone surrogate in an id."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        _refuse_unreadable(body, exc)
    # A level costs two bytes, and brackets inside strings only make the count larger: most bodies stop here.
    if (
        len(body) > 2 * max_nesting
        and body.count(b"{") + body.count(b"[") > max_nesting
        and _deeper_than(value, max_nesting)
    ):
        raise Refusal(400, "MALFORMED", f"the JSON is nested deeper than {max_nesting} levels")
    return value


def parse_assign(body: bytes, rules: Rules) -> AssignRequest:
    """Read an assign or explain body. Raises Refusal with the path of the first field that is wrong."""
    fields = parse_json(body, rules.max_nesting)
    if type(fields) is not dict:
        raise Refusal(422, "WRONG_TYPE", f"the body must be an object, not {kind_of(fields)}")
    return read_assign(fields, rules)


def read_assign(fields: Mapping[str, Any], rules: Rules) -> AssignRequest:
    """Read such a body's fields. Raises Refusal in the same way."""
    shared_ids, lengths = rules.shared_ids, rules.shared_lengths
    user_id, session_id = fields.get("user_id"), fields.get("session_id")
    # What nearly every request is, seen without a call; everything else goes by the whole rule.
    is_plain = PLAIN_FIELDS.issuperset(fields)
    if not is_plain and not fields.keys() <= _FIELDS:
        name = next(name for name in fields if name not in _FIELDS)
        raise unknown_field(name, _FIELDS, beside=fields)
    # An id from "!" on is neither empty nor blank. Lower case is enough for ASCII, and taken where the length fits.
    if not (type(user_id) is str and user_id.isascii() and user_id >= "!" and len(user_id) <= MAX_UNIT_BYTES) or (
        len(user_id) in lengths and user_id.lower() in shared_ids
    ):
        user_id = unit_id(fields, "user_id", shared_ids)
    if session_id is not None and (
        not (
            type(session_id) is str and session_id.isascii() and session_id >= "!" and len(session_id) <= MAX_UNIT_BYTES
        )
        or (len(session_id) in lengths and session_id.lower() in shared_ids)
    ):
        session_id = unit_id(fields, "session_id", shared_ids)
    if is_plain:
        placement, attributes = fields.get("placement"), fields.get("attributes", {})
        if type(placement) is not str:
            placement = _name(fields, "placement")
        if type(attributes) is not dict or len(attributes) > rules.max_attributes:
            attributes = _attributes(fields, rules.max_attributes)
        request = AssignRequest(user_id, session_id, attributes, placement)
    else:
        request = _particular(fields, user_id, session_id, rules)
    if user_id is None and session_id is None:
        raise Refusal(400, "NO_UNIT", NO_UNIT_DETAIL)
    return request


def _particular(
    fields: Mapping[str, Any], user_id: str | None, session_id: str | None, rules: Rules
) -> ParticularRequest:
    several = fields.get("placements") is not None  # null is absent, as everywhere: typed clients send every field
    placements = _placements(fields, rules.max_placements) if several else (_name(fields, "placement"),)
    pinned = _pinned(fields, user_id, session_id) if fields.get("pinned_unit") is not None else None
    attributes = _attributes(fields, rules.max_attributes)
    if several and fields.get("expose") is None:
        detail = (
            "expose is required with placements: true when the answers are used now, false when they are prefetched"
        )
        raise Refusal(422, "WRONG_TYPE", detail, path="expose")
    expose = _flag(fields, "expose", default=True)
    force = _force(fields, rules) if fields.get("force") is not None else NO_FORCE
    request = ParticularRequest(user_id, session_id, attributes, placements[0], pinned, force)
    request.placements, request.several, request.expose = placements, several, expose
    request.bot = _flag(fields, "bot", default=False)
    return request


def unit_id(fields: Mapping[str, Any], name: str, shared_ids: frozenset[str], index: int | None = None) -> str | None:
    """Read one id by assignment's rule; None when absent. Raises Refusal 422 INVALID_UNIT."""
    try:
        return parse_unit_id(fields.get(name), shared_ids)
    except UnitError as exc:
        raise Refusal(422, "INVALID_UNIT", f"{name}: {exc}", path=name, index=index) from None


def unknown_field(
    name: str,
    known: frozenset[str],
    index: int | None = None,
    within: str = "",
    beside: Mapping[str, Any] | None = None,
) -> Refusal:
    """Return the refusal of a field nobody declared, with the name that was perhaps meant. `within` is its object.

    `beside` are all fields of that object: others that have another name here are named too.
    """
    shown = name[:MAX_SHOWN_CHARS]
    meant = meant_field(name, known)
    hint = f"did you mean {meant}?" if meant else f"there is {', '.join(sorted(known))}"
    others = also_meant(name, beside, known) if meant and beside else ""
    path = f"{within}.{shown}" if within else shown
    return Refusal(422, "UNKNOWN_FIELD", f"{path} is not a field here; {hint}{others}", path=path, index=index)


def kind_of(value: Any) -> str:
    """Name a JSON value's type as a JSON author knows it."""
    return _KINDS.get(type(value), "null")


_FIELDS = frozenset(
    {"placement", "placements", "user_id", "session_id", "attributes", "expose", "pinned_unit", "force", "bot"}
)
PLAIN_FIELDS = frozenset({"placement", "user_id", "session_id", "attributes"})
_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}


_PINNED_FIELDS = frozenset({"type", "id"})


def _wrong(path: str, wanted: str, value: Any) -> Refusal:
    return Refusal(422, "WRONG_TYPE", f"{path} must be {wanted}, not {kind_of(value)}", path=path)


def _too_many(count: int, path: str, most: int) -> Refusal:
    return Refusal(413, "TOO_LARGE", f"{count:,} {path}; a request takes at most {most}", path=path)


def _name(fields: Mapping[str, Any], path: str) -> str:
    value = fields.get(path)
    if type(value) is not str:
        if value is None:
            raise Refusal(422, "WRONG_TYPE", "placement (or placements) is required: where is this shown?", path=path)
        raise _wrong(path, "a string", value)
    return value


def _placements(fields: Mapping[str, Any], most: int) -> tuple[str, ...]:
    value = fields["placements"]
    if fields.get("placement") is not None:
        raise Refusal(422, "WRONG_TYPE", "give placement or placements, not both", path="placements")
    if type(value) is not list or not value:
        raise _wrong("placements", "a list of one or more names", value)
    if len(value) > most:
        raise _too_many(len(value), "placements", most)
    for index, name in enumerate(value):
        if type(name) is not str:
            raise _wrong(f"placements[{index}]", "a string", name)
    return tuple(dict.fromkeys(value))


def _attributes(fields: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    value = fields.get("attributes")
    if value is None:
        return {}
    if type(value) is not dict:
        raise _wrong("attributes", "an object", value)
    if len(value) > most:
        raise _too_many(len(value), "attributes", most)
    return value


def _flag(fields: Mapping[str, Any], path: str, *, default: bool) -> bool:
    value = fields.get(path)
    if value is None:
        return default
    if type(value) is not bool:
        raise _wrong(path, "true or false", value)
    return value


def _pinned(fields: Mapping[str, Any], user_id: str | None, session_id: str | None) -> UnitId:
    value = fields["pinned_unit"]
    if type(value) is not dict:
        raise _wrong("pinned_unit", "an object with type and id", value)
    if not value.keys() <= _PINNED_FIELDS:
        name = next(name for name in value if name not in _PINNED_FIELDS)
        raise unknown_field(name, _PINNED_FIELDS, within="pinned_unit")
    kind = value.get("type")
    if kind not in ("user", "session"):
        raise Refusal(422, "WRONG_TYPE", "pinned_unit.type must be user or session", path="pinned_unit.type")
    given = user_id if kind == "user" else session_id
    if given is None or unit_id({"pinned_unit.id": value.get("id")}, "pinned_unit.id", frozenset()) != given:
        detail = f"pinned_unit.id must be the request's own {kind}_id: send back the unit of an earlier answer"
        raise Refusal(422, "INVALID_UNIT", detail, path="pinned_unit.id")
    return (kind, given)


def _force(fields: Mapping[str, Any], rules: Rules) -> Mapping[str, str]:
    value = fields["force"]
    if not rules.allow_force:
        detail = "force is taken only where the sidecar runs with --allow-force"
        raise Refusal(422, "UNKNOWN_FIELD", detail, path="force")
    if type(value) is not dict:
        raise _wrong("force", "an object from experiment to variant", value)
    for name, variant in value.items():
        if type(variant) is not str:
            raise _wrong(f"force.{name[:MAX_SHOWN_CHARS]}", "a variant's name", variant)
    return value


def _deeper_than(value: Any, levels: int) -> bool:
    """Walk level by level: no recursion, so depth costs no stack."""
    level: list[Any] = [value]
    for _ in range(levels):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below += item.values()
            elif type(item) is list:
                below += item
        level = [item for item in below if type(item) in (dict, list)]
        if not level:
            return False
    return True


def _refuse_unreadable(body: bytes, exc: orjson.JSONDecodeError) -> NoReturn:
    """Raise the Refusal of a body that is not JSON. A lone surrogate is JSON by the letter; in an id it is named."""
    if b"\\u" in body and len(body) <= EXPLAINED_BYTES:
        try:
            value = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            pass
        else:
            for index, fields in enumerate(value if type(value) is list else [value]):
                if type(fields) is dict:
                    place = index if type(value) is list else None
                    unit_id(fields, "user_id", SHARED_IDS, place)
                    unit_id(fields, "session_id", SHARED_IDS, place)
            raise Refusal(400, "MALFORMED", "a string holds a lone surrogate, which is not text") from None
    raise Refusal(400, "MALFORMED", f"the body is not JSON ({_why_unreadable(body, exc)})") from None


def _why_unreadable(body: bytes, exc: orjson.JSONDecodeError) -> str:
    """Name the usual causes; of the body itself nothing is repeated but a place in it."""
    if not body:
        return "the body is empty"
    other = not_text(body)
    if other is not None:
        return other
    where = f"line {exc.lineno} column {exc.colno}"
    if "infinity" in exc.msg:
        return f"{where}: numbers must be finite; send a long id as a string"
    if _CONSTANT.match(body.decode(), exc.pos):
        return f"{where}: NaN and Infinity are no JSON, numbers must be finite; send null, or leave it out"
    cause = _cause(body.decode(), exc)
    return f"{where}: {cause}" if cause else where


def _cause(text: str, exc: orjson.JSONDecodeError) -> str:
    """Name what a person or a template writes where JSON has something else; empty where it is none of these."""
    found, before = text[exc.pos : exc.pos + 1], text[max(0, exc.pos - SEEN_AROUND) : exc.pos].rstrip()
    if found and found in CURLY_QUOTES:
        return f'a curly quote (U+{ord(found):04X}); write a straight one, "'
    if found == "'":
        return 'a single quote; names and text stand in double ones, "'
    rest = text[exc.pos + 1 : exc.pos + SEEN_AROUND].lstrip()
    if (found in {"]", "}"} and before.endswith(",")) or (found == "," and rest[:1] in {"]", "}"}):
        return "a comma before the closing bracket; leave it out"
    if before.endswith(("}", "]")) and found and found in "{[":
        return "a second document; send one, of several events a list: [{…}, …]"
    return ""


def not_text(body: bytes) -> str | None:
    """Return why a body is not UTF-8 as JSON has it; None where it is."""
    if body.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark; send UTF-8 without one"
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in body[:4]:
        return "it is UTF-16 or UTF-32; send UTF-8"
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"byte {wrong.start} is not UTF-8, the text is perhaps Latin-1; send UTF-8"
    return None


SEEN_AROUND = 100  # characters before and behind a mistake: blanks, and what they follow
CURLY_QUOTES = "\u2018\u2019\u201a\u201c\u201d\u201e"
_CONSTANT = re.compile(r"-?(NaN|nan|Inf)")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
