"""Heads of HTTP messages, as bytes: a request's read strictly and wholly, or not at all; an answer's written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from abside.serve.answer import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.serve.strangers import Hosts

MAX_HEAD_BYTES = 4096  # a client library sends 150 to 400; what is longer is aiohttp's to judge
MAX_LINES = 64  # a client library sends 5 to 10, aiohttp takes twice as many as this
MAX_KNOWN = 512  # heads, and header lines: at most 2 MB of each
_Known = TypeVar("_Known")


@dataclass(slots=True)
class FastRoute:
    """A hot route: a function from body to the body of its good answer, the largest body it takes, the good status.

    `good` counts those answers: a plain integer, since it is raised for every request.
    """

    path: str
    handle: Callable[[bytes], bytes]
    max_body_bytes: int
    status: int
    good: int = 0


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request head that was read strictly and understood wholly, and the head of its good answer."""

    route: FastRoute
    body_bytes: int
    good: bytes


class Field(NamedTuple):
    """One header line, understood: `name` is empty where it changes nothing of framing or answer."""

    name: bytes
    body_bytes: int = 0


class HeadCache:
    """Request heads, read strictly and remembered: the same bytes mean the same thing for ever.

    A client has a handful of heads, one for each length of its bodies, all of them in `known`, which is cleared when it
    is full. One that sends a trace's id has a new head every time, and of that only the lines are known: so lines are
    remembered too, and a head only when none of its lines was new. What is not understood leaves nothing behind.
    """

    def __init__(self, routes: Mapping[bytes, FastRoute], hosts: Hosts | None = None) -> None:
        self._hosts = hosts  # whom a Host line may name; None: anyone
        self.known: dict[bytes, RequestHead] = {}
        self._routes = {
            b"POST %b HTTP/1.1" % path: (route, head_of(Response(route.status, b""))) for path, route in routes.items()
        }
        self._fields: dict[bytes, Field] = {}

    def read(self, head: bytes) -> RequestHead | None:
        """Read a head, blank line included; None for anything not plainly understood."""
        line, *lines = head[:-4].split(b"\r\n")
        found = self._routes.get(line)
        if found is None or len(lines) > MAX_LINES:
            return None
        fields = self._fields
        new: list[tuple[bytes, Field]] = []
        seen: dict[bytes, int] = {}
        for one in lines:
            field = fields.get(one)
            if field is None:
                field = read_field(one)
                if field is None or (field.name == b"host" and not self._may_name(one)):
                    return None
                new.append((one, field))
            if field.name:
                if field.name in seen:
                    return None
                seen[field.name] = field.body_bytes
        route, good = found
        if b"host" not in seen or not 0 <= seen.get(b"content-length", -1) <= route.max_body_bytes:
            return None
        read = RequestHead(route, seen[b"content-length"], good)
        for one, field in new:
            _remember(fields, one, field)
        if not new:
            _remember(self.known, head, read)
        return read

    def _may_name(self, line: bytes) -> bool:
        return self._hosts is None or self._hosts.knows(line.partition(b":")[2].decode())


def read_field(line: bytes) -> Field | None:
    """Read a header line strictly; None for anything not plainly understood. Pure."""
    if not _LINE.match(line):
        return None
    name, _, value = line.partition(b":")
    name = name.lower()
    allowed = _ONLY.get(name)
    if allowed is None:
        return None if name in _MEANINGFUL else _OTHER
    value = value.strip(b" \t")
    if not allowed.match(value):
        return None
    return Field(name, int(value) if name == b"content-length" else 0)


def head_of(answer: Response) -> bytes:
    """Write an answer's head up to the number of its body's bytes."""
    phrase = HTTPStatus(answer.status).phrase
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode()


def end_of_head() -> bytes:
    """Write what follows that number: the date, and the blank line."""
    return b"\r\nDate: " + formatdate(usegmt=True).encode() + b"\r\n\r\n"


_OTHER = Field(b"")
_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e]*\Z")
_ANY = re.compile(rb"")
# Those that may stand once (aiohttp's list, and connection), with what may stand in them.
_ONLY = {
    **dict.fromkeys((b"host", b"user-agent", b"server", b"etag", b"max-forwards"), _ANY),
    **dict.fromkeys((b"content-location", b"content-range"), _ANY),
    b"content-length": re.compile(rb"(0|[1-9][0-9]{0,7})\Z"),
    b"content-type": re.compile(rb"application/json(; ?charset=utf-8)?\Z", re.IGNORECASE),
    b"connection": re.compile(rb"keep-alive\Z", re.IGNORECASE),
    b"sec-fetch-site": re.compile(rb"(same-origin|none)\Z"),
}
# What else changes how a request is framed or answered is aiohttp's; an origin it compares with the host.
_MEANINGFUL = frozenset(
    {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer", b"keep-alive"}
    | {b"proxy-connection", b"http2-settings", b"sec-websocket-key", b"origin"}
)


def _remember(table: dict[bytes, _Known], key: bytes, value: _Known) -> None:
    if len(table) >= MAX_KNOWN:
        table.clear()
    table[key] = value
