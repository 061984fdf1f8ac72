"""The client for asyncio, over aiohttp's connection pool."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from abside.client import address as addresses
from abside.client.away.fallback import Fallbacks
from abside.client.away.hanging import Hanging
from abside.client.away.posting import POSTING_SECONDS, posts, wall_us
from abside.client.away.unsent import MAX_WAITING
from abside.client.calls import DEADLINE_SECONDS, Calls
from abside.client.message import MAX_ANSWER_BYTES, encode, read_accepted, read_answers, read_flag
from abside.client.raised import is_ours
from abside.client.result import ACCEPTED, Assignment, CallFailed, Flag, Receipt, Refused, Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.client.message import DecisionCall, EventCall, FlagCall

MAX_CONNECTIONS = 100  # beyond it calls queue for a connection, within their deadline; an answer takes 0.1 ms
IDLE_SECONDS = 60.0  # below the sidecar's 75: so that this side closes


class AsyncClient(Calls[Awaitable[Assignment], Awaitable[dict[str, Assignment]], Awaitable[Receipt], Awaitable[Flag]]):
    """A client for one event loop of one process: make it there (`async with AsyncClient() as client`), or let each
    loop make its own; RuntimeError when two share one. Not for several threads; `Client` is.

    `address` is `http://127.0.0.1:7600` (an IP address or localhost) or `unix:PATH`; ValueError for anything else.
    Fallbacks, and the reports that could not be sent, are posted by a task as soon as the sidecar answers again;
    `close` posts what is left. At most `max_waiting` reports wait, 0 for none; ValueError for fewer.
    """  # noqa: D205 where it belongs is the first thing to know

    def __init__(
        self,
        address: str = addresses.DEFAULT,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        strict: bool = False,
        max_waiting: int = MAX_WAITING,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._address = addresses.parse_address(address)
        self._deadline_seconds = deadline_seconds
        self._strict = strict
        self._fallbacks = Fallbacks(time.monotonic, wall, max_waiting=max_waiting)
        self._hanging = Hanging(time.monotonic)
        self._session: aiohttp.ClientSession | None = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None  # process and loop of the session
        self._posting: asyncio.Task[None] | None = None

    @property
    def stats(self) -> Stats:
        """The counts since the client was made."""
        return self._fallbacks.stats()

    async def close(self) -> None:
        """Post what remains, within a second, and close the connections. The client may be used again."""
        if self._posting is not None:
            await asyncio.wait([self._posting])
        await self._post_fallbacks()
        if self._session is not None:
            session, self._session, self._home = self._session, None, None
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _left_out(self, name: str, reason: str) -> None:
        self._fallbacks.left_out(name, reason)

    async def _one(self, call: DecisionCall) -> Assignment:
        return (await self._many(call))[call.placements[0]]

    async def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        try:
            status, body = await self._ask("/v1/assign", call.fields, call.deadline_seconds)
            answers = read_answers(call, status, body)
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return self._fallbacks.fall_back(call, failed)
        self._fallbacks.seen(answers.values())
        if call.visit is not None:
            for answer in answers.values():
                call.visit.saw(answer)
        self._post_soon()
        return answers

    async def _report(self, report: EventCall) -> Receipt:
        try:
            read_accepted(*await self._ask(report.path, report.body, report.deadline_seconds))
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return self._fallbacks.not_taken(report, failed)
        self._post_soon()
        return ACCEPTED

    async def _flag(self, call: FlagCall) -> Flag:
        try:
            answer = await self._ask(call.path, {"context": call.context}, call.deadline_seconds)
            flag = read_flag(call.key, *answer)
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            self._fallbacks.fall_back(call.as_decision, failed)
            return Flag(call.key, None, reason="ERROR", why=failed.why)
        self._post_soon()
        return flag

    async def _ask(self, path: str, fields: Any, seconds: float | None) -> tuple[int, bytes]:
        """Send one request and return its answer's status and body, within the deadline. Raises CallFailed, Refused."""
        if seconds is None:
            seconds = self._deadline_seconds
        body = encode(fields)
        self._hanging.check(seconds)
        since = time.monotonic()
        try:
            answer = await self._post(path, body, seconds)
        except CallFailed as failed:
            self._hanging.failed(failed, seconds, since)
            raise
        self._hanging.answered()
        return answer

    async def _post(self, path: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        """Send one request and read its answer within the deadline. Raises CallFailed, Refused.

        It is sent once. Only where a kept connection breaks before the first byte of an answer, as after a restart of
        the sidecar, it is sent again over a new connection, within the same deadline: an assignment is the same again,
        and events carry their ids.
        """
        session = self._open()
        try:
            async with asyncio.timeout(seconds):
                kept: list[bool] = []  # gets an item when aiohttp reuses a connection
                try:
                    return await _exchange(session, path, body, kept)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError) as exc:
                    if not kept or not is_ours(exc):
                        raise
                    return await _exchange(session, path, body, kept)
        except CallFailed:
            raise
        except Exception as exc:
            if not is_ours(exc):
                raise
            if isinstance(exc, TimeoutError):
                raise CallFailed("timeout", "no answer within the deadline") from exc
            if isinstance(exc, OSError | aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
                raise CallFailed("unreachable", type(exc).__name__) from exc
            # aiohttp over hostile bytes: whatever it raises, there is no answer
            raise CallFailed("garbage", type(exc).__name__) from exc

    def _open(self) -> aiohttp.ClientSession:
        """Return this loop's session. Raises RuntimeError in another loop or a forked child."""
        here = (os.getpid(), asyncio.get_running_loop())
        if self._session is None:
            self._session, self._home = _session(self._address), here
        if self._home != here:
            raise RuntimeError("this AsyncClient belongs to another event loop or process; make one in each")
        return self._session

    def _post_soon(self) -> None:
        """Start a task that posts fallbacks, if there are any: the sidecar has just answered."""
        if self._fallbacks.due() and (self._posting is None or self._posting.done()):
            self._posting = asyncio.get_running_loop().create_task(self._post_fallbacks(), name="abside-client")

    async def _post_fallbacks(self) -> None:
        """Post what is kept until nothing is left, time is up, or the sidecar does not take it."""
        until = time.monotonic() + POSTING_SECONDS
        failed: CallFailed | None = None
        with closing(posts(self._fallbacks)) as posting, suppress(StopIteration):
            while True:
                path, body = posting.send(failed)
                try:
                    read_accepted(*await self._post(path, body, until - time.monotonic()))
                    failed = None
                except CallFailed as exc:
                    failed = exc


def _session(address: addresses.Address) -> aiohttp.ClientSession:
    connector: aiohttp.BaseConnector
    if address.path is not None:
        connector = aiohttp.UnixConnector(address.path, limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    else:
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_SECONDS)
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    return aiohttp.ClientSession(
        f"http://{address.text}",
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the call's own deadline is the only one
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Content-Type": "application/json"},
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=False,
        trace_configs=[tracing],
    )


async def _note_kept(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx.append(True)


async def _exchange(session: aiohttp.ClientSession, path: str, body: bytes, kept: list[bool]) -> tuple[int, bytes]:
    async with session.post(path, data=body, allow_redirects=False, trace_request_ctx=kept) as response:
        length = response.content_length
        if length is None or length > MAX_ANSWER_BYTES:
            response.close()
            raise CallFailed("garbage", "an answer of unknown length, or of more than 1 MiB")
        return response.status, await response.read()
