"""One turn of the agent: read; when the digest changed, compile in a child and publish."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.environ import now_us
from abside.files import FileRefusedError
from abside.log import Log
from abside.snapshot import Problem
from abside_agent.document.reading import digest_of
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.run.child.spawn import ChildError, run
from abside_agent.run.early_pauses import EarlyPauses, PauseFirstError
from abside_agent.run.problem_log import ReportedProblems
from abside_agent.run.publish import publish, read_published, remove_leftovers
from abside_agent.settle.pause import MAX_QUICK_BYTES, over

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from abside_agent.document.reading import Reading
    from abside_agent.settings import AgentSettings
    from abside_agent.sources.mounted import Mounted

log = Log("abside.agent")
SETTLE_SECONDS = 0.1  # two readings of a plain directory, this far apart, must be equal: a file may be half-written
SETTLE_READINGS = 20  # then it is used as it is: a file that changes for ever must not stop the others
BEAT_SECONDS = 10.0  # how often the snapshot's mtime is renewed: it shows readers that the agent is alive
RETRY_FIRST_SECONDS = 5.0  # a child may die because of the node and not of the documents, so try again
RETRY_LONGEST_SECONDS = 1800.0  # if the documents are the cause, each try costs `compile_cpu_seconds`


@dataclass(slots=True)
class Agent:
    """The state of one agent between two turns: what it read last, and what it published last."""

    settings: AgentSettings
    source: Mounted
    stop: Event
    clock_us: Callable[[], int] = now_us
    steady: Callable[[], float] = time.monotonic
    is_clean: bool = False  # the last turn rejected nothing, and its snapshot is in force
    _digest: bytes = b""
    _last: bytes = b""
    _early: EarlyPauses = field(init=False)
    _came: Reading | None = None  # the pauses that came while the documents were read and compiled
    _pending: bytes = b""  # to be written; kept here while the disk refuses it
    _summary: dict[str, object] = field(default_factory=dict)  # logged once `_pending` is written
    _problems: ReportedProblems = field(default_factory=ReportedProblems)
    _backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS))
    _retry_at: float | None = None
    _beat_at: float = -math.inf

    def __post_init__(self) -> None:
        try:
            self._last = read_published(self._path)
        except FileRefusedError as exc:
            log.warning("last_snapshot_unreadable", why=exc.strerror, then="going on without it")
        self._early = EarlyPauses(self.source.read_pauses)
        if removed := remove_leftovers(self._path):
            log.info("leftovers_removed", files=removed)

    @property
    def _path(self) -> Path:
        return Path(self.settings.snapshot)

    def turn(self) -> bool:
        """Read once, act on a change, and return whether there was one."""
        reading = self._settled()
        packed = reading.pack()
        digest = digest_of(packed)
        is_new = digest != self._digest or (self._retry_at is not None and self.steady() >= self._retry_at)
        if is_new:
            self._digest, self._retry_at, self._came = digest, None, None
            self._pause_first(self._early.due(reading, is_certain=True))
            self._compile(packed)
        elif self._last and not self._pending and not self._path.exists():
            log.warning("snapshot_vanished", then="written again")
            self._pending = self._last
        if self._pending:
            self._publish()
        self._beat()
        return is_new

    def _beat(self) -> None:
        """Touch the snapshot, unless a new one waits to be written: without it readers cannot detect a hung agent."""
        if self._last and not self._pending and self.steady() >= self._beat_at:
            with suppress(OSError):
                os.utime(self._path)
                self._beat_at = self.steady() + BEAT_SECONDS

    def _settled(self) -> Reading:
        """Read until a new state is stable; a ConfigMap, swapped as a whole, is so at once. Pauses do not wait."""
        reading = self.source.read()
        for _ in range(SETTLE_READINGS):
            if digest_of(reading.pack()) == self._digest or self.source.is_atomic:
                break
            if due := self._early.due(reading, is_certain=False):
                self._digest = b""  # the next turn that reads a certain state makes the pauses exact
                self._pause_first(due)
            if self.stop.wait(SETTLE_SECONDS):
                break
            again = self.source.read()
            if again == reading:
                break
            reading = again
        return reading

    def _pause_first(self, due: Reading | None) -> None:
        """Apply pauses to the snapshot in force at once: documents may take a minute, a pause must not."""
        if due is None or self.settings.once:
            return
        try:
            quick, revision = self._over(self._pending or self._last, due)
        except ChildError as exc:
            log.error("pause_waits", why=str(exc), then="it comes with the documents")
            return
        if quick:
            self._pending = quick
            self._summary = {"revision": revision, "pauses": len(due.pauses)}
            self._publish()

    def _over(self, snapshot: bytes, due: Reading) -> tuple[bytes, str]:
        """Return a snapshot with pauses applied, by a child where it is large. Raises ChildError."""
        if len(snapshot) <= MAX_QUICK_BYTES:
            return over(snapshot, due, self.clock_us())
        settings = self.settings
        limits = (settings.compile_cpu_seconds, settings.compile_memory)
        order = Order(due.pack(), snapshot, self.clock_us(), *limits, only_pauses=True)
        reply = run(order, settings.compile_seconds, self.stop)
        return reply.snapshot, reply.revision

    def _meanwhile(self) -> None:
        """Look for pauses while a child compiles. Raises PauseFirstError for one that needs a child too."""
        self._beat()
        due = None if self.settings.once else self._early.look()
        if due is None:
            return
        self._digest, self._came = b"", due  # the next turn compiles with it
        if len(self._last) > MAX_QUICK_BYTES:
            raise PauseFirstError
        self._pause_first(due)

    def _compile(self, packed: bytes) -> None:
        """Have a reading compiled; where that fails, apply only its pauses, and try again later."""
        try:
            reply = self._settle(packed)
        except PauseFirstError:
            self._pause_first(self._came)
            return
        if reply is None:
            return
        self.is_clean = bool(reply.revision) and not reply.is_degraded
        self._pending = reply.snapshot
        self._log_reply(reply)
        if self._came is not None and self._pending:
            self._pause_reply(self._came)

    def _pause_reply(self, came: Reading) -> None:
        """Apply the pauses that came meanwhile to the new snapshot, which the child made without them."""
        try:
            laid, revision = self._over(self._pending, came)
        except ChildError as exc:
            log.error("pause_waits", why=str(exc), then="what is in force stays, with its pauses")
            self._pending = b""
            return
        if laid:
            self._pending, self._summary["revision"] = laid, revision

    def _settle(self, packed: bytes) -> ChildReply | None:
        """Return a child's reply to a reading; None where no child answered. Raises PauseFirstError."""
        try:
            reply = self._run(packed, None)
            self._backoff.reset()
        except ChildError as exc:
            self._retry_at = self.steady() + self._backoff.next_seconds()
            remedy = "run abside check on the documents; the last good stays in force"
            unread = Problem("error", "NOT_COMPILED", "documents", 0, 0, "", "", str(exc), remedy)
            try:
                return self._run(packed, unread)
            except ChildError as second:
                self.is_clean = False
                log.error("not_compiled", why=str(second), then="the last good stays in force")
                return None
        return reply

    def _run(self, packed: bytes, unread: Problem | None) -> ChildReply:
        settings = self.settings
        limits = (settings.compile_cpu_seconds, settings.compile_memory)
        order = Order(packed, self._last, self.clock_us(), *limits, unread)
        return run(order, settings.compile_seconds, self.stop, meanwhile=self._meanwhile)

    def _publish(self) -> None:
        """Write the pending snapshot; where the disk refuses, every turn tries again and one line is logged."""
        try:
            publish(self._path, self._pending)
        except OSError as exc:
            self.is_clean = False
            self._problems.once("not_published", why=str(exc), then="the last good stays in force")
            return
        self._last, self._pending = self._pending, b""
        log.info("published", **self._summary)
        self._problems.forget("not_published")

    def _log_reply(self, reply: ChildReply) -> None:
        """Log the problems of a reply, and keep the line to log once it is in force."""
        self._problems.reply(reply)
        self._summary = {"revision": reply.revision, "degraded": reply.is_degraded, **reply.counts}
        self._summary["problems"] = len(reply.problems)
        if not reply.revision:
            log.warning("nothing_published", problems=len(reply.problems))
        elif self.settings.once and not reply.snapshot:
            log.info("unchanged", **self._summary)
