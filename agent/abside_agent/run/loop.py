"""The agent: read, and when the digest changed, have it compiled and publish. Everything else is waiting."""

from __future__ import annotations

import math
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.environ import now_us
from abside.files import FileRefusedError
from abside.log import Log, setup
from abside.snapshot import Problem
from abside_agent.document.reading import digest_of
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.run.child.spawn import ChildError, run
from abside_agent.run.early_pauses import EarlyPauses, PauseFirstError
from abside_agent.run.memory import give_back
from abside_agent.run.problem_log import ReportedProblems
from abside_agent.run.publish import publish, read_published, remove_leftovers
from abside_agent.settle.pause import MAX_QUICK_BYTES, over
from abside_agent.sources.mounted import MOUNTS, Mounted, mount_points
from abside_agent.watch.hints import Hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.document.reading import Reading
    from abside_agent.settings import AgentSettings
    from abside_agent.watch.begin import FastWatch

log = Log("abside.agent")
SETTLE_SECONDS = 0.1  # a plain directory must read alike twice, this far apart: an editor may be in mid-write
SETTLE_READINGS = 20  # then it is taken as it is: a file written for ever must not stop the others
BEAT_SECONDS = 10.0  # how often the snapshot's time of change is renewed: who reads it sees that somebody looks
RETRY_FIRST_SECONDS = 5.0  # a child may die of a starved node and not of the documents, so try again
RETRY_LONGEST_SECONDS = 1800.0  # if it is the documents, each try costs `compile_cpu_seconds`


def main(settings: AgentSettings) -> int:
    """Run the agent until SIGTERM or SIGINT, or once. Give the exit code."""
    setup("agent", settings.log_level)
    mounts = mount_points(MOUNTS.read_text()) if MOUNTS.exists() else frozenset()
    source = Mounted(settings.config, settings.paused, mounts)
    try:
        watch = _fast_watch(settings, source)
    except ValueError as exc:
        log.error("cannot_start", reason=str(exc))
        return 1
    stop = Event()

    def end(*_: object) -> None:
        stop.set()
        if watch is not None:
            watch.news.ring()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    agent = Agent(settings, source, stop)
    if settings.once:
        agent.turn()
        return 0 if agent.is_clean else 1
    waits: Hints | FastWatch  # first watch, then read: nothing falls in between
    if watch is not None:
        # No hints besides: what the volume brings has been under way for a minute.
        waits = watch
        watch.start()
    else:
        waits = Hints((*settings.config, *settings.paused), stop)
    log.info(
        "following", config=" ".join(settings.config), paused=" ".join(settings.paused), snapshot=settings.snapshot
    )
    try:
        while not stop.is_set():
            if agent.turn():
                give_back()
            waits.wait(settings.poll_seconds)
    finally:
        waits.close()
    log.info("stopped")
    return 0


def _fast_watch(settings: AgentSettings, source: Mounted) -> FastWatch | None:
    """Make the watches that are asked for. Raises ValueError for settings that do not go together."""
    if settings.fast_watch is None and not settings.fast_watch_config:
        return None
    from abside_agent.watch.begin import FastWatch, names_watched  # noqa: PLC0415 a megabyte the others do without

    names_watched(settings)
    return None if settings.once else FastWatch(settings, source)


