"""Heads of HTTP messages, as bytes: a request's read strictly and wholly, or not at all; an answer's written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from abside.serve.answer import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from abside.serve.strangers import Hosts

MAX_HEAD_BYTES = 4096  # a client library sends 150 to 400; what is longer is aiohttp's to judge
MAX_LINES = 64  # a client library sends 5 to 10, aiohttp takes twice as many as this
MAX_KNOWN = 512  # heads, and header lines: at most 2 MB of each
_Known = TypeVar("_Known")


FastAnswer: TypeAlias = "bytes | Response"  # the body of the route's good answer, or a whole answer of another kind


@dataclass(slots=True)
class FastRoute:
    """A hot route: a function from body to answer, the largest body it takes, the status of its good answer.

    A path that ends in a parameter, as `/v1/flags/{key}`, is written so; `handle` then takes the parameter before the
    body. `good` counts the good answers: a plain integer, since it is raised for every request.
    """

    path: str
    handle: Callable[..., FastAnswer]
    max_body_bytes: int
    status: int
    good: int = 0


@dataclass(frozen=True, slots=True)
class FastRoutes:
    """The hot routes, and what must be called after their handlers and before their answers leave."""

    routes: tuple[FastRoute, ...]
    settle: Callable[[], None]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request head that was read strictly and understood wholly, and the head of its good answer."""

    route: FastRoute
    parameter: str  # of the path; "" for a route without one
    body_bytes: int
    good: bytes
    handle: Callable[[bytes], FastAnswer] = field(compare=False)  # the route's, with that parameter


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

    def __init__(self, routes: Iterable[FastRoute], hosts: Hosts | None = None) -> None:
        self._hosts = hosts  # whom a Host line may name; None: anyone
        self.known: dict[bytes, RequestHead] = {}
        self._routes: dict[bytes, tuple[FastRoute, bytes]] = {}  # by request line
        self._prefixes: dict[bytes, tuple[FastRoute, bytes]] = {}  # by request line up to the parameter
        for route in routes:
            prefix, parameter, _ = route.path.partition("{")
            table, line = (self._prefixes, prefix) if parameter else (self._routes, f"{prefix} HTTP/1.1")
            table[f"POST {line}".encode()] = (route, head_of(Response(route.status, b"")))
        self._fields: dict[bytes, Field] = {}

    def read(self, head: bytes) -> RequestHead | None:
        """Read a head, blank line included; None for anything not plainly understood."""
        line, *lines = head[:-4].split(b"\r\n")
        found, parameter = self._routes.get(line), ""
        if found is None:
            found, parameter = self._with_parameter(line)
        if found is None or len(lines) > MAX_LINES:
            return None
        fields = self._fields
        new: list[tuple[bytes, Field]] = []
        seen: dict[bytes, int] = {}
        for one in lines:
            known = fields.get(one)
            if known is None:
                known = read_field(one)
                if known is None or (known.name == b"host" and not self._may_name(one)):
                    return None
                new.append((one, known))
            if known.name:
                if known.name in seen:
                    return None
                seen[known.name] = known.body_bytes
        route, good = found
        if b"host" not in seen or not 0 <= seen.get(b"content-length", -1) <= route.max_body_bytes:
            return None
        handle = partial(route.handle, parameter) if parameter else route.handle
        read = RequestHead(route, parameter, seen[b"content-length"], good, handle)
        for one, known in new:
            _remember(fields, one, known)
        if not new:
            _remember(self.known, head, read)
        return read

    def _with_parameter(self, line: bytes) -> tuple[tuple[FastRoute, bytes] | None, str]:
        path = _PARAMETER.match(line)
        return (None, "") if path is None else (self._prefixes.get(path[1]), path[2].decode())

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
# A parameter as ids of documents are; one that is escaped, or that a URL library might normalise, is aiohttp's.
_PARAMETER = re.compile(rb"(POST /(?:[^ ?#/]+/)+)([0-9A-Za-z][0-9A-Za-z._~-]{0,63}) HTTP/1\.1\Z")
_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e]*\Z")
_ANY = re.compile(rb"")
# Those that may occur once (aiohttp's list, and connection), with the values they may have.
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
