"""The blocking client: standard library only, thread-safe, fork-safe."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from abside.client import address as addresses
from abside.client.calls import DEADLINE_SECONDS, Calls
from abside.client.fallback import Fallbacks
from abside.client.message import encode, read_accepted, read_answers
from abside.client.pool import Pool
from abside.client.result import Assignment, CallFailed, Refused
from abside.client.telling import TELL_SECONDS, after_refusal, wall_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.client.fallback import Stats
    from abside.client.message import DecisionCall, EventCall


@dataclass(slots=True)
class _Process:
    """What belongs to one process: a forked child starts with its own, and with the base parameters seen."""

    pid: int
    pool: Pool
    fallbacks: Fallbacks
    telling: threading.Lock = field(default_factory=threading.Lock)  # held while fallbacks are posted


class Client(Calls[Assignment, dict[str, Assignment], bool]):
    """A client that waits. One for the whole process, shared by its threads; a forked child may go on using it.

    `address` is `http://127.0.0.1:7600` (an IP address or localhost) or `unix:PATH`; ValueError for anything else.
    Fallbacks are posted by a short-lived thread as soon as the sidecar answers again; `close` posts what is left.
    """

    def __init__(
        self,
        address: str = addresses.DEFAULT,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        strict: bool = False,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        self._address = addresses.parse_address(address)
        self._deadline_seconds = deadline_seconds
        self._strict = strict
        self._wall = wall
        self._process = self._start(None)
        self._by_pid = {
            self._process.pid: self._process
        }  # this process's only; a forked child puts its own in its place

    @property
    def stats(self) -> Stats:
        """The counts since the client was made, or since this process was forked."""
        return self._here().fallbacks.stats()

    def close(self) -> None:
        """Post the fallbacks not yet told, within a second, and close what is idle. The client may be used again."""
        here = self._here()
        if here.telling.acquire(timeout=TELL_SECONDS):
            _tell_and_release(here)
        here.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _one(self, question: DecisionCall) -> Assignment:
        return self._many(question)[question.placements[0]]

    def _many(self, question: DecisionCall) -> dict[str, Assignment]:
        here, until = self._here(), self._until(question.deadline_seconds)
        try:
            status, body = here.pool.post("/v1/assign", encode(question.fields), until)
            answers = read_answers(question, status, body)
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return here.fallbacks.give(question, failed)
        here.fallbacks.seen(answers.values())
        if question.visit is not None:
            for answer in answers.values():
                question.visit.saw(answer)
        self._tell_beside(here)
        return answers

    def _report(self, report: EventCall) -> bool:
        here, until = self._here(), self._until(report.deadline_seconds)
        try:
            read_accepted(*here.pool.post(report.path, encode(report.body), until))
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            here.fallbacks.lost_report(failed)
            return False
        self._tell_beside(here)
        return True

    def _until(self, seconds: float | None) -> float:
        return time.monotonic() + (self._deadline_seconds if seconds is None else seconds)

    def _here(self) -> _Process:
        """Give this process's part; after a fork, a new one: connections and locks of the parent are the parent's."""
        here, pid = self._process, os.getpid()
        if here.pid != pid:
            # Several threads of the child may come here at once: setdefault lets all have the first one's.
            self._process = self._by_pid.setdefault(pid, self._start(here))
            self._by_pid.pop(here.pid, None)  # a number may be given to a process again
        return self._process

    def _start(self, parent: _Process | None) -> _Process:
        bases = None
        if parent is not None:
            parent.pool.abandon()
            bases = parent.fallbacks.bases
        return _Process(os.getpid(), Pool(self._address), Fallbacks(time.monotonic, self._wall, bases))

    def _tell_beside(self, here: _Process) -> None:
        """Post fallbacks in a thread of its own, if there are any: the sidecar has just answered."""
        if here.fallbacks.due() and here.telling.acquire(blocking=False):
            try:
                threading.Thread(target=_tell_and_release, args=(here,), name="abside-client", daemon=True).start()
            except RuntimeError:  # no more threads, or the interpreter is ending: they stay to be told
                here.telling.release()


def _tell_and_release(here: _Process) -> None:
    try:
        _tell(here)
    finally:
        here.telling.release()


def _tell(here: _Process) -> None:
    """Post fallbacks until all are told, time is up, or the sidecar does not take them."""
    until = time.monotonic() + TELL_SECONDS
    while events := here.fallbacks.take():
        try:
            read_accepted(*here.pool.post("/v1/events", encode(events), until))
        except Refused as refused:
            after_refusal(here.fallbacks, events, refused)
        except CallFailed:
            here.fallbacks.not_told(events)
            return
        else:
            here.fallbacks.told(events)
