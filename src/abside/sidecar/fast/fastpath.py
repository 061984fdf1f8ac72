"""The fast path: plain requests to the hot routes answered in `data_received`, other connections handed to aiohttp.

A connection starts here. While each request is complete, plain and alone, it stays; the first one that is anything
else (another route, odd framing, pipelining, chunked, Expect, Upgrade, HTTP/1.0, Connection: close) takes the
connection, with all buffered bytes, to aiohttp's own handler for good. So this file never has to be right about the
hard parts of HTTP: it only has to know what it does not understand.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

from abside.log import Log
from abside.serve.answer import INTERNAL, Refusal, problem
from abside.serve.crowd import Wait
from abside.serve.strangers import is_loopback
from abside.sidecar.fast.heads import MAX_HEAD_BYTES, HeadCache, end_of_head, head_of
from abside.sidecar.fast.took import Took

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.serve.answer import Response
    from abside.serve.listener import Listener
    from abside.sidecar.fast.heads import FastRoutes, RequestHead

log = Log("abside.fastpath")
MAX_AWAITED_BYTES = 16 * 1024  # of a body in several segments: a page's events; 1,024 connections keep 16 MB of them
WAIT_SECONDS = 1.0  # for the rest of a body; clients that send head and body apart do so within a millisecond
SWEEP_SECONDS = 1.0
# A turn of the loop that brought one request: so many more are answered at once, without waiting for a turn's end.
DIRECT_ANSWERS = 15
KNOWN_LENGTHS = 2048  # of an answer, written once for all; a longer one, with a large configuration, is formatted
_LENGTHS = [b"%d" % size for size in range(KNOWN_LENGTHS)]
_write = os.write


class FastDoor:
    """What the connections of one listener share.

    `settle` is called before answers leave. Under load it is called once for all that one turn of the loop brought:
    exposures of requests that arrived together are written to the spool together. Where turns bring one request each,
    waiting for its end is time lost: most are answered at once, and one in sixteen looks whether that is still so.

    What leaves together at a turn's end is timed together, from the first request to the last answer, for they had all
    come when the first was read. The one in sixteen is timed for the fifteen before it too.
    """

    def __init__(self, listener: Listener, fast: FastRoutes, clock: Callable[[], float] = time.perf_counter) -> None:
        self.listener = listener
        self.clock = clock  # seconds
        self.routes = fast.routes
        self.handed_over = 0
        self.connections: set[FastConnection] = set()
        self.heads = HeadCache(fast.routes)
        self.loopback_heads = HeadCache(fast.routes, listener.hosts)  # where a browser may have been misled by a name
        self.end_of_head = end_of_head()
        self.keepalive_seconds = listener.bounds.keepalive_seconds
        self.settle = fast.settle
        self.leaving: list[tuple[FastConnection, bytes]] = []  # at the end of this turn
        self.direct = 0  # answers that may leave at once
        self.took = Took()
        self.began = 0.0  # seconds; when the first was read of what leaves, or may leave, at this turn's end
        self._untimed = 0  # answers that left at once since then
        self.otherwise = 0  # answered, but not with a route's good answer

    def __call__(self) -> FastConnection:
        """Return the protocol of one new connection (asyncio's factory)."""
        return FastConnection(self)

    def leave(self, connection: FastConnection, answer: bytes) -> None:
        """Send an answer at the end of this turn of the loop."""
        if not self.leaving:
            asyncio.get_running_loop().call_soon(self._send)
        self.leaving.append((connection, answer))

    @property
    def answered(self) -> int:
        """Count the requests answered here."""
        return self.otherwise + sum(route.good for route in self.routes)

    async def sweep(self) -> None:
        """Keep the date, hand over bodies that do not come, close what is idle or does not read: for ever."""
        loop = asyncio.get_running_loop()
        while True:
            self.end_of_head = end_of_head()
            now = loop.time()
            for connection in list(self.connections):
                try:
                    connection.sweep(now)
                except Exception as exc:  # noqa: BLE001 one connection must not keep all others from being swept
                    log.crash("sweep_failed", exc)
                    connection.drop()
            await asyncio.sleep(SWEEP_SECONDS)

    def retire(self) -> None:
        """Hand over every request that has arrived in part. Later ones are aiohttp's anyway."""
        for connection in list(self.connections):
            connection.retire()

    def close(self) -> None:
        """Close what is left: connections that wait for nothing. What was answered still leaves."""
        self._send()
        for connection in list(self.connections):
            connection.close()

    def _send(self) -> None:
        leaving, self.leaving = self.leaving, []
        if len(leaving) == 1:
            self.direct = DIRECT_ANSWERS
        self._settled()
        for connection, answer in leaving:
            connection.write(answer)
        self.took.add(self.clock() - self.began, len(leaving) + self._untimed)
        self._untimed = self.direct

    def _settled(self) -> None:
        try:
            self.settle()
        except Exception as exc:  # noqa: BLE001 a bug there must not keep a shopper's answer, nor all that follow
            log.crash("settle_failed", exc)


class FastConnection(asyncio.Protocol):
    """One connection for as long as it is plain."""

    __slots__ = (
        "_answered",
        "_clogged",
        "_door",
        "_end",
        "_handle",
        "_head",
        "_heads",
        "_known",
        "_left",
        "_missing",
        "_paused",
        "_segments",
        "_since",
        "_transport",
    )

    def __init__(self, door: FastDoor) -> None:
        self._door = door
        self._transport: Any = None
        self._handle = -1  # the socket's descriptor
        self._heads = door.loopback_heads
        self._known = self._heads.known  # the same table, beside the hot path and not behind two names
        self._clogged = False  # what it did not take waits in the transport
        self._paused = False  # so much waits there that nothing is read
        self._left = 0  # bytes that waited there at the last sweep
        self._segments: list[bytes] = []  # of a request that has arrived in part, as they came
        self._head: RequestHead | None = None  # of the request whose body is awaited
        self._end = 0  # where that head ends
        self._missing = 0  # bytes of that body
        # Of what is waited for, in the loop's seconds; 0: something was answered since the last sweep. Until the first
        # answer it is the beginning: a stranger that sends half a body is no younger for it.
        self._since = asyncio.get_running_loop().time()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection in; a late one is aiohttp's to close with the listener."""
        self._transport = transport
        self._handle = transport.get_extra_info("socket").fileno()
        if not is_loopback(transport.get_extra_info("sockname")):
            self._heads = self._door.heads
            self._known = self._heads.known
        listener = self._door.listener
        self._door.connections.add(self)
        if listener.retiring:
            self._hand_over()
            return
        listener.crowd.enter(self)

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 asyncio's signature
        """Take the connection out."""
        self._door.connections.discard(self)
        self._door.listener.crowd.leave(self)

    def data_received(self, data: bytes) -> None:
        """Answer a complete plain request now; wait for the rest of a body; hand over everything else.

        What every request takes is in this one body, for a call takes as long as a line of it.
        """
        if self._head is not None:
            self._more(self._head, data)
            return
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) + 4
        door, head = self._door, None
        if not door.direct and not door.leaving:
            door.began = door.clock()
        if end > 3:
            head = self._known.get(data[:end]) or self._heads.read(data[:end])
        if head is None or door.listener.retiring:  # aiohttp's answer then closes the connection
            self._hand_over(data)
            return
        if end + head.body_bytes != len(data):
            self._wait(head, end, data)
            return
        start = head.good
        try:
            answer = head.handle(data[end:])
            if isinstance(answer, bytes):
                head.route.good += 1
            else:
                answer, start = self._other(head, answer)
        except Refusal as refusal:
            answer, start = self._other(head, problem(refusal))
        except Exception as exc:  # noqa: BLE001 as on the other path: a bug is a 500, never a traceback or a hang
            log.crash("handler_failed", exc)
            answer, start = self._other(head, problem(INTERNAL))
        self._since = 0.0
        self._answered = True
        size = len(answer)
        length = _LENGTHS[size] if size < KNOWN_LENGTHS else b"%d" % size
        whole = b"".join((start, length, door.end_of_head, answer))
        if not door.direct:
            door.leave(self, whole)
            return
        door.direct -= 1
        try:
            door.settle()
        except Exception as exc:  # noqa: BLE001 a bug there must not keep a shopper's answer, nor all that follow
            log.crash("settle_failed", exc)
        sent = 0
        if not self._clogged and not self._transport.is_closing():  # as `write` does, for those that leave at once
            try:  # noqa: SIM105 suppress() would take as long as the test before it
                sent = _write(self._handle, whole)
            except OSError:
                pass
        if sent < len(whole):
            self.write(whole[sent:])

    def write(self, answer: bytes) -> None:
        """Send an answer: into the socket itself, for the transport's queue takes as long as the system call.

        What the socket does not take, and any error, is the transport's. A descriptor of a closing transport may be
        somebody else's already.
        """
        transport = self._transport
        sent = 0
        if self._clogged:
            self._clogged = transport.get_write_buffer_size() > 0
        if not self._clogged and not transport.is_closing():
            try:  # noqa: SIM105 on every request: suppress() would take as long as the test before it
                sent = os.write(self._handle, answer)
            except OSError:
                pass
        if sent < len(answer):
            self._clogged = True
            transport.write(answer[sent:])

    def pause_writing(self) -> None:
        """Take nothing more from a client that does not read its answers."""
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on when it has read."""
        self._paused = False
        self._transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Hand over a body that does not come; cut what was silent, or did not read, for too long."""
        if not self._since:
            self._since = now
        elif self._head is not None:
            if now - self._since >= WAIT_SECONDS:
                self._hand_over()
        elif now - self._since >= self._patience_seconds():
            left = self._transport.get_write_buffer_size()
            if not left:
                self._transport.close()  # what the kernel still has reaches a slow reader
            elif left == self._left:
                self._transport.abort()
            self._since, self._left = now, left

    def waits(self, now: float) -> Wait:
        """Return what it waits for. A connection that was answered lately counts as waiting from now on."""
        self._since = self._since or now
        return Wait(self._answered, self._since, head=self._head is None)

    def give_way(self) -> None:
        """End at once: a close would first send what its client does not read."""
        self._transport.abort()

    def retire(self) -> None:
        """Hand over a request whose rest is awaited: aiohttp waits for it as long as a drain allows."""
        if self._head is not None:
            self._hand_over()

    def close(self) -> None:
        """Close: nothing is awaited here."""
        self._transport.close()

    def _patience_seconds(self) -> float:
        """Return how long it may be silent: little until its first request, then as long as keep-alive."""
        door = self._door
        return door.keepalive_seconds if self._answered else door.listener.bounds.header_seconds

    def drop(self) -> None:
        """Cut the connection and count it out: nothing more can be done with it."""
        self._door.connections.discard(self)
        self._transport.abort()

    def _wait(self, head: RequestHead, end: int, data: bytes) -> None:
        """Wait for the rest of a body; hand over what is more than one request."""
        missing = end + head.body_bytes - len(data)
        if missing < 0 or head.body_bytes > MAX_AWAITED_BYTES:
            self._hand_over(data)  # pipelined, or a large body: aiohttp bounds what all of them keep
            return
        self._head, self._end, self._missing, self._segments = head, end, missing, [data]
        if self._answered:
            self._since = 0.0

    def _more(self, head: RequestHead, data: bytes) -> None:
        """Take a further segment of a body."""
        self._segments.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        whole = b"".join(self._segments)
        stop = self._end + head.body_bytes
        self._head, self._segments = None, []
        self.data_received(whole[:stop])
        if self._missing < 0:  # what follows the body is aiohttp's; the answer leaves before it is read
            self._hand_over(whole[stop:])

    def _other(self, head: RequestHead, answer: Response) -> tuple[bytes, bytes]:
        """Count an answer that is not the route's good one; return its body and its head."""
        self._door.otherwise += 1
        self._door.listener.count(head.route.path, answer.status)
        return answer.body, head_of(answer)

    def _hand_over(self, *segments: bytes) -> None:
        """Hand the connection and all its bytes, cut as they came, to aiohttp for good."""
        door, transport = self._door, self._transport
        kept, self._segments, self._head = self._segments, [], None
        door.connections.discard(self)
        door.listener.crowd.leave(self)
        if transport.is_closing():  # it gave way in this very turn: nobody reads what it sent
            return
        handler = door.listener()
        handler.answered = self._answered
        door.handed_over += 1
        transport.set_protocol(handler)
        handler.connection_made(transport)
        if self._paused:  # aiohttp reads on, and keeps its answers until the client has read ours
            handler.pause_writing()
            transport.resume_reading()
        for data in (*kept, *segments):
            handler.data_received(data)
