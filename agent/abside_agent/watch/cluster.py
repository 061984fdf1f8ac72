"""Watches one ConfigMap by the Kubernetes API, in a thread: a change is received within milliseconds.

Whatever the API does, the agent goes on: the last observation is kept, and newest.py (pauses) and trust.py (documents)
decide whether it is valid.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

import aiohttp

from abside.backoff import Backoff
from abside.log import Log
from abside.supervise import Supervisor
from abside_agent.document.tree import flaw
from abside_agent.sources.observation import Observation, WatchReport
from abside_agent.watch.api import lines
from abside_agent.watch.config_map import ConfigMapState, ExpiredError, GarbageError, RefusedError, event, listed
from abside_agent.watch.timeouts import WatchTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import Problem
    from abside_agent.watch.api import Access, WatchQuery
    from abside_agent.watch.topic import Topic

WatchedContent = TypeVar("WatchedContent")

log = Log("abside.agent")
EXPIRED = "the API no longer knows the version"
FOR_A_PERSON = frozenset({401, 403})  # a Role is missing, or the token is wrong
CLOSE_SECONDS = 2.0  # a thread that runs longer ends with the process


class Cluster(Generic[WatchedContent]):
    """Watches the ConfigMap `name`. `changed` is called in its thread whenever `report` changes."""

    def __init__(
        self,
        access: Access,
        name: str,
        topic: Topic[WatchedContent],
        changed: Callable[[], object],
        patience: WatchTimeouts | None = None,
    ) -> None:
        self._access = access
        self._name = name
        self._topic = topic
        self._changed = changed
        self._patience = patience or WatchTimeouts()
        self._chance = random.Random()
        self._backoff = Backoff(self._patience.first, self._patience.longest, self._chance)
        self._thread = Thread(target=self._run_thread, name="fast-watch", daemon=True)
        self._runs = Event()
        self._answered = Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._version = ""  # the resourceVersion to watch from
        self._must_list = True
        self._response: aiohttp.ClientResponse | None = None  # of the open watch
        self._connected_since: float | None = None
        self._away_since: float | None = time.monotonic()
        # replaced as a whole, so that another thread may read it
        self.report: WatchReport[WatchedContent] = WatchReport(None)

    def start(self) -> None:
        """Start the thread; where that takes too long, only the volume is used and a problem is reported."""
        self._thread.start()
        if not self._runs.wait(self._patience.start):
            self._give_up("its thread does not begin")

    def await_answer(self, seconds: float) -> None:
        """Wait for the first answer of the API or its first failure, at most this long."""
        self._answered.wait(seconds)

    def close(self) -> None:
        """End the watch and its thread."""
        self._in_thread(self._ended.set)
        self._thread.join(CLOSE_SECONDS)

    def doubt(self) -> None:
        """Have the API asked again: the volume shows a state that the watch did not report."""
        self._in_thread(self._list_again)

    def _in_thread(self, call: Callable[[], object]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(call)

    def _list_again(self) -> None:
        self._must_list = True
        if self._response is not None:
            self._response.close()

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as exc:  # noqa: BLE001 a dead thread must be reported, and nobody else sees it
            log.crash("fast_watch_died", exc, config_map=self._name)
            self._give_up(str(exc) or type(exc).__name__)
        finally:
            self._runs.set()

    def _give_up(self, why: str) -> None:
        """Go on with the volume only, and report a problem."""
        observation = self.report.observation
        self._report(WatchReport(observation and replace(observation, is_fresh=False), self._problem(why)))
        self._answered.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._runs.set()
        supervisor = Supervisor(lambda _: None)
        supervisor.start("fast-watch", self._follow)
        await self._ended.wait()
        await supervisor.stop()

    async def _follow(self) -> None:
        """Connect for ever; the end of a connection decides how long to wait."""
        while True:
            token = ""
            try:
                token = self._access.read("token")  # read each time: Kubernetes renews it
                wait = await self._connect(token)
            except ExpiredError:
                self._must_list = True
                wait = self._away(EXPIRED)
            except RefusedError as exc:
                wait = self._away(str(exc), exc)
            except (aiohttp.ClientError, OSError) as exc:  # a TimeoutError is an OSError
                wait = self._away(str(exc) or type(exc).__name__)
            except (GarbageError, ValueError) as exc:
                self._must_list = True
                wait = self._away(str(exc))
            await self._wait(wait, token)

    async def _connect(self, token: str) -> float:
        """List where needed, then watch until the API ends it or `doubt` is called. Return how long to wait then."""
        patience = self._patience
        connection = self._access.connect(token, self._name, answer=patience.answer, silence=patience.silence)
        async with connection as question:
            is_listed = self._must_list
            if is_listed:
                asked_at = time.monotonic()
                self._must_list = False
                try:
                    self._receive(listed(await question.list(), self._name), asked_at)
                except BaseException:
                    self._must_list = True
                    raise
            begun = time.monotonic()
            try:
                await self._watch(question)
            except ExpiredError:
                if is_listed or time.monotonic() - begun > patience.answer:
                    raise
                self._must_list = True  # the version is from before an outage, whose wait is over: list at once
                log.debug("fast_watch_expired", why=EXPIRED, then="listed at once")
        brief = time.monotonic() - begun < patience.first
        return self._next_seconds() if brief and not self._must_list else 0.0

    async def _watch(self, question: WatchQuery) -> None:
        async with question.watch(self._version, self._chance.uniform(*self._patience.watch)) as response:
            if self._must_list:  # `doubt` was called before there was a response to close
                return
            self._response = response
            self._connected()
            try:
                async for line in lines(response):
                    state = event(line, self._name)
                    if state is not None:
                        self._receive(state, time.monotonic())
            except aiohttp.ClientError:
                if not self._must_list:  # else `doubt` closed it, to ask again
                    raise
            finally:
                self._response = None

    def _receive(self, state: ConfigMapState, at: float) -> None:
        if state.keys is not None:
            self._report(WatchReport(Observation(self._topic.read(state.keys), at, is_fresh=True), self.report.problem))
            self._answered.set()
        self._version = state.version  # last: an event that could not be read is sent again

    def _connected(self) -> None:
        """Report that the watch is connected: without an event the observation is fresh."""
        self._connected_since = time.monotonic()
        if self._away_since is not None:
            self._away_since = None
            log.info("fast_watch", config_map=self._name)
        observation = self.report.observation
        self._report(WatchReport(observation and replace(observation, is_fresh=True)))

    def _away(self, why: str, refusal: RefusedError | None = None) -> float:
        """Report that the API is away; return how long to wait before it is asked again."""
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        needs_person = refusal is not None and refusal.status in FOR_A_PERSON
        problem = self.report.problem
        if problem is None and (needs_person or now - self._away_since >= self._patience.content):
            problem = self._problem(why if needs_person else f"the Kubernetes API is away: {why}")
            then = f"{self._topic.what} come by the volume; {self._topic.meanwhile}"
            log.error("fast_watch_lost", config_map=self._name, why=why, then=then)
        log.debug("fast_watch_away", why=why)
        observation = self.report.observation
        self._report(WatchReport(observation and replace(observation, is_fresh=False), problem))
        self._answered.set()
        if needs_person:
            return self._chance.uniform(self._patience.refused / 2, self._patience.refused)
        asked = min(refusal.retry_seconds, self._patience.longest) if refusal is not None else 0.0
        return max(self._next_seconds(), asked)

    def _problem(self, why: str) -> Problem:
        message = (
            f"this ConfigMap cannot be watched ({why}): {self._topic.what} come by the mounted volume, 60 to 90 s later"
        )
        remedy = f"see the Role {self._topic.role}, and that the pod can reach the API"
        return flaw(self._name, "FAST_WATCH", (), message, remedy, severity="warning").problem

    def _report(self, report: WatchReport[WatchedContent]) -> None:
        if report != self.report:
            self.report = report
            self._changed()

    def _next_seconds(self) -> float:
        """Return the next wait; after a watch that was open for long enough it is the shortest."""
        since, self._connected_since = self._connected_since, None
        if since is not None and time.monotonic() - since >= self._patience.longest:
            self._backoff.reset()
        return self._backoff.next_seconds()

    async def _wait(self, seconds: float, token: str) -> None:
        """Wait; a new token ends the wait, because an old one may be why the API refused."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._patience.look))
            with suppress(OSError, ValueError):
                if self._access.read("token") != token:
                    return
