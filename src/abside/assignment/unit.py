"""The unit: whom an experiment randomises, from the ids a caller sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abside.snapshot import Json, UnitKind

UnitId: TypeAlias = tuple[Literal["user", "session"], str]  # the kind is logged, never hashed

# Ids that callers send for "nobody": hashed, they would put a whole crowd into one arm.
# Lower case: they are compared without regard to it. Source: what JavaScript, Python, Go and analytics SDKs write.
SHARED_IDS = frozenset(
    {
        *("0", "-1", "null", "nil", "none", "nan", "undefined", "true", "false"),
        *("guest", "anonymous", "unknown", "(not set)", "[object object]", "00000000-0000-0000-0000-000000000000"),
    }
)
MAX_UNIT_BYTES = 256  # a UUID has 36, an e-mail address at most 254; what is longer is not an id
SMALLEST_INTEGER = -(2**63)
LARGEST_INTEGER = 2**64 - 1  # what an exact JSON reader returns unchanged; beyond, two ids could become one

NO_FORCE: Mapping[str, str] = {}  # read, never written


class Subject:
    """Who asks, for one placement. Ids are as `parse_unit_id` returns them; a pinned unit is one of the two.

    Not a frozen dataclass, as records are elsewhere: one is made for every request, and that would take three times
    as long. `unit` is what `user_or_session` experiments randomise, and `unit_utf8` its id as it is hashed.
    """

    __slots__ = ("attributes", "force", "pinned", "placement", "session_id", "unit", "unit_utf8", "user_id")

    def __init__(
        self,
        user_id: str | None,
        session_id: str | None,
        attributes: Mapping[str, Json],
        placement: str,
        pinned: UnitId | None = None,
        force: Mapping[str, str] = NO_FORCE,  # experiment → variant, where the caller may ask for it
    ) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self.attributes = attributes
        self.placement = placement
        self.pinned = pinned
        self.force = force
        self.unit: UnitId | None
        if pinned is not None:
            self.unit = pinned
            self.unit_utf8 = pinned[1].encode()
        elif user_id is not None:
            self.unit = ("user", user_id)
            self.unit_utf8 = user_id.encode()
        elif session_id is not None:
            self.unit = ("session", session_id)
            self.unit_utf8 = session_id.encode()
        else:
            self.unit = None
            self.unit_utf8 = b""

    def __repr__(self) -> str:
        return f"Subject({self.user_id!r}, {self.session_id!r}, {self.attributes!r}, {self.placement!r}, …)"


class UnitError(ValueError):
    """An id that cannot be one. It names the kind of value and what is wrong, never the id itself."""

    def __init__(self, value_kind: str, why: str) -> None:
        super().__init__(value_kind, why)
        self.value_kind = value_kind
        self.why = why

    def __str__(self) -> str:
        return f"got {self.value_kind}: {self.why}"


def parse_unit_id(value: object, shared_ids: frozenset[str] = SHARED_IDS) -> str | None:
    """Return the id as text; None when absent: null, "", blanks only or a shared id. An integer becomes decimal text.

    `shared_ids` are in lower case (`str.casefold`); an id is one of them in any case. Nothing is trimmed,
    folded, normalised or truncated. Raises UnitError for every other value.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value
    elif isinstance(value, int) and not isinstance(value, bool):
        if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            raise UnitError("an integer", "an integer id lies between -2^63 and 2^64-1; send larger ones as a string")
        text = str(value)
    else:
        if isinstance(value, float) and abs(value) >= LARGEST_INTEGER // 2:  # what a JSON reader makes of a longer one
            raise UnitError("a number beyond 64 bits", "an integer id has at most 64; send longer ones as a string")
        kind = _KINDS.get(type(value), "another type")
        raise UnitError(kind, "an id is a string or an integer")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        # `from None`: the original carries the id, and would bring it into a log.
        raise UnitError("a string", "it holds a lone surrogate, which no UTF-8 text can hold") from None
    if size > MAX_UNIT_BYTES:
        raise UnitError("a string", f"it has {size} bytes of UTF-8; an id has at most {MAX_UNIT_BYTES}")
    return None if not text or text.isspace() or text.casefold() in shared_ids else text


def nobody(words: Iterable[str]) -> frozenset[str]:
    """Return more shared ids as people list them, each word one or several with commas between, in lower case."""
    return frozenset(one.strip().casefold() for word in words for one in word.split(",")) - {""}


def choose_unit(kind: UnitKind, subject: Subject) -> UnitId | None:
    """Return the unit an experiment of this kind uses for this subject; None when the caller sent none of that kind."""
    if kind == "user_or_session":
        return subject.unit
    if kind == "user":
        return None if subject.user_id is None else ("user", subject.user_id)
    return None if subject.session_id is None else ("session", subject.session_id)


_KINDS: dict[type, str] = {bool: "a boolean", float: "a float", list: "a list", dict: "an object"}
