"""HTTP at the door, for every process that listens: bounded, never hung, and every error one problem document.

aiohttp's own protocol does the HTTP. What is added: a deadline for headers and bodies (aiohttp has none: half a body
hangs for ever), bounds on connections and sizes, and RFC 9457 problem documents for everything, aiohttp's own errors
included. Routes are plain functions from (request, body) to an Answer.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from aiohttp import HttpVersion11, hdrs, web

from abside.environ import burst_within
from abside.log import Log
from abside.serve.crowd import BURST, Crowd, Wait
from abside.serve.handshake import TLS_BURST, Handshakes
from abside.serve.strangers import SHOWN_NAME_CHARS, Hosts, foreign_page, is_loopback, name_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Mapping

log = Log("abside.serve.listener")
SITE = "Sec-Fetch-Site"
JSON = "application/json"
PROBLEM = "application/problem+json"
UNREAD_SECONDS = 1.0  # how long the rest of a refused body is thrown away: cut at once, the answer would be lost
LOOK_SECONDS = 0.01  # between two looks at what is still in flight; also what a request just read needs to begin
SHORTEST_GRACE_SECONDS = 0.1  # aiohttp takes a grace of 0 for one without end
OTHER_PATH = "other"
# Of asyncio's own loop, to which it is also how many it accepts in one go: with descriptors at their end, each of them
# would be an error with a traceback, and none would know yet that others give way. uvloop takes all that wait.
ACCEPTS_A_TURN = 32
BACKLOG = 1024  # connections that wait to be accepted: a pool that opens all of its own at once
SHOWN_TYPE_CHARS = 64  # of a content type, in a refusal: no registered one in use is longer than a line
SOCKET_MODE = 0o666  # as open as the loopback port it stands beside: the pod is the boundary, not the file mode


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a listener will put up with; each is a setting of its process."""

    max_connections: int = 1024  # a descriptor and ~50 KB each: 50 MB at worst; also requests at once
    header_seconds: float = 10.0  # a client on the same machine sends its headers at once
    body_seconds: float = 10.0
    keepalive_seconds: float = 75.0  # longer than clients keep idle connections, so that they close, not we
    max_held_bytes: int = 64 * 2**20  # of bodies that are not complete, all together: half of what a pod has to spare
    one_answer: bool = False  # each connection gets one: where strangers may ask, nobody queues up by pipelining


class Response(NamedTuple):
    """What goes back: status, body and, rarely, further headers. A tuple, as one is made for every request."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):  # noqa: N818 it is an answer, not a fault
    """A request that is refused. Becomes a problem document; `detail` never repeats a shopper's value."""

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


