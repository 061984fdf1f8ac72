"""A large list of events, divided without building it: each is then read on its own, between two turns of the loop."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from abside import event
from abside.serve.answer import Refusal
from abside.sidecar.decide.request import kind_of, not_text, parse_json

if TYPE_CHECKING:
    from collections.abc import Generator

SLICED_BYTES = 64 * 1024  # what is smaller takes the loop a few milliseconds at worst, whatever it contains
MAX_COUNTED = 10_000  # events of a list that is too long; how many more there are helps nobody
MAX_EVENT_VALUES = 100_000  # of one event: 64 KiB of packed values are fewer; read at once they take some 10 ms
SHOWN_BYTES = 64 * 1024  # from a mistake on, to name it
Span = tuple[int, int]

# JSON by the letter where it is flat, and an object of such parts: deeper ones are no events, and are looked at apart.
# Every repetition is possessive, so the time is linear in the bytes.
_FLAT = rb'[^{}\[\]"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^{}\[\]"]*+)*+'
_PART = rb"[\[{]" + _FLAT + rb"[\]}]"
_GAP = rb"[ \t\n\r]*+"
_EVENT = re.compile(_GAP + rb"(\{" + _FLAT + rb"(?:" + _PART + _FLAT + rb")*+\})" + _GAP + rb"([,\]])", re.DOTALL)
_BEGINNING = re.compile(_GAP + rb"\[")
_EMPTY = re.compile(_GAP + rb"\[" + _GAP + rb"\]" + _GAP + rb"\Z")
_REST = re.compile(_GAP + rb"\Z")


def divided(body: bytes) -> Generator[None, None, list[Span] | None]:
    """Divide a list into its objects, pausing after each; return None where the body is no list.

    Raises Refusal 413 for more than a request takes, 400 or 422 for what is no list of objects.
    """
    beginning = _BEGINNING.match(body)
    if beginning is None:
        return None
    if _EMPTY.match(body):
        return []
    spans: list[Span] = []
    position, count, more = beginning.end(), 0, True
    while more:
        found = _EVENT.match(body, position)
        if found is None:
            _refuse_element(body, position, count)
        if count < event.MAX_EVENTS_A_REQUEST:
            spans.append(found.span(1))
        elif count >= MAX_COUNTED:
            raise too_many(f"more than {MAX_COUNTED:,}")
        position, count, more = found.end(), count + 1, found[2] == b","
        yield
    if not _REST.match(body, position):
        raise _malformed(body, position, "there is something behind the list")
    if count > event.MAX_EVENTS_A_REQUEST:
        raise too_many(f"{count:,}")
    return spans


def too_many(count: str) -> Refusal:
    """Return the refusal of a list with more events than a request takes."""
    return Refusal(413, "TOO_LARGE", f"{count} events; a request takes at most {event.MAX_EVENTS_A_REQUEST:,}")


def read_one(body: bytes, span: Span, index: int | None, max_nesting: int) -> Any:
    """Read one object of the list. Raises Refusal 400 MALFORMED, 413 for more values than an event has."""
    text = body[span[0] : span[1]]
    if len(text) > SLICED_BYTES and text.count(b",") > MAX_EVENT_VALUES:
        detail = f"it holds more than {MAX_EVENT_VALUES:,} values; an event has at most {event.MAX_EVENT_BYTES:,} bytes"
        raise Refusal(413, "TOO_LARGE", detail, index=index)
    try:
        return parse_json(text, max_nesting)
    except Refusal as refused:
        detail = refused.detail if index is None else f"event {index} of the list: {refused.detail}"
        raise Refusal(refused.status, refused.code, detail, path=refused.path, index=index) from None


def _refuse_element(body: bytes, position: int, index: int) -> NoReturn:
    """Raise the Refusal of an element that is no flat object; its first bytes are enough to name the mistake."""
    shown = body[position : position + SHOWN_BYTES]
    try:
        value, _ = json.JSONDecoder().raw_decode(shown.decode("utf-8", "surrogateescape").lstrip())
    except RecursionError:
        raise Refusal(400, "MALFORMED", f"event {index} is nested deeper than any event", index=index) from None
    except ValueError:
        value = {} if shown.lstrip()[:1] == b"{" and len(shown) == SHOWN_BYTES else None
        if value is None:
            raise _malformed(body, position, f"at event {index} of the list") from None
    if type(value) is not dict:
        detail = f"an event must be an object, not {kind_of(value)}"
        raise Refusal(422, "WRONG_TYPE", detail, index=index) from None
    detail = f"event {index} is not closed, or no flat object: an event has lists and objects of plain values only"
    raise Refusal(422, "WRONG_TYPE", detail, index=index)


def _malformed(body: bytes, position: int, where: str) -> Refusal:
    why = not_text(body) or f"byte {position:,}, {where}"
    return Refusal(400, "MALFORMED", f"the body is not JSON ({why})")
