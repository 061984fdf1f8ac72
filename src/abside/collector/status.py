"""The collector's own state: `/livez` for the kubelet, `/readyz` for alerts, `/v1/status` for people."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from abside.serve.answer import Response
from abside.serve.certificate import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from abside.collector.keep.archiving import Archiving
    from abside.collector.keep.group import Grouper
    from abside.collector.keep.upkeep import Upkeep
    from abside.collector.keep.writer import Writer
    from abside.collector.receive.intake import Intake
    from abside.collector.receive.token import Token
    from abside.serve.certificate import Certificate
    from abside.supervise import Supervisor

FAILED_SECONDS = 30.0  # an unready collector is sent no batch by which a mended disk would be noticed


@dataclass(frozen=True, slots=True)
class CollectorParts:
    """What a collector is made of; figures are read where they are kept."""

    writer: Writer
    grouper: Grouper
    intake: Intake
    upkeep: Upkeep
    archiving: Archiving | None
    supervisor: Supervisor
    token: Token | None
    certificate: Certificate | None

    def problems(self) -> dict[str, str | None]:
        """Return what is wrong now by where; None where nothing is."""
        return {
            "store": self.grouper.last_error,
            "upkeep": self.upkeep.last_error,
            "clock": self.upkeep.clock_problem,
            "archive": self._archive_problem(),
            "token": self.token.problem if self.token else None,
            "tls": self.certificate.problem if self.certificate else None,
            **self.supervisor.degraded,
        }

    def _archive_problem(self) -> str | None:
        if self.archiving is None or self.archiving.problem is None:
            return None
        kept = f"; {self.upkeep.kept_days} days beyond --keep-days stay until it has them"
        return f"{self.archiving.problem}{kept if self.upkeep.kept_days else ''}"


class CollectorStatus:
    """Answers from the parts of one collector. `monotonic` returns seconds."""

    def __init__(self, parts: CollectorParts, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._monotonic = monotonic

    def ready(self, _request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/readyz`: 503 with the reason while batches are not taken."""
        parts = self._parts
        errors = {}
        if parts.intake.stopping:
            errors["stopping"] = "this collector is about to end"
        failed_at = parts.grouper.failed_at
        if failed_at is not None and self._monotonic() - failed_at < FAILED_SECONDS:
            errors["store"] = str(parts.grouper.last_error)
        if died := parts.supervisor.degraded.get("grouper"):
            errors["grouper"] = died
        return Response(503 if errors else 200, orjson.dumps({"ready": not errors, "errors": errors}))

    def get(self, request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/v1/status`. Raises Refusal 401 where a token is asked for."""
        parts = self._parts
        parts.intake.check_sender(request)
        counts = parts.intake.counts
        body: dict[str, Any] = {
            "files": parts.grouper.files,
            "rows": parts.grouper.rows,
            "batches": counts.stored,
            "events": counts.events,
            "duplicates": counts.duplicates,
            "refused": dict(counts.refused),
            "known_batches": parts.writer.known_ids,
            "pending_bytes": parts.intake.pending.used_bytes,
            "errors": {name: error for name, error in parts.problems().items() if error},
        }
        if parts.certificate:
            body["tls"] = {"not_after": instant(parts.certificate.not_after)}
        if parts.archiving:
            archive = parts.archiving.archive
            body["archive"] = {
                "place": archive.place.shown,
                "files": archive.files,
                "bytes": archive.bytes,
                "files_waiting": archive.waiting,
                "days_kept_longer": parts.upkeep.kept_days,
            }
        return Response(200, orjson.dumps(body))


def alive(_request: web.BaseRequest, _: bytes) -> Response:
    """Answer `/livez`: the loop runs."""
    return Response(200, b'{"status":"alive"}')
