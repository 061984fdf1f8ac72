"""The collector's own state: `/livez` for the kubelet, `/v1/status` for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from abside.serve.answer import Response

if TYPE_CHECKING:
    from aiohttp import web

    from abside.collector.keep.archiving import Archiving
    from abside.collector.keep.group import Grouper
    from abside.collector.keep.upkeep import Upkeep
    from abside.collector.keep.writer import Writer
    from abside.collector.receive.intake import Intake
    from abside.collector.receive.token import Token
    from abside.supervise import Supervisor


class CollectorStatus:
    """Reads the figures where they are kept; counts are since start."""

    def __init__(
        self,
        writer: Writer,
        grouper: Grouper,
        intake: Intake,
        upkeep: Upkeep,
        archiving: Archiving | None,
        supervisor: Supervisor,
        token: Token | None,
    ) -> None:
        self._writer = writer
        self._grouper = grouper
        self._intake = intake
        self._upkeep = upkeep
        self._archiving = archiving
        self._supervisor = supervisor
        self._token = token

    def get(self, request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/v1/status`. Raises Refusal 401 where a token is asked for."""
        self._intake.check_sender(request)
        counts = self._intake.counts
        errors = {
            "store": self._grouper.last_error,
            "upkeep": self._upkeep.last_error,
            "clock": self._upkeep.clock_problem,
            "archive": self._archive_problem(),
            "token": self._token.problem if self._token else None,
            **self._supervisor.degraded,
        }
        body: dict[str, Any] = {
            "files": self._grouper.files,
            "rows": self._grouper.rows,
            "batches": counts.stored,
            "events": counts.events,
            "duplicates": counts.duplicates,
            "refused": dict(counts.refused),
            "known_batches": self._writer.known_ids,
            "pending_bytes": self._intake.pending.used_bytes,
            "errors": {name: error for name, error in errors.items() if error},
        }
        if self._archiving:
            archive = self._archiving.archive
            body["archive"] = {
                "place": archive.place.shown,
                "files": archive.files,
                "bytes": archive.bytes,
                "files_waiting": archive.waiting,
                "days_kept_longer": self._upkeep.kept_days,
            }
        return Response(200, orjson.dumps(body))

    def _archive_problem(self) -> str | None:
        if self._archiving is None or self._archiving.problem is None:
            return None
        kept = f"; {self._upkeep.kept_days} days beyond --keep-days stay until it has them"
        return f"{self._archiving.problem}{kept if self._upkeep.kept_days else ''}"


def alive(_request: web.BaseRequest, _: bytes) -> Response:
    """Answer `/livez`: the loop runs."""
    return Response(200, b'{"status":"alive"}')
