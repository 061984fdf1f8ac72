"""What the kubelet asks, at the pod's address: is the loop alive, may the app start, is a configuration in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from abside.serve.answer import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.sidecar.active.current import Cell


@dataclass(slots=True)
class Health:
    """Start-up fails open: a PM's typo must not block a rollout. `monotonic` returns seconds."""

    cell: Cell
    monotonic: Callable[[], float]
    startup_until: float  # monotonic seconds; from then on start-up is reported done whatever was published
    trouble: Callable[[], str] = str  # why the spool does not get its events on, empty while it does
    draining: bool = False

    @property
    def overdue(self) -> bool:
        """Whether start-up is over and no snapshot was ever in force."""
        return self.cell.current is None and self.monotonic() >= self.startup_until

    def livez(self) -> Response:
        """Answer 200: whoever reads this was answered by the loop."""
        return _answer(200, "alive")

    def startupz(self) -> Response:
        """Answer 200 once a snapshot is in force or the wait for one is over."""
        if self.cell.current is not None:
            return _answer(200, "started")
        if self.overdue:
            return _answer(200, "started without a snapshot: assign answers 503 NOT_READY until one is published")
        return _answer(503, "waiting for the first snapshot")

    def readyz(self) -> Response:
        """Answer 200 while a snapshot is in force, the process is not draining and its spool takes events.

        A full spool is no trouble: decisions go on, and only the upstream can make room.
        """
        if self.draining:
            return _answer(503, "draining")
        if self.cell.current is None:
            return _answer(503, "no snapshot yet")
        if self.trouble():
            return _answer(503, "the spool is in trouble: see /v1/status or the log")
        return _answer(200, "ready")


def _answer(status: int, state: str) -> Response:
    return Response(status, orjson.dumps({"status": state}))
