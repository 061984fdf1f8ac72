"""The client for asyncio, over aiohttp's connection pool."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from abside.client import address as addresses
from abside.client.away.fallback import Fallbacks
from abside.client.away.hanging import Hanging
from abside.client.away.posting import POSTING_SECONDS, posts, wall_us
from abside.client.away.unsent import MAX_WAITING
from abside.client.calls import DEADLINE_SECONDS, Calls, check_deadline
from abside.client.message import encode, read_accepted, read_answers, read_flag
from abside.client.result import ACCEPTED, Assignment, CallFailed, Flag, Receipt, Refused, Stats
from abside.client.session import open_session, post
from abside.client.strictness import check_fallbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from abside.client.message import DecisionCall, EventCall, FlagCall


@dataclass(slots=True)
class _Home:
    """What one event loop has of its own."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    posting: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _AsyncProcess:
    """The state of one process, which all its event loops share."""

    pid: int
    fallbacks: Fallbacks
    hanging: Hanging = field(default_factory=lambda: Hanging(time.monotonic))
    homes: dict[asyncio.AbstractEventLoop, _Home] = field(default_factory=dict)
    parent: _AsyncProcess | None = None


class AsyncClient(Calls[Awaitable[Assignment], Awaitable[dict[str, Assignment]], Awaitable[Receipt], Awaitable[Flag]]):
    """A client for asyncio. One for the whole process: each event loop, in whichever thread it runs, has connections of
    its own, and a forked child goes on with its own. `close` it in each loop (`async with AsyncClient() as client`).

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
        check_deadline(deadline_seconds, above=0)
        self._made_with = {"address": address, "deadline_seconds": deadline_seconds, "strict": strict}
        self._made_with |= {"max_waiting": max_waiting, "wall": wall}
        self._address = addresses.parse_address(address)
        self._deadline_seconds = deadline_seconds
        self._strict = strict
        self._wall = wall
        self._max_waiting = max_waiting
        self._process = _AsyncProcess(os.getpid(), Fallbacks(time.monotonic, wall, None, max_waiting))

    @property
    def stats(self) -> Stats:
        """The counts since the client was made."""
        return self._here().fallbacks.stats()

    async def close(self) -> None:
        """Post what remains, within a second, and close this event loop's connections. The client may be used again."""
        here, home = self._here(), await self._home()
        if home.posting is not None:
            await asyncio.wait([home.posting])
        await self._post_kept(here, home)
        del here.homes[home.loop]
        await home.session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _left_out(self, name: str, reason: str) -> None:
        self._here().fallbacks.left_out(name, reason)

    async def _nothing(self) -> Receipt:
        return ACCEPTED

    async def _one(self, call: DecisionCall) -> Assignment:
        return (await self._many(call))[call.placements[0]]

    async def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        here, home = self._here(), await self._home()
        try:
            status, body = await self._ask(here, home, "/v1/assign", call.fields, call.deadline_seconds)
            answers = read_answers(call, status, body)
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return here.fallbacks.fall_back(call, failed)
        here.fallbacks.seen(answers.values())
        if self._strict and call.fallbacks:
            check_fallbacks(call.fallbacks, answers)
        if call.visit is not None:
            for answer in answers.values():
                call.visit.saw(answer)
        self._post_soon(here, home)
        return answers

    async def _report(self, report: EventCall) -> Receipt:
        here, home = self._here(), await self._home()
        try:
            read_accepted(*await self._ask(here, home, report.path, report.body, report.deadline_seconds))
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return here.fallbacks.not_taken(report, failed)
        self._post_soon(here, home)
        return ACCEPTED

    async def _flag(self, call: FlagCall) -> Flag:
        here, home = self._here(), await self._home()
        try:
            answer = await self._ask(here, home, call.path, {"context": call.context}, call.deadline_seconds)
            flag = read_flag(call.key, *answer)
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            here.fallbacks.fall_back(call.as_decision, failed)
            return Flag(call.key, None, reason="ERROR", why=failed.why)
        self._post_soon(here, home)
        return flag

    async def _ask(
        self, here: _AsyncProcess, home: _Home, path: str, fields: Any, seconds: float | None
    ) -> tuple[int, bytes]:
        """Send one request and return its answer's status and body, within the deadline. Raises CallFailed, Refused."""
        if seconds is None:
            seconds = self._deadline_seconds
        body = encode(fields)
        here.hanging.check(seconds)
        since = time.monotonic()
        try:
            answer = await post(home.session, path, body, seconds)
        except CallFailed as failed:
            here.hanging.failed(failed, seconds, since)
            raise
        here.hanging.answered()
        return answer

    def _here(self) -> _AsyncProcess:
        """Return this process's state; after a fork, a new one, with the base parameters that were seen."""
        here, pid = self._process, os.getpid()
        if here.pid != pid:
            fallbacks = Fallbacks(time.monotonic, self._wall, here.fallbacks.bases, self._max_waiting)
            # The parent's sessions are kept as they are: to close them here would need the parent's event loops.
            self._process = _AsyncProcess(pid, fallbacks, parent=here)
        return self._process

    async def _home(self) -> _Home:
        """Return this event loop's session."""
        here, loop = self._here(), asyncio.get_running_loop()
        home = here.homes.get(loop)
        if home is None:
            ended = [here.homes.pop(other) for other in list(here.homes) if other.is_closed()]
            home = here.homes[loop] = _Home(loop, open_session(self._address))
            for other in ended:
                await other.session.close()
        return home

    def _post_soon(self, here: _AsyncProcess, home: _Home) -> None:
        """Start a task that posts what is kept, if there is anything: the sidecar has just answered."""
        if here.fallbacks.due() and (home.posting is None or home.posting.done()):
            home.posting = home.loop.create_task(self._post_kept(here, home), name="abside-client")

    async def _post_kept(self, here: _AsyncProcess, home: _Home) -> None:
        """Post what is kept until nothing is left, time is up, or the sidecar does not take it."""
        until = time.monotonic() + POSTING_SECONDS
        failed: CallFailed | None = None
        with closing(posts(here.fallbacks)) as posting, suppress(StopIteration):
            while True:
                path, body = posting.send(failed)
                try:
                    read_accepted(*await post(home.session, path, body, until - time.monotonic()))
                    failed = None
                except CallFailed as exc:
                    failed = exc
