"""The HTTP server of every process: bounded, never hung, and every error one problem document.

aiohttp's own protocol does the HTTP. Added are: a deadline for headers and bodies (aiohttp has none: half a body
hangs for ever), bounds on connections and sizes, and RFC 9457 problem documents for everything, aiohttp's own errors
included. Routes are plain functions from (request, body) to a Response.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from abside.log import Log
from abside.serve.address import EVERYWHERE, bind_everywhere, join_address, require_sockets, split_address
from abside.serve.answer import INTERNAL, Refusal, Response, busy, problem
from abside.serve.body import Bodies
from abside.serve.bounds import burst_within
from abside.serve.connection import ServedConnection
from abside.serve.crowd import BURST, Crowd
from abside.serve.handshake import TLS_BURST, Handshakes
from abside.serve.strangers import SHOWN_NAME_CHARS, Hosts, foreign_page, is_loopback, name_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from abside.serve.answer import Route
    from abside.serve.bounds import Bounds

log = Log("abside.serve.listener")
SITE = "Sec-Fetch-Site"
UNREAD_SECONDS = 1.0  # how long the rest of a refused body is read and dropped: cut at once, the answer would be lost
LOOK_SECONDS = 0.01  # between two looks at what is still in flight; also what a request just read needs to begin
SHORTEST_GRACE_SECONDS = 0.1  # aiohttp reads a grace of 0 as one without end
OTHER_PATH = "other"
# The backlog of asyncio's own loop is also how many connections it accepts in one turn. When descriptors run out, each
# of them logs an error with a traceback before older connections can be cut. uvloop accepts all that wait.
ACCEPTS_A_TURN = 32
BACKLOG = 1024  # connections that wait to be accepted: a pool that opens all of its own at once
SHOWN_TYPE_CHARS = 64  # of a content type, in a refusal: no registered one in use is longer than a line
SOCKET_MODE = 0o666  # as open as the loopback port beside it: the pod is the boundary, not the file mode


class Listener(web.Server):
    """One set of routes behind any number of sockets; `open` one or more, `close` once.

    `names` are accepted in Host over loopback, beside this machine's own name and those that nobody can register.
    `refused` makes the answer of a refusal, by the path that was asked for; `written` returns the path of a route that
    this one belongs to, itself where there is none: by these answers are counted.
    """

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, Route]],
        bounds: Bounds,
        names: Iterable[str] = (),
        refused: Callable[[str, Refusal], Response] = lambda _path, refusal: problem(refusal),
        written: Callable[[str], str] = str,
    ) -> None:
        self._options: dict[str, Any] = {
            "keepalive_timeout": bounds.keepalive_seconds,
            "access_log": None,
            "lingering_time": UNREAD_SECONDS,
        }
        super().__init__(self._serve, **self._options)
        self.routes = routes
        self.refused = refused
        self.written = written
        self.bounds = bounds
        self.hosts = Hosts((platform.node(), *names))
        self.crowd = Crowd(bounds.max_connections, burst_within(BURST))
        self.refused_requests = 0  # beyond the bound on requests at once
        self.in_flight = 0
        self.answers: dict[tuple[str, int], int] = {}  # path (one of ours, or "other"), status → how many
        self.retiring = False  # answers close their connection, so that clients keep none that is about to be cut
        self.factory: Callable[[], asyncio.BaseProtocol] = self  # what a new connection starts in
        self.bodies = Bodies(bounds, self.crowd)
        self._servers: list[asyncio.Server] = []
        self._handshakes: list[Handshakes] = []
        self._sockets: list[Path] = []

    @property
    def open_connections(self) -> int:
        """Count the open connections, of the fast path too."""
        return len(self.crowd)

    def __call__(self) -> ServedConnection:
        """Return the protocol of one new connection (asyncio's factory)."""
        return ServedConnection(self, self.crowd, self.bounds, self._count_other, **self._options)

    async def open(self, address: str, tls: ssl.SSLContext | None = None) -> str:
        """Listen on `host:port`, `*:port` (every address, of IPv4 and IPv6) or `unix:PATH`; raises OSError.

        Returns the address with the real port in place of 0.
        """
        loop = asyncio.get_running_loop()
        factory = self.factory
        if tls is not None:
            factory = Handshakes(self.crowd, tls, factory, self.bounds.header_seconds)
            self._handshakes.append(factory)
            self.crowd.burst = min(self.crowd.burst, TLS_BURST)
        at_once = max(1, min(ACCEPTS_A_TURN, self.crowd.burst // 4))  # fewer where descriptors are few
        if address.startswith("unix:"):
            path = Path(address.removeprefix("unix:"))
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_socket():
                path.unlink()  # a killed process leaves its socket behind
            server = await loop.create_unix_server(factory, str(path), backlog=at_once)
            path.chmod(SOCKET_MODE)
            _widen_queue(server)
            self._sockets.append(path)
            self._servers.append(server)
            return address
        host, port = split_address(address)
        if host == EVERYWHERE:
            server = await loop.create_server(factory, sock=bind_everywhere(port), backlog=at_once)
        else:
            server = require_sockets(await loop.create_server(factory, host, port, backlog=at_once), address)
        self._servers.append(server)
        _widen_queue(server)
        return join_address(host, server.sockets[0].getsockname()[1])

    async def stop_accepting(self) -> None:
        """Close the listening sockets; open connections go on."""
        # asyncio makes a connection's transport a turn of the loop after its accept; where its server closes in
        # between, nobody reads from it, and its client waits. So accepting ends first, and what was accepted gets
        # that turn. uvloop needs no such care, and accepts in that turn too.
        loop = asyncio.get_running_loop()
        for server in self._servers:
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        try:
            await asyncio.sleep(0)
        finally:
            for server in self._servers:
                server.close()
            for path in self._sockets:
                path.unlink(missing_ok=True)

    async def close(self, grace_seconds: float) -> None:
        """Stop accepting, let what is in flight finish within `grace_seconds`, then cut what is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_seconds
        self.retiring = True
        await self.stop_accepting()
        # First of all the bodies that are still coming: aiohttp reads none of them once it closes.
        await asyncio.sleep(min(LOOK_SECONDS, grace_seconds))
        while self.in_flight and loop.time() < until:  # noqa: ASYNC110 once in a life; an event would cost each request
            await asyncio.sleep(LOOK_SECONDS)
        for handshakes in self._handshakes:
            handshakes.close()
        self.pre_shutdown()
        self.crowd.closed = True
        await self.shutdown(max(until - loop.time(), SHORTEST_GRACE_SECONDS))

    def count(self, path: str, status: int) -> None:
        """Count an answer. Callers make up paths, so all that are none of ours share one counter."""
        path = self.written(path)
        key = (path if path in self.routes else OTHER_PATH, status)
        self.answers[key] = self.answers.get(key, 0) + 1

    def _count_other(self, answer: Response) -> None:
        self.count(OTHER_PATH, answer.status)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection: ServedConnection = request.protocol  # type: ignore[assignment]
        connection.begin(request)
        self.in_flight += 1
        try:
            return await self._respond(request)
        finally:
            self.in_flight -= 1
            connection.end()

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            answer = await self._answer(request)
        except Refusal as refusal:
            answer = self.refused(request.path, refusal)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as exc:  # noqa: BLE001 the one place that keeps a bug from becoming a traceback on the wire
            log.crash("handler_failed", exc, route=request.method)
            answer = self.refused(request.path, INTERNAL)
        self.count(request.path, answer.status)
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        for name, value in answer.headers:
            response.headers[name] = value
        if self.retiring or self.bounds.one_answer or (request.can_read_body and not request.content.at_eof()):
            response.force_close()  # the rest of a refused body is not worth reading
        return response

    async def _answer(self, request: web.BaseRequest) -> Response:
        self._check_stranger(request)
        methods = self.routes.get(request.path)
        if methods is None:
            raise Refusal(404, "NOT_FOUND", f"nothing is served here; there is {', '.join(sorted(self.routes))}")
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            answer = self.refused(request.path, Refusal(405, "METHOD_NOT_ALLOWED", f"this path takes {allowed}"))
            return Response(answer.status, answer.body, answer.content_type, ((hdrs.ALLOW, allowed),))
        if self.in_flight > self.bounds.max_connections and not route.probe and not self.crowd.relieve():
            self.refused_requests += 1
            raise busy("too many requests at once")
        if route.types and request.headers.get(hdrs.CONTENT_TYPE) and request.content_type not in route.types:
            raise _unsupported(request.content_type, route.types)
        body = await self.bodies.read(request, route.max_body_bytes)
        result = route.handle(request, body)
        return result if isinstance(result, Response) else await result

    def _check_stranger(self, request: web.BaseRequest) -> None:
        """Raise Refusal 403 for a request of another site's page, or by a name that misled a browser."""
        headers = request.headers
        host = headers.get(hdrs.HOST)
        if hdrs.ORIGIN in headers or SITE in headers:
            origins, sites = headers.getall(hdrs.ORIGIN, ()), headers.getall(SITE, ())
            if (header := foreign_page(sites, origins, host, self.hosts)) is not None:
                raise _foreign_page(header)
        if host is not None and not self.hosts.knows(host) and is_loopback(_sockname(request)):
            raise _foreign_name(host)


def _widen_queue(server: asyncio.Server) -> None:
    """Let more connections wait to be accepted than are accepted in one turn."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(BACKLOG)


def _sockname(request: web.BaseRequest) -> object:
    return None if request.transport is None else request.transport.get_extra_info("sockname")


def _foreign_page(header: str) -> Refusal:
    sentence = f"{header} names another site's page, and none may ask here"
    return Refusal(403, "FOREIGN_ORIGIN", f"{sentence}; a service that passes requests on leaves this header out")


def _foreign_name(host: str) -> Refusal:
    name = name_of(host)
    shown = name if name is not None and len(name) <= SHOWN_NAME_CHARS else "another name"
    remedy = "ask by localhost or by an address, or list the name with --allow-name"
    return Refusal(403, "FOREIGN_HOST", f"Host says {shown}, which is no name of this process; {remedy}")


def _unsupported(came: str, taken: frozenset[str]) -> Refusal:
    """Return a refusal that names the type that came: curl sends a form's by itself, which its user may not know."""
    shown = came if len(came) <= SHOWN_TYPE_CHARS and came.isascii() and came.isprintable() else "another type"
    sentence = f"it came as {shown}; add the header Content-Type: {' or '.join(sorted(taken))}"
    return Refusal(415, "UNSUPPORTED_TYPE", sentence)
