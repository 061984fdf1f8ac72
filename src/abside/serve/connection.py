"""One HTTP connection: aiohttp's protocol, with a deadline for the first request and errors as problem documents."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from abside.log import Log
from abside.serve.answer import INTERNAL, UNPACKABLE, Refusal, problem
from abside.serve.crowd import Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.serve.answer import Response
    from abside.serve.bounds import Bounds
    from abside.serve.crowd import Crowd

log = Log("abside.serve.connection")


class ServedConnection(web.RequestHandler):
    """One connection of a listener. `count` is called with each response that aiohttp itself asks for."""

    __slots__ = ("_bounds", "_count", "_crowd", "_deadline", "_request", "_served", "_since", "_unread", "answered")

    def __init__(
        self, server: web.Server, crowd: Crowd, bounds: Bounds, count: Callable[[Response], None], **options: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **options)
        self._crowd = crowd
        self._bounds = bounds
        self._count = count
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None  # the look at whether an answer is being read
        self._request: web.BaseRequest | None = None  # the one that is being answered
        self._served = False
        self.answered = False  # a request of this connection was, here or on the fast path
        self._since = loop.time()  # of its beginning; or since the last answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in: others give way where there are too many."""
        super().connection_made(transport)
        self._crowd.enter(self)
        if self._crowd.closed:
            self.force_close()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._bounds.header_seconds, self._close_if_silent)

    async def start(self) -> None:
        """Serve it, unless it was cut before it could begin: aiohttp would end in a failed assertion."""
        if self.transport is not None:
            await super().start()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take it out."""
        self._crowd.leave(self)
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
        self.answered = True
        self._since = asyncio.get_running_loop().time()

    def waits(self, now: float) -> Wait | None:  # noqa: ARG002 other kinds of connection ask the time seldom
        """Return what it waits for, as the crowd asks."""
        request = self._request
        if request is not None and request.content.is_eof():
            return None
        return Wait(self.answered, self._since, head=request is None)

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
        seconds = self._bounds.keepalive_seconds
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
            exc.__traceback__ = None  # its frames refer to this connection: a cycle would keep both for a while
        if request.writer.output_size > 0:
            raise ConnectionError("the response had begun") from exc
        if status >= 500:
            if not isinstance(exc, ConnectionError):  # a client that went away is no fault of ours
                log.error("request_failed", status=status, error=type(exc).__name__)
            refusal = Refusal(status, INTERNAL.code, INTERNAL.detail)
        elif isinstance(exc, ContentEncodingError):
            refusal = UNPACKABLE
        else:
            refusal = Refusal(status, "MALFORMED", "this is not an HTTP request that can be read")
        answer = problem(refusal)
        self._count(answer)
        response = web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)
        response.force_close()
        return response

    def log_exception(self, *_: Any, **fields: Any) -> None:
        """Log in one line what aiohttp would log with a traceback, which may quote the request."""
        error = fields.get("exc_info")
        if not isinstance(error, web.RequestPayloadError):  # a body that broke off: its request was answered
            log.error("connection_failed", error=type(error).__name__)

    def _close_if_silent(self) -> None:
        if not self._served:
            self.force_close()
