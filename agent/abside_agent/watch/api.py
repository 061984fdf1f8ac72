"""Requests an object, mostly a ConfigMap, from the Kubernetes API as the pod's service account, with bounds."""

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

MAX_CREDENTIAL_BYTES = 2**20  # a token has 1 KiB, a bundle of authorities a few hundred at most
MAX_REFUSAL_BYTES = 4096  # a Status is one sentence in a small object
CONFIG_MAPS, DEPLOYMENTS = ("api/v1", "configmaps"), ("apis/apps/v1", "deployments")


@dataclass(frozen=True, slots=True)
class Access:
    """The address of the API, and the directory with `token`, `ca.crt` and `namespace` that Kubernetes mounts."""

    url: str
    credentials: Path

    def read(self, name: str) -> str:
        """Read one of the three files. Raises OSError, ValueError."""
        return read_regular(self.credentials / name, MAX_CREDENTIAL_BYTES).decode("ascii").strip()

    @asynccontextmanager
    async def connect(
        self,
        token: str,
        name: str,
        *,
        answer: float,
        silence: float,
        namespace: str = "",
        collection: tuple[str, str] = CONFIG_MAPS,
    ) -> AsyncIterator[WatchQuery]:
        """Yield a query for the object `name` whose connections end with the context. Raises OSError, ValueError.

        `namespace`: empty for that of the pod.
        """
        namespace = namespace or self.read("namespace")
        connector = aiohttp.TCPConnector(ssl=self._trust() if self.url.startswith("https:") else True)
        timeout = aiohttp.ClientTimeout(sock_connect=answer, sock_read=silence)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
            group, resource = collection
            url = f"{self.url.rstrip('/')}/{group}/namespaces/{namespace}/{resource}"
            yield WatchQuery(session, url, name, answer)

    def _trust(self) -> ssl.SSLContext:
        """Return a context that trusts the cluster's authority only; an empty file must not mean the system's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=self.read("ca.crt"))
        except ValueError as exc:  # an empty file, or bytes that are no text
            raise ValueError(f"{self.credentials / 'ca.crt'} holds no authority to trust: {exc}") from exc
        except ssl.SSLError as exc:
            raise ValueError(f"{self.credentials / 'ca.crt'} holds no authority to trust: {exc.reason}") from exc
        # Since Python 3.13 an authority needs a key identifier, which older clusters lack, and may be signed by another
        # one. Kubernetes' own clients do not need the first and accept the second.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """Lists and watches one object. `answer`: seconds for the head of a response, and for a whole list."""

    session: aiohttp.ClientSession
    url: str
    name: str
    answer: float

    async def list(self) -> bytes:
        """Return the newest state: a list without resourceVersion is a quorum read."""
        async with asyncio.timeout(self.answer), self._get({}) as response:
            body = bytearray()
            async for part in response.content.iter_any():
                body += part
                if len(body) > MAX_ANSWER_BYTES:
                    raise GarbageError(f"more than {MAX_ANSWER_BYTES} bytes")
            return bytes(body)

    @asynccontextmanager
    async def watch(self, version: str, seconds: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a watch that begins after a version and that the API ends after so many seconds."""
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
        """Request this name only, as the Role allows. Raises RefusedError, ExpiredError, aiohttp.ClientError."""
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
    """Yield complete lines; an incomplete last line is dropped. Raises GarbageError beyond the bound."""
    rest = bytearray()
    async for part in response.content.iter_any():
        rest += part
        if b"\n" in part:
            *whole, rest = rest.split(b"\n")
            for line in whole:
                if line.strip():
                    yield bytes(line)
        if len(rest) > MAX_ANSWER_BYTES:
            raise GarbageError(f"a line of more than {MAX_ANSWER_BYTES} bytes")


async def _refusal(response: aiohttp.ClientResponse, until: float) -> RefusedError:
    """Return the refusal with its reason; its body may be late, cut or no Status."""
    try:
        async with asyncio.timeout_at(until):
            message = message_of(orjson.loads(await response.content.read(MAX_REFUSAL_BYTES)))
    except (TimeoutError, aiohttp.ClientError, orjson.JSONDecodeError):
        message = response.reason or "no reason given"
    asked = response.headers.get("Retry-After", "")
    return RefusedError(response.status, message, float(asked) if asked.isdecimal() and asked.isascii() else 0.0)
