"""The HTTP upstream: one POST per batch, to our collector or to any receiver that takes a JSON array."""

from __future__ import annotations

import errno
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp import hdrs
from yarl import URL

from abside.upstream.answer import MAX_ANSWER_BYTES, MAX_DETAIL_CHARS, Answer, anyones, believed, unpacked
from abside.upstream.contract import BearerTokenError, Rejected, Retry, UpstreamUrlError
from abside.upstream.encode import best_encoding, compress, json_array
from abside.upstream.verdict import retry_after

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

    from abside.upstream.contract import Batch, Encoding, OpenOptions, Result

# To our collector, which knows batches by their ids and stores a group each second: one batch at a time would be one
# batch a second. Eight grown ones are 16 MiB, what a collector has room for from a dozen sidecars.
IN_FLIGHT = 8
Format = Literal["msgpack", "json_array"]
BATCHES_PATH = "v1/batches"
GZIPPED = frozenset({"gzip", "x-gzip"})
CONTENT_TYPES: dict[Format, str] = {"msgpack": "application/msgpack", "json_array": "application/json"}


def open_http(text: str, options: OpenOptions) -> HttpUpstream:
    """Return the upstream of an `http://` or `https://` URL; nothing is connected before the first batch.

    It is our collector; with `?format=json_array` the URL is used as it is, for any receiver of JSON, its other query
    parameters kept. Raises UpstreamUrlError.
    """
    try:
        url = URL(text)
    except ValueError as exc:
        raise UpstreamUrlError("(unreadable)", str(exc), "write for example http://collector:7700") from exc
    shown = str(url.with_user(None)) if url.absolute and url.host else text.partition("@")[2] or text
    if not url.host:
        raise UpstreamUrlError(shown, "there is no host", "write for example http://collector:7700")
    if url.user is not None or url.password is not None:
        raise UpstreamUrlError(shown, "it holds a name or a password", "put a bearer token into a file")
    form = _format(url, shown)
    if form == "msgpack" and url.path.rstrip("/").endswith(f"/{BATCHES_PATH}"):
        bare = str(url.with_query(None).with_fragment(None)).rstrip("/").removesuffix(BATCHES_PATH).rstrip("/")
        raise UpstreamUrlError(shown, f"it ends in /{BATCHES_PATH}", f"the path is added to it; write {bare}")
    return HttpUpstream(url.without_query_params("format").with_fragment(None), form, options)


def _format(url: URL, shown: str) -> Format:
    given = url.query.getall("format", ["msgpack"])
    for known in CONTENT_TYPES:
        if given == [known]:
            return known
    raise UpstreamUrlError(shown, f"the format {', '.join(given)} is not known", f"write {' or '.join(CONTENT_TYPES)}")


class HttpUpstream:
    """Posts batches to `url`, each in flight over a kept connection of its own.

    Without a chosen encoding, msgpack has the best that is installed, and JSON none: few receivers unpack it.
    """

    def __init__(self, url: URL, form: Format, options: OpenOptions) -> None:
        self._url = url / BATCHES_PATH if form == "msgpack" else url
        self._format: Format = form
        self.takes_large = form == "msgpack"  # our collector; another's bound may be a proxy's 1 MB
        self.in_order = False  # our collector knows every batch by its id
        self.in_flight = IN_FLIGHT if form == "msgpack" else 1  # another may keep the order in which batches come
        self._token = options.token
        self._now_us = options.now_us
        self._encoding: Encoding = options.encoding or (best_encoding() if form == "msgpack" else "identity")
        self._timeouts = options.timeouts
        self._session: aiohttp.ClientSession | None = None

    async def send(self, batch: Batch) -> Result:
        """Deliver one batch and judge the answer: our collector's own by its body, another's by its status."""
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
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        """Read what comes after the status, within its bound; an answer that ends early is `cut`, and no error."""
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
            connector=aiohttp.TCPConnector(limit=self.in_flight),
            timeout=aiohttp.ClientTimeout(total=timeouts.answer_seconds, sock_connect=timeouts.connect_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # an answer is never large enough to be worth it, a bomb is
            headers={hdrs.USER_AGENT: "abside", hdrs.ACCEPT_ENCODING: "identity"},
        )


def _media_type(headers: CIMultiDictProxy[str]) -> str:
    return headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()


def _trouble(error: Exception) -> str:
    """Return the sentence of the error, or its type alone where the sentence may quote a shopper's data."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"there is no host {error.host}: {error.strerror or 'its name has no address'}"
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.ECONNREFUSED:
        return f"nobody listens at {error.host}:{error.port}"
    if isinstance(error, OSError | aiohttp.ServerDisconnectedError):
        return f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARS]
    return f"{type(error).__name__}: what came back is no whole HTTP answer"
