"""What one process decides with: the sidecar's own handlers, a snapshot that calls follow, a spool of its own."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from abside.event import EventIds
from abside.local.fixed import FixedAnswers
from abside.local.following import Following
from abside.local.plain import plain_decision
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell, caches
from abside.sidecar.decide import handlers, intake
from abside.sidecar.decide.ofrep import evaluation
from abside.sidecar.decide.request import Rules, read_assign
from abside.sidecar.decide.track import track
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.spool.errors import SpoolFailed
from abside.spool.write.process import ProcessSpool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from abside.assignment.unit import UnitId
    from abside.local.fixed import FixedAnswer
    from abside.spool.write.writer import Spool

MAX_ASSIGN_BYTES = 64 * 1024  # as the sidecar takes by default
MAX_EVENTS_BYTES = 4 * 2**20
REPORTS: dict[str, tuple[Callable[[handlers.HandlerContext, bytes], bytes], int]] = {
    "/v1/events": (intake.events, MAX_EVENTS_BYTES),
    "/v1/exposures": (intake.exposures, MAX_EVENTS_BYTES),
    "/v1/track": (track, MAX_ASSIGN_BYTES),
}


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What a process decides by. `source`: pod, app, version, namespace and cluster."""

    snapshot: Path
    spool: Path
    rules: Rules
    source: Mapping[str, str]
    clock: Callable[[], int]  # µs UTC
    seal_seconds: float
    assigned: Callable[[str, str, int], Any]  # makes what an answer shows of experiment, variant, phase


class Deciding:
    """The state of one process, for all its threads; a forked child makes its own from its parent's.

    Nothing here waits but for one write, and there is no thread: what has to be done is done by calls.
    """

    def __init__(self, settings: LocalSettings, parent: Deciding | None = None) -> None:
        self._settings = settings
        self.lock = threading.RLock()
        self._fixed = FixedAnswers(settings.assigned)
        self.cell = Cell()
        self.following = Following(settings.snapshot, self.cell, settings.clock, self._applied)
        if parent is not None and parent.cell.current is not None:
            self.following.go_on_from(parent.following)
            self.cell.current = parent.cell.current
        self._begin()
        self.obstacle = self.spool.obstacle()  # without exposures an answer is no experiment's
        self.exposed = 0  # answers of `plain` with variants: nobody else counts them
        self.plain = plain_decision(self, self._fixed, settings.rules, settings.clock)
        self.following.look(settings.clock(), whole=True)

    def _begin(self) -> None:
        """Begin a folder, ids and accounts, and no answer that was prepared for other accounts."""
        settings, boot = self._settings, secrets.token_hex(8)
        self.accounts = Accounts(boot, settings.source)
        self.spool = ProcessSpool(settings.spool, boot, settings.clock, settings.seal_seconds)
        # A process's spool has that part of a spool which a journal uses.
        journal = Journal(cast("Spool", self.spool), self.accounts, EventIds(boot), settings.clock)
        # What ran when is told by the sidecar beside it; here only the configurations that nobody else serves.
        self._configs = Configs(journal, settings.source)
        self._context = handlers.HandlerContext(self.cell, journal, self._configs, settings.rules, settings.clock)
        self.writing: tuple[handlers.HandlerContext, Callable[[bytes], None]]
        self.writing = self._context, self.spool.append_one
        self._fixed.known.clear()
        current = self.cell.current
        if current is not None:
            self.cell.current = replace(current, caches=caches(current.revision, current.plans))

    def decide(self, fields: dict[str, Any]) -> tuple[FixedAnswer, str | None, UnitId | None]:
        """Decide at one placement and log the exposure; `fields` are those of a plain request, of JSON's types.

        Return the answer's fixed part, the id of its exposure, and the unit to pin. Raises Refusal, SpoolFailed.
        """
        with self.lock:
            self._look()
            with self._context.journal.batch() as batch:  # its own: a signal handler may ask within a decision
                request = read_assign(fields, self._settings.rules)
                cache, prepared, field, subject = handlers.decide_one(self._context, batch, request)
            fixed = self._fixed.known.get(prepared) or self._fixed.made(prepared, cache)
            exposure_id = field[16:-1].decode() if prepared.arms else None
            return fixed, exposure_id, subject.unit if cache.pinnable else None

    def assign(self, body: bytes) -> bytes:
        """Answer a body of `POST /v1/assign` as the sidecar does. Raises Refusal."""
        _check_size(body, MAX_ASSIGN_BYTES)
        with self.lock:
            self._look()
            return handlers.assign(self._context, body)

    def evaluate(self, key: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of one evaluated flag, as the sidecar answers it."""
        _check_size(body, MAX_ASSIGN_BYTES)
        with self.lock:
            self._look()
            with self._context.journal.batch() as batch:
                answer = evaluation(self._context, batch, expose=True)(key, body)
            return (200, answer) if isinstance(answer, bytes) else (answer.status, answer.body)

    def report(self, path: str, body: bytes) -> None:
        """Take a body of a route that reports something, as the sidecar does. Raises Refusal."""
        take, most = REPORTS[path]
        _check_size(body, most)
        with self.lock:
            self._look()
            take(self._context, body)

    def close(self) -> None:
        """Leave what was written to the sidecar, with the last account; a call that waits meanwhile begins anew."""
        with self.lock:
            self._context.journal.ending = True
            self.spool.close()
            self._begin()

    def look(self, now_us: int) -> None:
        """Do what is due at this time (µs UTC): follow the snapshot, seal what is old, see whether there is a spool."""
        self.following.look(now_us)
        self.spool.look(now_us)  # first: it leaves a folder that somebody removed
        self.obstacle = self.spool.obstacle()

    def _look(self) -> None:
        now_us, following = self._settings.clock(), self.following
        if not following.from_us <= now_us < following.until_us:
            self.look(now_us)
        if self.obstacle:
            raise SpoolFailed("write to", self._settings.spool, self.obstacle)

    def _applied(self, _current: object) -> None:
        self._fixed.known.clear()
        self._configs.allow_more()


def _check_size(body: bytes, most: int) -> None:
    if len(body) > most:
        raise Refusal(413, "TOO_LARGE", f"the body has {len(body):,} bytes; at most {most:,} are taken")
