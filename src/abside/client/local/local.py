"""Decisions in this process: microseconds, with the exposure on disk before the answer."""

from __future__ import annotations

import logging
import os
import platform
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from abside.assignment.unit import SHARED_IDS, nobody
from abside.client.away.posting import wall_us
from abside.client.away.unsent import MAX_WAITING
from abside.client.calls import Calls, check_deadline
from abside.client.local.process import OURS, LocalProcess, failure, is_plain
from abside.client.message import DecisionCall, encode, read_answers, read_flag
from abside.client.result import ACCEPTED, Assigned, Assignment, Flag, Receipt, Refused, Stats, assignment
from abside.client.strictness import check_fallbacks
from abside.client.values import ID_TYPES
from abside.local.deciding import LocalSettings
from abside.sidecar.decide.request import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from abside.client.message import EventCall, FlagCall
    from abside.client.result import Unit
    from abside.client.visit import Id, Visit

SNAPSHOT = "/run/abside/abside.snapshot"  # where the manifests have them
SPOOL = "/var/spool/abside"
SEAL_SECONDS = 5.0

log = logging.getLogger("abside.client")


class Local(Calls[Assignment, dict[str, Assignment], Receipt, Flag]):
    """The calls of `Client`, decided in this process. One for the whole process, shared by its threads; a forked child
    may go on using it. No call waits but for one write to a file; `deadline_seconds` has nothing to bound here.

    `snapshot` is the file that the agent publishes, `spool` the sidecar's directory: both are mounted into this
    container, the spool for writing (docs/local.md). The sidecar ships what is written there. Where one of them cannot
    be used, that is logged, and calls are answered by fallbacks; `problem` says why. Such a process stays able to
    decide as soon as they can. `shared_ids` adds ids that mean nobody, as the sidecar's setting does; `pod` (the host's
    name where it is empty), `app`, `version`, `namespace` and `cluster` are the sidecar's too, and go into accounts.

    Close it at the end of the process: the sidecar then takes the last events at once, and else within seconds.
    """  # noqa: D205 where it belongs is the first thing to know

    def __init__(
        self,
        snapshot: str | Path = SNAPSHOT,
        spool: str | Path = SPOOL,
        *,
        strict: bool = False,
        max_waiting: int = MAX_WAITING,
        shared_ids: Iterable[str] = (),
        allow_force: bool = False,
        pod: str = "",
        app: str = "",
        version: str = "",
        namespace: str = "",
        cluster: str = "",
        seal_seconds: float = SEAL_SECONDS,
        wall: Callable[[], int] = wall_us,
    ) -> None:
        ids = (shared_ids,) if isinstance(shared_ids, str) else tuple(shared_ids)
        self._made_with = {"snapshot": snapshot, "spool": spool, "strict": strict, "max_waiting": max_waiting}
        self._made_with |= {"shared_ids": ids, "allow_force": allow_force, "pod": pod, "app": app, "version": version}
        self._made_with |= {"namespace": namespace, "cluster": cluster, "seal_seconds": seal_seconds, "wall": wall}
        source = {
            "pod": pod or platform.node(),
            "app": app,
            "version": version,
            "namespace": namespace,
            "cluster": cluster,
        }
        rules = Rules(shared_ids=SHARED_IDS | nobody(ids), allow_force=allow_force)
        self._settings = LocalSettings(Path(snapshot), Path(spool), rules, source, wall, seal_seconds, Assigned)
        self._strict = strict
        self._wall = wall
        self._max_waiting = max_waiting
        self._process = LocalProcess(self._settings, None, max_waiting)
        self._turns: dict[int, threading.RLock] = {}  # of a forked child, in which to take its parent's place
        if self.problem:
            log.error("local cannot work: %s", self.problem)

    @property
    def stats(self) -> Stats:
        """The counts since the client was made, or since this process was forked."""
        here = self._here()
        stats = here.fallbacks.stats()
        return replace(stats, answered=stats.answered + here.deciding.exposed)

    @property
    def lost(self) -> int:
        """How many exposures of answers found no room on disk; the sidecar's accounts tell the analyst."""
        return self._here().deciding.accounts.lost["exposure"]

    @property
    def problem(self) -> str:
        """Why calls are answered by fallbacks now; empty while they are decided."""
        here = self._here()
        unusable = here.deciding.spool.obstacle()
        if unusable:
            return f"{unusable} (docs/local.md)"
        if here.deciding.cell.current is None:
            why = here.deciding.cell.refusal or "there is no such file"
            return f"no snapshot at {self._settings.snapshot} ({why}): mount the agent's volume (docs/local.md)"
        return ""

    def close(self) -> None:
        """Leave what was written to the sidecar. The client may be used again."""
        here = self._here()
        here.tell()
        here.deciding.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def assign(
        self,
        placement: str,
        *,
        user_id: Id | None = None,
        session_id: Id | None = None,
        visit: Visit | None = None,
        attributes: Mapping[str, Any] | None = None,
        fallback: Mapping[str, Any] | None = None,
        expose: bool = True,
        pinned_unit: Unit | None = None,
        bot: bool = False,
        force: Mapping[str, str] | None = None,
        deadline_seconds: float | None = None,
    ) -> Assignment:
        """Decide at one placement, as `Client.assign` asks for it."""
        if (
            visit is None
            and expose is True
            and pinned_unit is None
            and bot is False
            and force is None
            and type(placement) is str
            and type(user_id) in ID_TYPES
            and type(session_id) in ID_TYPES
            and (attributes is None or is_plain(attributes))
            and (fallback is None or type(fallback) is dict)
        ):
            if deadline_seconds is not None:
                check_deadline(deadline_seconds)
            here = self._process if self._process.pid == os.getpid() else self._here()
            given = {} if attributes is None else attributes
            try:
                decided = here.deciding.plain(placement, user_id, session_id, given)
                fixed, exposure_id, unit = decided or here.deciding.decide(
                    {"placement": placement, "user_id": user_id, "session_id": session_id, "attributes": given}
                )
            except OURS as exc:
                failed = failure(exc)
                if self._strict and isinstance(failed, Refused):
                    raise failed from None
                fields = {"user_id": user_id, "session_id": session_id}
                call = DecisionCall((placement,), False, fields, {} if fallback is None else {placement: fallback})
                return here.fallbacks.fall_back(call, failed)[placement]
            answer = assignment(
                placement,
                orjson.loads(fixed.config) if fixed.flat is None else fixed.flat.copy(),
                fixed.config_id,
                fixed.assigned,
                exposure_id,
                None,
                None if unit is None else {"type": unit[0], "id": unit[1]},
                fixed.revision,
            )
            if decided is None or not fixed.assigned:
                here.fallbacks.seen((answer,))
            here.tell_if_due()
            if self._strict and fallback is not None:
                check_fallbacks({placement: fallback}, {placement: answer})
            return answer
        return super().assign(
            placement,
            user_id=user_id,
            session_id=session_id,
            visit=visit,
            attributes=attributes,
            fallback=fallback,
            expose=expose,
            pinned_unit=pinned_unit,
            bot=bot,
            force=force,
            deadline_seconds=deadline_seconds,
        )

    def _left_out(self, name: str, reason: str) -> None:
        self._here().fallbacks.left_out(name, reason)

    def _one(self, call: DecisionCall) -> Assignment:
        return self._many(call)[call.placements[0]]

    def _many(self, call: DecisionCall) -> dict[str, Assignment]:
        here = self._here()
        try:
            answers = read_answers(call, 200, here.deciding.assign(encode(call.fields)))
        except OURS as exc:
            failed = failure(exc)
            if self._strict and isinstance(failed, Refused):
                raise failed from None
            return here.fallbacks.fall_back(call, failed)
        for answer in answers.values():
            here.saw(answer)
        if self._strict and call.fallbacks:
            check_fallbacks(call.fallbacks, answers)
        if call.visit is not None:
            for answer in answers.values():
                call.visit.saw(answer)
        return answers

    def _report(self, report: EventCall) -> Receipt:
        here = self._here()
        try:
            here.deciding.report(report.path, encode(report.body))
        except OURS as exc:
            failed = failure(exc)
            if self._strict and isinstance(failed, Refused):
                raise failed from None
            return here.fallbacks.not_taken(report, failed)
        here.tell_if_due()
        return ACCEPTED

    def _flag(self, call: FlagCall) -> Flag:
        here = self._here()
        try:
            return read_flag(call.key, *here.deciding.evaluate(call.key, encode({"context": call.context})))
        except OURS as exc:
            failed = failure(exc)
            if self._strict and isinstance(failed, Refused):
                raise failed from None
            here.fallbacks.fall_back(call.as_decision, failed)
            return Flag(call.key, None, reason="ERROR", why=failed.why)

    def _here(self) -> LocalProcess:
        here, pid = self._process, os.getpid()
        if here.pid == pid:
            return here
        # Several threads of the child may come here at once. No lock of the parent's: a fork may find it held for ever.
        with self._turns.setdefault(pid, threading.RLock()):
            parent = self._process
            if parent.pid != pid:
                self._process = LocalProcess(self._settings, parent, self._max_waiting)
                self._turns.pop(parent.pid, None)  # the system may use the number for another process later
            return self._process
