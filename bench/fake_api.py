"""A Kubernetes API server of ConfigMaps and nothing else: list and watch over real HTTP(S), with all that can go wrong.

It runs in a thread of its own and is controlled from any other. The protocol's source:
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path

NAMESPACE = "recs"
NAME = "abside-paused"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SELECTOR = "metadata.name="
TOKEN = "token-1"  # noqa: S105 of a server that exists for a second
FORBIDDEN = 'configmaps "{}" is forbidden'


def status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


@dataclass
class FakeApi:
    """The objects of the server, its present behaviour, and the requests it got."""

    tls: ssl.SSLContext | None = None
    names: tuple[str, ...] = (NAME,)  # those that the Role names
    maps: dict[str, dict[str, str | bytes]] = field(default_factory=dict)  # those that exist; bytes are binaryData
    token: str = TOKEN
    fails: int = 0  # a status to answer with, whatever is asked
    retry_after: str = ""  # what a refusal asks for
    elsewhere: str = ""  # where everything is redirected to
    ends_at_once: bool = False  # watches are ended as soon as they are open
    padding: int = 0  # bytes of metadata in each list
    is_mute: bool = False  # a refusal's body is promised and never sent
    slow: float = 0.0  # seconds before any answer
    before_watch: Callable[[], object] = lambda: None  # is called when one is asked for, before it begins
    is_deaf: bool = False  # watches stay open and get no event: a connection that died unnoticed
    lists: int = 0
    watches: list[dict[str, str]] = field(default_factory=list)  # their queries
    tokens: list[str] = field(default_factory=list)
    version: int = 1
    forgotten: int = 0  # versions up to here are too old to go on from
    port: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: dict[web.StreamResponse, str] = {}  # the open watches, and of which object
        self._history: list[tuple[int, str, bytes]] = []
        self._runner: web.AppRunner | None = None
        with socket.create_server(("127.0.0.1", self.port)) as free:
            self.port = free.getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-api", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._open)

    @property
    def data(self) -> dict[str, str | bytes] | None:
        """The data of the first ConfigMap; None: it does not exist."""
        return self.maps.get(self.names[0])

    @data.setter
    def data(self, data: Mapping[str, str | bytes] | None) -> None:
        self.set(self.names[0], data)

    def set(self, name: str, data: Mapping[str, str | bytes] | None) -> None:
        """Change a ConfigMap, or delete it with None, without an event."""
        self.maps.pop(name, None)
        if data is not None:
            self.maps[name] = dict(data)

    def credentials(self, folder: Path, authority: bytes = b"") -> Path:
        """Write what Kubernetes mounts for a service account."""
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(self.token)
        (folder / "namespace").write_text(NAMESPACE)
        (folder / "ca.crt").write_bytes(authority)
        return folder

    def start(self) -> FakeApi:
        """Listen."""
        self._in_loop(self._start)
        return self

    def stop(self) -> None:
        """Be away: close the port and cut every connection."""
        self._in_loop(self._stop)

    def end(self) -> None:
        """Stop for good."""
        self.stop()
        self._in_loop(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Cut every watch in the middle of a line."""
        self._in_loop(self._cut)

    def put(self, data: Mapping[str, str | bytes] | None, name: str = "") -> None:
        """Change a ConfigMap (the first if none is named), or delete it with None."""
        name = name or self.names[0]

        async def change() -> None:
            kind = "DELETED" if data is None else "MODIFIED" if name in self.maps else "ADDED"
            self.set(name, data)
            self.version += 1
            self._history.append((self.version, name, self._event(kind, self._object(name))))
            if not self.is_deaf:
                await self._send(self._history[-1][2], name)

        self._in_loop(change)

    def bookmark(self) -> None:
        """Send every watch the newest version, which comes from a change of another object."""

        async def send() -> None:
            self.version += 1
            content = {"kind": "ConfigMap", "metadata": {"resourceVersion": str(self.version)}}
            await self._send(self._event("BOOKMARK", content))

        self._in_loop(send)

    def expire(self) -> None:
        """Forget all versions, and report that to every watch inside its 200."""

        async def send() -> None:
            self.version += 1
            self.forgotten = self.version - 1
            await self._send(self._event("ERROR", status(410, "too old resource version")))
            await self._cut(whole=True)

        self._in_loop(send)

    def say(self, text: bytes) -> None:
        """Send any line at all to every watch."""
        self._in_loop(lambda: self._send(text))

    def _in_loop(self, work: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        await web.SockSite(self._runner, self._listening, ssl_context=self.tls, backlog=2048).start()

    async def _stop(self) -> None:
        await self._cut(whole=True)
        if self._runner is not None:
            # As `Listener.stop_accepting`: accepted connections get the turn in which their transport is made.
            self._loop.remove_reader(self._listening)
            await asyncio.sleep(0)
            await self._runner.cleanup()
            self._runner = None

    async def _end(self) -> None:
        loop: Any = self._loop
        until = loop.time() + 5.0
        while loop.time() < until:  # each watch looks every second whether it is still wanted
            left = [one for one in list(loop._transports.values()) if one._sock is not None]  # noqa: SLF001 no list of them
            if not left and len(asyncio.all_tasks()) == 1:
                break
            for one in left:
                one.abort()
            await asyncio.sleep(0.01)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.slow)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        if self.elsewhere:
            raise web.HTTPTemporaryRedirect(self.elsewhere + str(request.rel_url))
        if token != self.token:
            return web.json_response(status(401, "Unauthorized"), status=401)
        name = request.query.get("fieldSelector", "").removeprefix(SELECTOR)
        code = 403 if name not in self.names else self.fails
        if code and self.is_mute:
            return await self._promise(request, code)
        if code:
            asked = {"Retry-After": self.retry_after} if self.retry_after else None
            return web.json_response(status(code, FORBIDDEN.format(name)), status=code, headers=asked)
        if request.query.get("watch") != "1":
            self.lists += 1
            items = [self._object(name)] if name in self.maps else []
            metadata = {"resourceVersion": str(self.version), "padding": "x" * self.padding}
            return web.json_response(
                {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": items}
            )
        return await self._watch(request, name)

    async def _promise(self, request: web.Request, code: int) -> web.StreamResponse:
        response = web.StreamResponse(status=code, headers={"Content-Length": "100"})
        await response.prepare(request)
        for _ in range(600):  # 30 s, longer than any test waits
            await asyncio.sleep(0.05)
            if request.transport is None or not self.is_mute:
                break
        return response

    async def _watch(self, request: web.Request, name: str) -> web.StreamResponse:
        query = dict(request.query)
        self.watches.append(query)
        self.before_watch()
        since = int(query["resourceVersion"])
        if since < self.forgotten:
            return web.json_response(status(410, "too old resource version"), status=410)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for version, of, line in self._history:
            if version > since and of == name and not self.is_deaf:
                await response.write(line)
        if self.ends_at_once:
            return response
        self._open[response] = name
        try:
            for _ in range(int(query["timeoutSeconds"]) * 20):
                await asyncio.sleep(0.05 if len(self._open) < 100 else 1.0)
                if request.transport is None or response not in self._open:
                    break
        finally:
            self._open.pop(response, None)
        return response

    async def _send(self, line: bytes, name: str = "") -> None:
        for response, of in tuple(self._open.items()):
            with suppress(ConnectionError):
                if not name or of == name:
                    await response.write(line)

    async def _cut(self, *, whole: bool = False) -> None:
        for response in tuple(self._open):
            with suppress(ConnectionError):
                await response.write(b"" if whole else b'{"type": "MODIFIED", "obj')
            self._open.pop(response, None)
            transport = response._req.transport if response._req else None  # noqa: SLF001 there is no other way to it
            if transport is not None:
                transport.close()

    def _object(self, name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": NAMESPACE, "resourceVersion": str(self.version)}
        content: dict[str, Any] = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {}}
        for key, value in self.maps.get(name, {}).items():
            if isinstance(value, bytes):
                content.setdefault("binaryData", {})[key] = base64.b64encode(value).decode()
            else:
                content["data"][key] = value
        return content

    @staticmethod
    def _event(kind: str, content: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "object": content}).encode() + b"\n"
