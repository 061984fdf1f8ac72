"""The HTTP upstream: one POST per batch, to our collector or to any receiver that takes a JSON array."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import aiohttp
import orjson
from aiohttp import hdrs

from abside.upstream.contract import Rejected, Retry
from abside.upstream.encode import best_encoding, compress, json_array
from abside.upstream.verdict import retry_after, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from yarl import URL

    from abside.upstream.contract import Batch, Result
    from abside.upstream.encode import Encoding

Format = Literal["msgpack", "json_array"]
BATCHES_PATH = "v1/batches"
CONTENT_TYPES: dict[Format, str] = {"msgpack": "application/msgpack", "json_array": "application/json"}
MAX_ANSWER_BYTES = 16 * 1024  # a problem document; whatever else comes is not read
MAX_DETAIL_CHARS = 300  # a code, a title and a sentence about one field
CONNECT_SECONDS = 5.0  # a receiver in the cluster accepts at once; a longer wait only hides that it is away
ANSWER_SECONDS = 30.0  # our collector groups batches for seconds before it stores and answers


class TokenError(Exception):
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
        """Deliver one batch and read the answer's status; what comes after the status decides nothing."""
        try:
            body = batch.payload if self._format == "msgpack" else await json_array(batch)
        except (ValueError, TypeError) as exc:
            return Rejected(f"the batch cannot be sent as JSON: {exc}", final=True)
        try:
            headers = self._headers(batch)
        except TokenError as exc:
            return Retry(str(exc), loud=True)
        body = await compress(body, self._encoding)
        session = self._session = self._session or self._connect()
        data = BytesIO(body)  # aiohttp writes a file in chunks, and large bytes in one go
        try:
            async with session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
                after = retry_after(
                    response.headers.get(hdrs.RETRY_AFTER), response.headers.get(hdrs.DATE), self._now_us()
                )
                return verdict(response.status, await self._detail(response), after)
        except aiohttp.ClientSSLError as exc:
            return Retry(f"TLS with {self._url.host} failed: {type(exc).__name__}", loud=True)
        except TimeoutError:
            return Retry(f"no answer within {self._timeouts.answer_seconds:g} s")
        except (aiohttp.ClientError, OSError) as exc:
            return Retry(f"{type(exc).__name__}: {exc}"[:MAX_DETAIL_CHARS])

    async def close(self) -> None:
        """Close the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _detail(self, response: aiohttp.ClientResponse) -> str:
        """Give code, title and index of a problem document, from our collector its detail too: it names fields only.

        Any other text, a stranger's detail included, may quote a shopper's event: it goes nowhere.
        """
        body = b""
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            while len(body) < MAX_ANSWER_BYTES and (chunk := await response.content.read(MAX_ANSWER_BYTES)):
                body += chunk
        if response.content_type != "application/problem+json":
            return ""
        try:
            document = orjson.loads(body)
        except ValueError:
            return ""
        return _words(document, ours=self._format == "msgpack")

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
            headers={hdrs.USER_AGENT: "abside"},
        )


def _words(document: object, *, ours: bool) -> str:
    if not isinstance(document, dict):
        return ""
    words = [word for name in ("code", "title") if isinstance(word := document.get(name), str)]
    if type(index := document.get("index")) is int:
        words.append(f"at index {index}")
    if ours and isinstance(detail := document.get("detail"), str):
        words.append(f"({detail})")
    return " ".join(" ".join(words).split())[:MAX_DETAIL_CHARS]
