"""The HTTP upstream: one POST per batch, to our collector or to any receiver that takes a JSON array."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp import hdrs

from abside.upstream.answer import MAX_ANSWER_BYTES, MAX_DETAIL_CHARS, Answer, anyones, believed, unpacked
from abside.upstream.contract import Rejected, Retry
from abside.upstream.encode import best_encoding, compress, json_array
from abside.upstream.verdict import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from multidict import CIMultiDictProxy
    from yarl import URL

    from abside.upstream.contract import Batch, Result
    from abside.upstream.encode import Encoding

Format = Literal["msgpack", "json_array"]
BATCHES_PATH = "v1/batches"
GZIPPED = frozenset({"gzip", "x-gzip"})
CONTENT_TYPES: dict[Format, str] = {"msgpack": "application/msgpack", "json_array": "application/json"}
CONNECT_SECONDS = 5.0  # a receiver in the cluster accepts at once; a longer wait only hides that it is away
ANSWER_SECONDS = 30.0  # our collector groups batches for seconds before it stores and answers


class BearerTokenError(Exception):
    """The bearer token cannot be had at the moment; the sentence says why and never holds the token."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one delivery may take: to connect, and from beginning to end."""

    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS


USUAL = Timeouts()


class HttpUpstream:
    """Posts batches to `url`, one at a time over one kept connection.

    `token` is asked before every delivery, so that a rotated one is used at once (None: no Authorization); it raises
    TokenError. `encoding` None: the best that is installed for msgpack, none for JSON, which few receivers unpack.
    """

    def __init__(
        self,
        url: URL,
        form: Format,
        token: Callable[[], str | None],
        now_us: Callable[[], int],
        *,
        encoding: Encoding | None = None,
        timeouts: Timeouts = USUAL,
    ) -> None:
        self._url = url / BATCHES_PATH if form == "msgpack" else url
        self._format: Format = form
        self.takes_large = form == "msgpack"  # our collector; another's bound may be a proxy's 1 MB
        self._token = token
        self._now_us = now_us
        self._encoding: Encoding = encoding or (best_encoding() if form == "msgpack" else "identity")
        self._timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None

    async def send(self, batch: Batch) -> Result:
        """Deliver one batch and judge the answer: our collector's own by what it says, another's by its status."""
        try:
            body = batch.payload if self._format == "msgpack" else await json_array(batch)
        except (ValueError, TypeError) as exc:
            return Rejected(f"the batch cannot be sent as JSON: {exc}", final=True, some_of_it=True)
        try:
            headers = self._headers(batch)
        except BearerTokenError as exc:
            return Retry(str(exc), loud=True)
        body = await compress(body, self._encoding)
        session = self._session = self._session or self._connect()
        data = BytesIO(body)  # aiohttp writes a file in chunks, and large bytes in one go
        try:
            async with session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
                answer = await self._answer(response)
            return believed(answer, batch) if self._format == "msgpack" else anyones(answer)
        except aiohttp.ClientSSLError as exc:
            return Retry(f"TLS with {self._url.host} failed: {type(exc).__name__}", loud=True)
        except aiohttp.ClientResponseError as exc:  # what it quotes may be a shopper's
            reason = (
                f"what answers at {self._url.host} speaks no HTTP: {type(exc).__name__}; see where --upstream leads"
            )
            return Retry(reason, loud=True)
        except TimeoutError:
            return Retry(f"no answer within {self._timeouts.answer_seconds:g} s", unheard=True)
        except (aiohttp.ClientError, OSError) as exc:
            return Retry(_trouble(exc), unheard=True)

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        """Read what comes after the status, within its bound; what ends early is said, not raised."""
        headers, body, cut = response.headers, b"", False
        try:
            while len(body) <= MAX_ANSWER_BYTES and (chunk := await response.content.read(MAX_ANSWER_BYTES)):
                body += chunk
        except (aiohttp.ClientError, TimeoutError, OSError):
            cut = True
        whole = not cut and len(body) <= MAX_ANSWER_BYTES
        if headers.get(hdrs.CONTENT_ENCODING, "").strip().lower() in GZIPPED:  # unasked: some proxies do
            plain = unpacked(body)
            body, whole = plain or b"", whole and plain is not None
        after = retry_after(headers.get(hdrs.RETRY_AFTER), headers.get(hdrs.DATE), self._now_us())
        return Answer(response.status, _media_type(headers), body, whole, cut, after)

    def _headers(self, batch: Batch) -> dict[str, str]:
        headers = {
            hdrs.CONTENT_TYPE: CONTENT_TYPES[self._format],
            "Idempotency-Key": batch.id,
            "X-Batch-Count": str(batch.count),
        }
        if self._encoding != "identity":
            headers[hdrs.CONTENT_ENCODING] = self._encoding
        token = self._token()
        if token is not None:
            headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
        return headers

    def _connect(self) -> aiohttp.ClientSession:
        timeouts = self._timeouts
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1),
            timeout=aiohttp.ClientTimeout(total=timeouts.answer_seconds, sock_connect=timeouts.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # an answer is never large enough to be worth it, a bomb is
            headers={hdrs.USER_AGENT: "abside", hdrs.ACCEPT_ENCODING: "identity"},
        )


def _media_type(headers: CIMultiDictProxy[str]) -> str:
    return headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _trouble(error: Exception) -> str:
    """Return what the system or aiohttp says; where that quotes what came back, which may be a shopper's, its kind."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no host {error.host}: {error.strerror or 'its name has no address'}"
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.ECONNREFUSED:
        return f"nobody listens at {error.host}:{error.port}"
    if isinstance(error, OSError | aiohttp.ServerDisconnectedError):
        return f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARS]
    return f"{type(error).__name__}: what came back is no whole HTTP answer"
