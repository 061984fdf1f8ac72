"""Asks the Kubernetes API for one ConfigMap, as the pod's service account, within bounds of time and size."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp
import orjson

from abside.files import read_regular
from abside_agent.watch.config_map import MAX_ANSWER_BYTES, ExpiredError, GarbageError, RefusedError, message_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MAX_CREDENTIAL_BYTES = 2**20  # a token has 1 KiB, a bundle of authorities at most some hundred
MAX_REFUSAL_BYTES = 4096  # a Status is a sentence and its frame


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and the directory with `token`, `ca.crt` and `namespace`, as Kubernetes mounts it."""

    url: str
    credentials: Path

    def read(self, name: str) -> str:
        """Read one of the three. Raises OSError, ValueError."""
        return read_regular(self.credentials / name, MAX_CREDENTIAL_BYTES).decode("ascii").strip()

    @asynccontextmanager
    async def connect(self, token: str, name: str, *, answer: float, silence: float) -> AsyncIterator[WatchQuery]:
        """Give what asks for ConfigMap `name`; its connections end with it. Raises OSError, ValueError."""
        namespace = self.read("namespace")
        connector = aiohttp.TCPConnector(ssl=self._trust() if self.url.startswith("https:") else True)
        timeout = aiohttp.ClientTimeout(sock_connect=answer, sock_read=silence)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            url = f"{self.url.rstrip('/')}/api/v1/namespaces/{namespace}/configmaps"
            yield WatchQuery(session, url, name, answer)

    def _trust(self) -> ssl.SSLContext:
        """Trust the cluster's authority and no other; the default context would take the system's for an empty file."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=self.read("ca.crt"))
        except ValueError as exc:  # an empty file, or bytes that are no text
            raise ValueError(f"{self.credentials / 'ca.crt'} holds no authority to trust: {exc}") from exc
        except ssl.SSLError as exc:
            raise ValueError(f"{self.credentials / 'ca.crt'} holds no authority to trust: {exc.reason}") from exc
        # Python 3.13 began to ask of an authority what those of older clusters do not have (a key identifier), and to
        # take one that another has signed, as the API's own clients do.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """Lists and watches one ConfigMap; `answer` seconds for the head of an answer, and for a whole list."""

    session: aiohttp.ClientSession
    url: str
    name: str
    answer: float

    async def list(self) -> bytes:
        """Give the newest the cluster has agreed on: no resourceVersion is a quorum read."""
        async with asyncio.timeout(self.answer), self._get({}) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise GarbageError(f"more than {MAX_ANSWER_BYTES} bytes")
            return bytes(body)

    @asynccontextmanager
    async def watch(self, version: str, seconds: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a watch from a version on, which the API ends after so many seconds."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": f"{seconds:.0f}",
        }
        async with self._get(query) as response:
            yield response

    @asynccontextmanager
    async def _get(self, query: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for this name alone: the Role allows no more. Raises RefusedError, ExpiredError, aiohttp.ClientError."""
        params = {"fieldSelector": f"metadata.name={self.name}", **query}
        until = asyncio.get_running_loop().time() + self.answer
        async with asyncio.timeout_at(until):
            response = await self.session.get(self.url, params=params, allow_redirects=False)
        async with response:
            if response.status == HTTPStatus.GONE:
                raise ExpiredError
            if response.status != HTTPStatus.OK:
                raise await _refusal(response, until)
            yield response


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield whole lines; what a cut connection leaves of one is dropped. Raises GarbageError beyond the bound."""
    left = bytearray()
    async for part in response.content.iter_any():
        left += part
        if b"\n" in part:
            *whole, left = left.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line)
        if len(left) > MAX_ANSWER_BYTES:
            raise GarbageError(f"a line of more than {MAX_ANSWER_BYTES} bytes")


async def _refusal(response: aiohttp.ClientResponse, until: float) -> RefusedError:
    """Read why; a refusal is one also when its body is late, cut or no Status."""
    try:
        async with asyncio.timeout_at(until):
            message = message_of(orjson.loads(await response.content.read(MAX_REFUSAL_BYTES)))
    except (TimeoutError, aiohttp.ClientError, orjson.JSONDecodeError):
        message = response.reason or "no reason given"
    asked = response.headers.get("Retry-After", "")
    return RefusedError(response.status, message, float(asked) if asked.isdecimal() and asked.isascii() else 0.0)
