"""The event as it is stored: one msgpack map per thing that happened, its bounds, and its ids."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_EVENT_BYTES = 64 * 1024  # an event is a fact, not a document; also the frame's bound
MAX_EVENTS_A_REQUEST = 1_000  # keeps one request's work on the loop under a few milliseconds
MAX_TEXT_BYTES = 256  # ids and names, like unit ids
MAX_ITEMS = 500  # a page of recommendations, with room
MAX_PROPERTIES = 64
MAX_ASSIGNMENTS = 256  # of one exposure: a receiver repeats its row for each, and refuses more
MAX_VALUE = 10**14  # decimal(18,4) holds 14 digits before the point
MAX_COUNT = 2**31 - 1
MAX_INTEGER = 2**64  # what JSON readers return unchanged; beyond, two ids could become one
MAX_SHOWN_CHARS = 64  # of a name that a caller made up, in a refusal
OWN_TYPES: Final = frozenset({"exposure", "config", "account"})  # the sidecar's own: 422 when a caller sends them

EventMap = dict[str, Any]
ErrorCode = Literal["INVALID_EVENT", "WRONG_TYPE", "UNKNOWN_FIELD"]


class EventError(Exception):
    """An event that was refused. `path` names the field; the sentence never repeats a shopper's value.

    `ts_us` is the caller's time where only the two clocks disagree about it.
    """

    def __init__(self, code: ErrorCode, path: str, detail: str, *, ts_us: int | None = None) -> None:
        super().__init__(code, path, detail)
        self.code: ErrorCode = code
        self.path = path
        self.detail = detail
        self.ts_us = ts_us

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.path else self.detail


@dataclass(slots=True)
class EventIds:
    """Ids unique without a system call: a random boot id and a counter."""

    boot: str
    next_utf8: Callable[[], bytes] = field(init=False)  # the next id as an event and an answer contain it

    def __post_init__(self) -> None:
        self.next_utf8 = itertools.chain.from_iterable(_blocks_of_ids(self.boot.encode())).__next__

    def next(self) -> str:
        """Return `<boot>-<n>`, n in base 16."""
        return self.next_utf8().decode()


def _blocks_of_ids(boot: bytes) -> Iterator[Iterator[bytes]]:
    """Yield the ids in blocks that share all but the last two digits: each is then one concatenation, in C.

    All of it is C: a signal handler can neither run in the middle nor end the ids by raising there.
    """
    digits = [b"%02x" % number for number in range(256)]
    first = map((boot + b"-").__add__, [b"%x" % number for number in range(256)])
    heads = map((boot.replace(b"%", b"%%") + b"-%x").__mod__, itertools.count(1))
    return itertools.chain([first], map(map, map(operator.attrgetter("__add__"), heads), itertools.repeat(digits)))


def encode(event: EventMap) -> bytes:
    """Return the frame payload: the event's msgpack map."""
    return msgpack.packb(event)  # type: ignore[no-any-return]


def decode(payload: bytes) -> EventMap:
    """Read one payload. Raises ValueError when it is not one msgpack map."""
    try:
        event = msgpack.unpackb(payload)
    except (msgpack.UnpackException, ValueError) as exc:
        raise ValueError(f"not a msgpack map: {exc!r}") from exc
    if not isinstance(event, dict):
        raise ValueError(f"a msgpack {type(event).__name__}, not a map")  # noqa: TRY004 one error type for one decision
    return event