INTERNAL = Refusal(500, "INTERNAL", "the request could not be served; the reason stands in the log")


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `max_body_bytes` 0 takes no body; `types` empty takes any content type.

    `probe`: answered also beyond the bound on requests at once; it must not wait for anything.
    """

    handle: Callable[[web.BaseRequest, bytes], Response | Awaitable[Response]]
    max_body_bytes: int = 0
    types: frozenset[str] = field(default=frozenset())
    probe: bool = False


def problem(refusal: Refusal) -> Response:
    """Turn a refusal into its RFC 9457 document: the one place where errors become responses."""
    document: dict[str, Any] = {
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
        headers = ((hdrs.RETRY_AFTER, str(refusal.retry_after_seconds)),)
    return Response(refusal.status, orjson.dumps(document), PROBLEM, headers)


class Listener(web.Server):
    """One set of routes behind any number of sockets; `open` one or more, `close` once.

    `names` are those it may be asked by over loopback, beside this machine's own and what nobody can register.
    """

    def __init__(self, routes: Mapping[str, Mapping[str, Route]], bounds: Bounds, names: Iterable[str] = ()) -> None:
        self._options: dict[str, Any] = {
            "keepalive_timeout": bounds.keepalive_seconds,
            "access_log": None,
            "lingering_time": UNREAD_SECONDS,
        }
        super().__init__(self._serve, **self._options)
        self.routes = routes
        self.bounds = bounds
        self.hosts = Hosts((platform.node(), *names))
        self.crowd = Crowd(bounds.max_connections, burst_within(BURST))
        self.refused_requests = 0  # beyond the bound on requests at once
        self.held_bytes = 0  # of bodies that are still coming
        self.in_flight = 0
        self.answers: dict[tuple[str, int], int] = {}  # path (one of ours, or "other"), status → how many
        self.retiring = False  # answers close their connection, so that clients keep none that is about to be cut
        self.closed = False  # a connection that still comes, out of a long handshake, is closed at once
        self.factory: Callable[[], asyncio.BaseProtocol] = self  # what a new connection starts in
        self._servers: list[asyncio.Server] = []
        self._handshakes: list[Handshakes] = []
        self._sockets: list[Path] = []

    @property
    def open_connections(self) -> int:
        """Count the open connections, of the fast path too."""
        return len(self.crowd)

    def __call__(self) -> ServedConnection:
        """Give the protocol of one new connection (asyncio's factory)."""
        return ServedConnection(self, **self._options)

    async def open(self, address: str, tls: ssl.SSLContext | None = None) -> str:
        """Listen on `host:port` or `unix:PATH`; give it as bound (port 0 becomes a real one). Raises OSError."""
        loop = asyncio.get_running_loop()
        factory = self.factory
        if tls is not None:
            factory = Handshakes(self.crowd, tls, factory, self.bounds.header_seconds)
            self._handshakes.append(factory)
            self.crowd.burst = min(self.crowd.burst, TLS_BURST)
        at_once = max(1, min(ACCEPTS_A_TURN, self.crowd.burst // 4))  # few, where descriptors are few
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
        server = await loop.create_server(factory, host, port, backlog=at_once)
        self._servers.append(server)
        _widen_queue(server)
        bound = server.sockets[0].getsockname()
        return f"{host}:{bound[1]}"

    async def stop_accepting(self) -> None:
        """Close the listening sockets; open connections go on."""
        # asyncio gives a connection its transport a turn of the loop after its accept; where its server closes in
        # between, it stays open and unheard, and its client waits. So accepting ends first, and what was accepted gets
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
        # First of all the bodies that are still coming: told to close, aiohttp hears no more of them.
        await asyncio.sleep(min(LOOK_SECONDS, grace_seconds))
        while self.in_flight and loop.time() < until:  # noqa: ASYNC110 once in a life; an event would cost each request
            await asyncio.sleep(LOOK_SECONDS)
        for handshakes in self._handshakes:
            handshakes.close()
        self.pre_shutdown()
        self.closed = True
        await self.shutdown(max(until - loop.time(), SHORTEST_GRACE_SECONDS))

    def count(self, path: str, status: int) -> None:
        """Count an answer. Callers make up paths: those that are none of ours are one."""
        key = (path if path in self.routes else OTHER_PATH, status)
        self.answers[key] = self.answers.get(key, 0) + 1

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
            answer = problem(refusal)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as exc:  # noqa: BLE001 the one place that keeps a bug from becoming a traceback on the wire
            log.crash("handler_failed", exc, route=request.method)
            answer = problem(INTERNAL)
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
            answer = problem(Refusal(405, "METHOD_NOT_ALLOWED", f"this path takes {allowed}"))
            return Response(answer.status, answer.body, answer.content_type, ((hdrs.ALLOW, allowed),))
        if self.in_flight > self.bounds.max_connections and not route.probe and not self.crowd.relieve():
            self.refused_requests += 1
            raise _busy("too many requests at once")
        if route.types and request.headers.get(hdrs.CONTENT_TYPE) and request.content_type not in route.types:
            raise _unsupported(request.content_type, route.types)
        body = await self._body(request, route.max_body_bytes)
        result = route.handle(request, body)
        return result if isinstance(result, Response) else await result

    def _check_stranger(self, request: web.BaseRequest) -> None:
        """Raise Refusal 403 for what a page of another site sends, or a browser that was misled by a name."""
        headers = request.headers
        host = headers.get(hdrs.HOST)
        if hdrs.ORIGIN in headers or SITE in headers:
            origins, sites = headers.getall(hdrs.ORIGIN, ()), headers.getall(SITE, ())
            if (header := foreign_page(sites, origins, host, self.hosts)) is not None:
                raise _foreign_page(header)
        if host is not None and not self.hosts.knows(host) and is_loopback(_sockname(request)):
            raise _foreign_name(host)

    async def _body(self, request: web.BaseRequest, max_bytes: int) -> bytes:
        """Read a body up to its bound and deadline."""
        if max_bytes == 0:
            return b""
        if (request.content_length or 0) > max_bytes:
            raise _too_large(max_bytes)
        await _continue(request)
        chunks: list[bytes] = []
        total = 0
        try:
            async with asyncio.timeout(self.bounds.body_seconds):
                async for chunk in request.content.iter_any():
                    total += len(chunk)
                    self.held_bytes += len(chunk)
                    if total > max_bytes:
                        raise _too_large(max_bytes)
                    if self.held_bytes > self.bounds.max_held_bytes and not self.crowd.relieve():
                        raise _busy("too many large bodies are coming in at once")
                    chunks.append(chunk)
        except TimeoutError as exc:
            sentence = f"the body did not arrive within {self.bounds.body_seconds:g} s"
            raise Refusal(408, "TIMEOUT", sentence) from exc
        except web.RequestPayloadError as exc:
            raise Refusal(400, "MALFORMED", "the body does not decode as its headers say") from exc
        finally:
            self.held_bytes -= total
        return b"".join(chunks)


class ServedConnection(web.RequestHandler):
    """One connection: bounded in number, with a deadline for its first request, errors as problem documents."""

    __slots__ = ("_deadline", "_listener", "_request", "_served", "_since", "_unread")

    def __init__(self, listener: Listener, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(listener, loop=loop, **options)
        self._listener = listener
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None  # the look at whether an answer is being read
        self._request: web.BaseRequest | None = None  # the one that is being answered
        self._served = False
        self._since = loop.time()  # of its beginning; or since the last answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in: others give way where there are too many."""
        listener = self._listener
        super().connection_made(transport)
        listener.crowd.enter(self)
        if listener.closed:
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(listener.bounds.header_seconds, self._close_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take it out."""
        self._listener.crowd.leave(self)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def begin(self, request: web.BaseRequest) -> None:
        """Note that a request is worked on."""
        self._served = True
        self._request = request
        self._since = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Note that it is answered; from here on the client is waited for, to read and to ask again."""
        self._request = None
        self._since = asyncio.get_running_loop().time()

    def waits(self, now: float) -> Wait | None:  # noqa: ARG002 other kinds of connection ask the time seldom
        """Say what it waits for, as the crowd asks."""
        if self._request is None:
            return Wait(0, self._since)
        return None if self._request.content.is_eof() else Wait(1, self._since)

    def give_way(self) -> None:
        """End at once: a close would first send what its client does not read."""
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to watch whether the client reads: aiohttp would wait for it for ever."""
        super().pause_writing()
        self._look_at_reading(0)

    def resume_writing(self) -> None:
        """End that watch."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _look_at_reading(self, before: int) -> None:
        """Cut the connection where nothing was read since `before` bytes waited; else look again later."""
        transport = self.transport
        if transport is None:
            return
        left = transport.get_write_buffer_size()
        if left == before:
            transport.abort()
            return
        seconds = self._listener.bounds.keepalive_seconds
        self._unread = asyncio.get_running_loop().call_later(seconds, self._look_at_reading, left)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 aiohttp's text may quote the request: it goes nowhere
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse or serve, in our one shape, and close."""
        if exc is not None:
            exc.__traceback__ = None  # its frames hold this connection, which holds it: memory until a late collection
        if request.writer.output_size > 0:
            raise ConnectionError("the response had begun") from exc
        if status >= 500:
            if not isinstance(exc, ConnectionError):  # a client that went away is no fault of ours
                log.error("request_failed", status=status, error=type(exc).__name__)
            refusal = Refusal(status, "INTERNAL", "the request could not be served; the reason stands in the log")
        else:
            refusal = Refusal(status, "MALFORMED", "this is not an HTTP request that can be read")
        answer = problem(refusal)
        self._listener.count(OTHER_PATH, answer.status)
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        response.force_close()
        return response

    def log_exception(self, *_: Any, **fields: Any) -> None:
        """Say in one line what aiohttp would say with a traceback, which may quote the request."""
        error = fields.get("exc_info")
        if not isinstance(error, web.RequestPayloadError):  # a body that broke off: its request was answered
            log.error("connection_failed", error=type(error).__name__)

    def _close_if_silent(self) -> None:
        if not self._served:
            self.force_close()


def split_address(address: str) -> tuple[str, int]:
    """Read `host:port` (`[::1]:7600` too). Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: write host:port, for example 127.0.0.1:7600, or unix:PATH")
    return host.strip("[]"), int(port)


def _widen_queue(server: asyncio.Server) -> None:
    """Let more connections wait to be accepted than are accepted in one turn."""
    for listening in server.sockets:
        with socket.socket(fileno=os.dup(listening.fileno())) as same:
            same.listen(BACKLOG)


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110, 10.1.1)."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


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


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, "TOO_LARGE", f"the body is larger than {max_bytes:,} bytes")


def _busy(detail: str) -> Refusal:
    return Refusal(503, "BUSY", detail, retry_after_seconds=1)


def _unsupported(came: str, taken: frozenset[str]) -> Refusal:
    """Say what came: curl sends a form's type by itself, and who used it does not know."""
    shown = came if len(came) <= SHOWN_TYPE_CHARS and came.isascii() and came.isprintable() else "another type"
    sentence = f"it came as {shown}; add the header Content-Type: {' or '.join(sorted(taken))}"
    return Refusal(415, "UNSUPPORTED_TYPE", sentence)
