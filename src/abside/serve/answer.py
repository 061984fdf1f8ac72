"""What handlers return or raise: a response, or a refusal, which becomes one RFC 9457 problem document."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

JSON = "application/json"
NO_MEMBERS: Mapping[str, str] = MappingProxyType({})
PROBLEM = "application/problem+json"


class Response(NamedTuple):
    """Status, body and, rarely, further headers. A tuple, because one is made for every request."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):  # noqa: N818 it is an answer, not a fault
    """A request that is refused. It becomes a problem document; `detail` never repeats a shopper's value."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        path: str | None = None,
        index: int | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.path = path
        self.index = index
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"


INTERNAL = Refusal(500, "INTERNAL", "the request could not be served; the reason is in the log")


UNPACKABLE = Refusal(
    415, "UNSUPPORTED_ENCODING", "the body's Content-Encoding cannot be undone here; send gzip, deflate or none"
)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `max_body_bytes` 0 takes no body; `types` empty takes any content type.

    `probe`: it is also answered beyond the bound on requests at once, so it must not wait for anything.
    """

    handle: Callable[[web.BaseRequest, bytes], Response | Awaitable[Response]]
    max_body_bytes: int = 0
    types: frozenset[str] = field(default=frozenset())
    probe: bool = False


def problem(refusal: Refusal, members: Mapping[str, str] = NO_MEMBERS) -> Response:
    """Return a refusal's RFC 9457 document: the one place where errors become responses.

    `members` are those that only one route adds.
    """
    document: dict[str, Any] = {
        **members,
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code,
    }
    if refusal.path is not None:
        document["path"] = refusal.path
    if refusal.index is not None:
        document["index"] = refusal.index
    headers: tuple[tuple[str, str], ...] = ()
    if refusal.retry_after_seconds is not None:
        headers = (("Retry-After", str(refusal.retry_after_seconds)),)
    return Response(refusal.status, orjson.dumps(document), PROBLEM, headers)


def busy(detail: str) -> Refusal:
    """Return the 503 for a request that may succeed a second later."""
    return Refusal(503, "BUSY", detail, retry_after_seconds=1)
