"""What a client without a sidecar decides with: the sidecar's own handlers, over a snapshot and a spool in memory."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, cast

from abside.assignment.plan import build_plans
from abside.environ import now_us
from abside.event import EventIds, source_of
from abside.local.deciding import REPORTS
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell, Current, caches, logged_attributes
from abside.sidecar.decide import handlers
from abside.sidecar.decide.ofrep import evaluation
from abside.sidecar.decide.request import Rules
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.testing.shelf import MemorySpool

if TYPE_CHECKING:
    from abside.snapshot import Snapshot
    from abside.spool.write.writer import Spool


class MemoryDeciding:
    """Answers bodies as the sidecar does. For one caller at a time."""

    def __init__(self, snapshot: Snapshot) -> None:
        boot, source = secrets.token_hex(8), source_of(pod="", app="", version="", namespace="", cluster="")
        self.spool = MemorySpool()
        journal = Journal(cast("Spool", self.spool), Accounts(boot, source), EventIds(boot), now_us)
        self._context = handlers.HandlerContext(
            Cell(), journal, Configs(journal, source), Rules(allow_force=True), now_us
        )
        self.apply(snapshot)

    def apply(self, snapshot: Snapshot) -> None:
        """Decide by another snapshot from now on."""
        at_us = now_us()
        plans = build_plans(snapshot, at_us)
        answers = caches(snapshot.head.revision, plans)
        self._context.cell.current = Current(snapshot, plans, at_us, logged_attributes(snapshot), answers)

    def assign(self, body: bytes) -> bytes:
        """Answer a body of `POST /v1/assign`. Raises Refusal."""
        return handlers.assign(self._context, body)

    def report(self, path: str, body: bytes) -> bytes:
        """Take a body of a route that reports something, and return that of its 202. Raises Refusal."""
        return REPORTS[path][0](self._context, body)

    def evaluate(self, key: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of one evaluated flag."""
        with self._context.journal.batch() as batch:
            answer = evaluation(self._context, batch, expose=True)(key, body)
        return (200, answer) if isinstance(answer, bytes) else (answer.status, answer.body)