@dataclass(slots=True)
class Agent:
    """What one agent remembers between two turns: what it last read, and what it last published."""

    settings: AgentSettings
    source: Mounted
    stop: Event
    clock_us: Callable[[], int] = now_us
    steady: Callable[[], float] = time.monotonic
    is_clean: bool = False  # the last turn rejected nothing, and its snapshot is in force
    _digest: bytes = b""
    _last: bytes = b""
    _ahead: EarlyPauses = field(init=False)
    _came: Reading | None = None  # the pauses that came while the documents were read and compiled
    _pending: bytes = b""  # to be written; it stays here while the disk refuses it
    _summary: dict[str, object] = field(default_factory=dict)  # what is said once it is written
    _said: ReportedProblems = field(default_factory=ReportedProblems)
    _backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_FIRST_SECONDS, RETRY_LONGEST_SECONDS))
    _retry_at: float | None = None
    _beat_at: float = -math.inf

    def __post_init__(self) -> None:
        try:
            self._last = read_published(self._path)
        except FileRefusedError as exc:
            log.warning("last_snapshot_unreadable", why=exc.strerror, then="going on without it")
        self._ahead = EarlyPauses(self.source.read_pauses)
        if removed := remove_leftovers(self._path):
            log.info("leftovers_removed", files=removed)

    @property
    def _path(self) -> Path:
        return Path(self.settings.snapshot)

    def turn(self) -> bool:
        """Look once, act when there is something new, and say whether there was."""
        reading = self._settled()
        packed = reading.pack()
        digest = digest_of(packed)
        is_new = digest != self._digest or (self._retry_at is not None and self.steady() >= self._retry_at)
        if is_new:
            self._digest, self._retry_at, self._came = digest, None, None
            self._pause_first(self._ahead.due(reading, is_certain=True))
            self._compile(packed)
        elif self._last and not self._pending and not self._path.exists():
            log.warning("snapshot_vanished", then="written again")
            self._pending = self._last
        if self._pending:
            self._publish()
        self._beat()
        return is_new

    def _beat(self) -> None:
        """Touch the snapshot, unless something waits to be written: its readers cannot see a hung agent otherwise."""
        if self._last and not self._pending and self.steady() >= self._beat_at:
            with suppress(OSError):
                os.utime(self._path)
                self._beat_at = self.steady() + BEAT_SECONDS

    def _settled(self) -> Reading:
        """Read until a new state stands still; a ConfigMap is swapped whole and is taken at once. Pauses never wait."""
        reading = self.source.read()
        for _ in range(SETTLE_READINGS):
            if digest_of(reading.pack()) == self._digest or self.source.is_atomic:
                break
            if due := self._ahead.due(reading, is_certain=False):
                self._digest = b""  # what only pauses is made exact by the turn that reads something certain
                self._pause_first(due)
            if self.stop.wait(SETTLE_SECONDS):
                break
            again = self.source.read()
            if again == reading:
                break
            reading = again
        return reading

    def _pause_first(self, due: Reading | None) -> None:
        """Put pauses over what is in force at once: documents may take a minute, a pause must not."""
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
        """Put pauses over a snapshot; in a child where it is large. Raises ChildError."""
        if len(snapshot) <= MAX_QUICK_BYTES:
            return over(snapshot, due, self.clock_us())
        settings = self.settings
        limits = (settings.compile_cpu_seconds, settings.compile_memory)
        order = Order(due.pack(), snapshot, self.clock_us(), *limits, only_pauses=True)
        outcome = run(order, settings.compile_seconds, self.stop)
        return outcome.snapshot, outcome.revision

    def _meanwhile(self) -> None:
        """Look for pauses while a child compiles. Raises PauseFirstError where one takes a child too."""
        self._beat()
        due = None if self.settings.once else self._ahead.look()
        if due is None:
            return
        self._digest, self._came = b"", due  # the next turn compiles with it
        if len(self._last) > MAX_QUICK_BYTES:
            raise PauseFirstError
        self._pause_first(due)

    def _compile(self, packed: bytes) -> None:
        """Have a reading settled; where that fails, only its pauses over what is in force, and again later."""
        try:
            outcome = self._settle(packed)
        except PauseFirstError:
            self._pause_first(self._came)
            return
        if outcome is None:
            return
        self.is_clean = bool(outcome.revision) and not outcome.is_degraded
        self._pending = outcome.snapshot
        self._say(outcome)
        if self._came is not None and self._pending:
            self._pause_outcome(self._came)

    def _pause_outcome(self, came: Reading) -> None:
        """Put the pauses that came meanwhile over what the child made without them."""
        try:
            laid, revision = self._over(self._pending, came)
        except ChildError as exc:
            log.error("pause_waits", why=str(exc), then="what is in force stays, with its pauses")
            self._pending = b""
            return
        if laid:
            self._pending, self._summary["revision"] = laid, revision

    def _settle(self, packed: bytes) -> ChildReply | None:
        """Have a reading settled by children; None where none answered. Raises PauseFirstError."""
        try:
            outcome = self._run(packed, None)
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
        return outcome

    def _run(self, packed: bytes, unread: Problem | None) -> ChildReply:
        settings = self.settings
        limits = (settings.compile_cpu_seconds, settings.compile_memory)
        order = Order(packed, self._last, self.clock_us(), *limits, unread)
        return run(order, settings.compile_seconds, self.stop, meanwhile=self._meanwhile)

    def _publish(self) -> None:
        """Write what is pending; where the disk refuses, every turn tries again and one line says so."""
        try:
            publish(self._path, self._pending)
        except OSError as exc:
            self.is_clean = False
            self._said.once("not_published", why=str(exc), then="the last good stays in force")
            return
        self._last, self._pending = self._pending, b""
        log.info("published", **self._summary)
        self._said.forget("not_published")

    def _say(self, outcome: ChildReply) -> None:
        """Log what came of a reading, and keep what is said once it is in force."""
        self._said.outcome(outcome)
        self._summary = {"revision": outcome.revision, "degraded": outcome.is_degraded, **outcome.counts}
        self._summary["problems"] = len(outcome.problems)
        if not outcome.revision:
            log.warning("nothing_published", problems=len(outcome.problems))
        elif self.settings.once and not outcome.snapshot:
            log.info("unchanged", **self._summary)
