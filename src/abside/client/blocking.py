"""The blocking client: standard library only, thread-safe, fork-safe."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from abside.client import address as addresses
from abside.client.away.fallback import Fallbacks
from abside.client.away.hanging import Hanging
from abside.client.away.posting import POSTING_SECONDS, post_all, wall_us
from abside.client.away.unsent import MAX_WAITING
from abside.client.calls import DEADLINE_SECONDS, Calls, check_deadline
from abside.client.message import encode, read_accepted, read_answers, read_flag
from abside.client.pool import Pool
from abside.client.result import ACCEPTED, Assignment, CallFailed, Flag, Receipt, Refused, Stats
from abside.client.strictness import check_fallbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.client.message import DecisionCall, EventCall, FlagCall


@dataclass(slots=True)
class _Process:
    """The state of one process: a forked child makes its own, and copies the base parameters that were seen."""

    pid: int
    pool: Pool
    fallbacks: Fallbacks
    hanging: Hanging
    posting: threading.Lock = field(default_factory=threading.Lock)  # taken while fallbacks are posted


class Client(Calls[Assignment, dict[str, Assignment], Receipt, Flag]):
    """A blocking client. One for the whole process, shared by its threads; a forked child may go on using it.

    `address` is `http://127.0.0.1:7600` (an IP address or localhost) or `unix:PATH`; ValueError for anything else.
    Fallbacks, and the reports that could not be sent, are posted by a short-lived thread as soon as the sidecar answers
    again; `close` posts what is left. At most `max_waiting` reports wait, 0 for none; ValueError for fewer.
    """

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
        self._process = self._start(None)
        self._by_pid = {
            self._process.pid: self._process
        }  # this process's only; a forked child puts its own in its place

    @property
    def stats(self) -> Stats:
        """The counts since the client was made, or since this process was forked."""
        return self._here().fallbacks.stats()

    def close(self) -> None:
        """Post what remains, within a second, and close idle connections. The client may be used again."""
        here = self._here()
        if here.posting.acquire(timeout=POSTING_SECONDS):
            _post_and_release(here)
        here.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _left_out(self, name: str, reason: str) -> None:
        self._here().fallbacks.left_out(name, reason)

    def _one(self, call: DecisionCall) -> Assignment:
        return self._many(call)[call.placements[0]]

    def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        here = self._here()
        try:
            status, body = self._ask(here, "/v1/assign", call.fields, call.deadline_seconds)
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
        self._post_soon(here)
        return answers

    def _report(self, report: EventCall) -> Receipt:
        here = self._here()
        try:
            read_accepted(*self._ask(here, report.path, report.body, report.deadline_seconds))
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            return here.fallbacks.not_taken(report, failed)
        self._post_soon(here)
        return ACCEPTED

    def _flag(self, call: FlagCall) -> Flag:
        here = self._here()
        try:
            flag = read_flag(call.key, *self._ask(here, call.path, {"context": call.context}, call.deadline_seconds))
        except CallFailed as failed:
            if self._strict and isinstance(failed, Refused):
                raise
            here.fallbacks.fall_back(call.as_decision, failed)
            return Flag(call.key, None, reason="ERROR", why=failed.why)
        self._post_soon(here)
        return flag

    def _ask(self, here: _Process, path: str, fields: Any, seconds: float | None) -> tuple[int, bytes]:
        """Send one request and return its answer's status and body, within the deadline. Raises CallFailed, Refused."""
        if seconds is None:
            seconds = self._deadline_seconds
        until, hanging = time.monotonic() + seconds, here.hanging
        body = encode(fields)
        hanging.check(seconds)
        try:
            answer = here.pool.post(path, body, until)
        except CallFailed as failed:
            hanging.failed(failed, seconds, until - seconds)
            raise
        hanging.answered()
        return answer

    def _here(self) -> _Process:
        """Return this process's state; after a fork, a new one: the parent goes on using its connections and locks."""
        here, pid = self._process, os.getpid()
        if here.pid != pid:
            # Several threads of the child may come here at once: setdefault gives all of them the first one's.
            self._process = self._by_pid.setdefault(pid, self._start(here))
            self._by_pid.pop(here.pid, None)  # the system may use the number for another process later
        return self._process

    def _start(self, parent: _Process | None) -> _Process:
        bases = None
        if parent is not None:
            parent.pool.abandon()
            bases = parent.fallbacks.bases
        fallbacks = Fallbacks(time.monotonic, self._wall, bases, self._max_waiting)
        return _Process(os.getpid(), Pool(self._address), fallbacks, Hanging(time.monotonic))

    def _post_soon(self, here: _Process) -> None:
        """Start a thread that posts fallbacks, if there are any: the sidecar has just answered."""
        if here.fallbacks.due() and here.posting.acquire(blocking=False):
            try:
                threading.Thread(target=_post_and_release, args=(here,), name="abside-client", daemon=True).start()
            except BaseException as exc:
                here.posting.release()
                if not isinstance(exc, RuntimeError):
                    raise
                # No more threads, or the interpreter is ending: they are kept.


def _post_and_release(here: _Process) -> None:
    until = time.monotonic() + POSTING_SECONDS
    try:
        post_all(here.fallbacks, lambda path, body: read_accepted(*here.pool.post(path, body, until)))
    finally:
        here.posting.release()
