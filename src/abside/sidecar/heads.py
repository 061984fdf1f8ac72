"""Heads of HTTP messages, as bytes: a request's read strictly and wholly, or not at all; an answer's written. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from abside.serve import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


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
class Head:
    """A request head that was read strictly and understood wholly, and the head of its good answer."""

    route: FastRoute
    body_bytes: int
    good: bytes


def read_head(head: bytes, routes: Mapping[bytes, FastRoute]) -> Head | None:
    """Read a request head strictly, blank line included; None for anything not plainly understood. Pure."""
    line, *fields = head[:-4].split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or parts[0] != b"POST" or parts[2] != b"HTTP/1.1" or parts[1] not in routes:
        return None
    route = routes[parts[1]]
    seen: dict[bytes, bytes] = {}
    for one in fields:
        name, colon, value = one.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if not colon or not _TOKEN.match(name) or not _VALUE.match(value):
            return None
        if name in seen and name in _SINGLE:
            return None
        seen[name] = value
    length = seen.get(b"content-length", b"")
    if b"host" not in seen or not _LENGTH.match(length) or int(length) > route.max_body_bytes:
        return None
    if not _JSON.match(seen.get(b"content-type", b"application/json")):
        return None
    if seen.get(b"connection", b"keep-alive").lower() != b"keep-alive" or (seen.keys() & _MEANINGFUL) - {b"connection"}:
        return None
    return Head(route, int(length), head_of(Answer(route.status, b"")))


def head_of(answer: Answer) -> bytes:
    """Write an answer's head up to the number of its body's bytes."""
    phrase = HTTPStatus(answer.status).phrase
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Type: {answer.content_type}"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode()


def end_of_head() -> bytes:
    """Write what follows that number: the date, and the blank line."""
    return b"\r\nDate: " + formatdate(usegmt=True).encode() + b"\r\n\r\n"


_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e]*\Z")
_LENGTH = re.compile(rb"(0|[1-9][0-9]{0,7})\Z")
_JSON = re.compile(rb"application/json(; ?charset=utf-8)?\Z", re.IGNORECASE)
# What changes how a request is framed or answered: understood here only as written below, else aiohttp's.
_MEANINGFUL = frozenset(
    {b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"connection", b"te", b"trailer", b"keep-alive"}
    | {b"proxy-connection", b"http2-settings", b"sec-websocket-key"}
)
_SINGLE = frozenset({b"host", b"content-length", b"content-type", b"connection"})
