"""Reports that could not be sent: they wait, a bounded number of them, with their ids and times, until they can be."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abside.client.message import EVENTS, EXPOSURES, TRACK, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from abside.client.message import EventCall

MAX_WAITING = 1_000  # reports of a process, unless the caller says otherwise: some 300 KB
MAX_WAITING_BYTES = 4 * 2**20  # of their JSON, whatever their number: one event may have 64 KiB
BATCH_BYTES = 48 * 1024  # a list below 64 KiB is the sidecar's work of one moment
BATCH_REPORTS = 500  # half of what a request may carry


@dataclass(frozen=True, slots=True)
class UnsentReport:
    """One report: where it goes, and its body as JSON."""

    path: str
    body: bytes
    joins: bool  # may be one of a list


@dataclass(frozen=True, slots=True)
class UnsentBatch:
    """What one request carries: one report, or a list of several."""

    reports: tuple[UnsentReport, ...]

    @property
    def path(self) -> str:
        """Return where it goes."""
        return self.reports[0].path

    @property
    def body(self) -> bytes:
        """Return the request's body."""
        if len(self.reports) == 1:
            return self.reports[0].body
        return b"[" + b",".join(one.body for one in self.reports) + b"]"


class Unsent:
    """The reports that wait. Thread-safe. `most` bounds their number; 0 keeps none. `wall` returns µs UTC.

    What finds no room is not taken, so that what was promised to wait stays. A taken batch is part of the number until
    it was accepted or refused.
    """

    def __init__(self, most: int, wall: Callable[[], int]) -> None:
        if most < 0:
            raise ValueError(f"max_waiting is {most}: write 0 to keep nothing, or how many reports may wait")
        self._most = most
        self._wall = wall
        self._lock = threading.RLock()  # a signal handler may call within a call
        self._reports: deque[UnsentReport] = deque()
        self._bytes = 0
        self._alone = 0  # so many of the first go one by one: the sidecar refused them as a list, and named none
        self.waiting = self.sent = self.dropped = self.refused = 0

    def keep(self, report: EventCall) -> bool:
        """Keep a report; false where there is no room, or none may wait."""
        if not self._most:
            return False
        one = _as_sent(report, self._wall())
        with self._lock:
            if self.waiting >= self._most or self._bytes + len(one.body) > MAX_WAITING_BYTES:
                self.dropped += 1
                return False
            self._reports.append(one)
            self.waiting += 1
            self._bytes += len(one.body)
            return True

    def take(self) -> UnsentBatch | None:
        """Remove and return the first that one request may carry; pass it to one of the three methods below."""
        with self._lock:
            taken: list[UnsentReport] = []
            size = 0
            while self._reports and len(taken) < BATCH_REPORTS:
                one = self._reports[0]
                if taken and not (one.joins and one.path == taken[0].path and size + len(one.body) <= BATCH_BYTES):
                    break
                taken.append(self._reports.popleft())
                size += len(one.body)
                if not one.joins or self._alone:
                    self._alone = max(0, self._alone - 1)
                    break
            return UnsentBatch(tuple(taken)) if taken else None

    def accepted(self, batch: UnsentBatch) -> None:
        """Count what was accepted."""
        with self._lock:
            self.sent += len(batch.reports)
            self._leave(batch.reports)

    def put_back(self, batch: UnsentBatch) -> None:
        """Keep what was not accepted, in its place."""
        with self._lock:
            self._reports.extendleft(reversed(batch.reports))

    def not_accepted(self, batch: UnsentBatch, index: int | None) -> None:
        """Drop the one that the sidecar named and put back the others; where it named none, those go one by one."""
        reports = list(batch.reports)
        with self._lock:
            if len(reports) == 1 or (index is not None and 0 <= index < len(reports)):
                self.refused += 1
                self._leave([reports.pop(index if len(reports) > 1 and index is not None else 0)])
            else:
                self._alone = len(reports)
            self._reports.extendleft(reversed(reports))

    def _leave(self, reports: Iterable[UnsentReport]) -> None:
        for one in reports:
            self.waiting -= 1
            self._bytes -= len(one.body)


def _as_sent(report: EventCall, now_us: int) -> UnsentReport:
    """Return a report with the time it is of: by then it is later. An exposure's token has no time of its own."""
    body: Any = report.body
    joins = False
    if report.path == EVENTS:
        body, joins = {"ts": now_us, **body}, True
    elif report.path == EXPOSURES:
        joins = type(body["exposure_token"]) is str
    elif report.path == TRACK and not body["event"].startswith("$"):
        body = {**body, "attributes": {"ts": now_us, **body["attributes"]}}
    return UnsentReport(report.path, encode(body), joins)
