"""What a Kafka collector answers over HTTP: whether it is alive and ready, its figures, and the same as metrics."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from abside.log import Log
from abside.scrape.families import counter, counters, gauge, gauges
from abside.serve.answer import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web
    from prometheus_client.core import Metric

    from abside.collector.consume.loop import ConsumeLoop
    from abside.collector.consume.topic import TopicWatch

log = Log("abside.collector.consume.status")
STUCK_SECONDS = 120.0  # beyond every wait of the loop: a revocation of 10 s, and a drain
CONNECTION_SECONDS = 30.0  # how long an error of a connection is shown; it comes again while it lasts
COUNTERS = {
    "files": "Files written.",
    "rows": "Rows written.",
    "fenced": "Groups thrown away because another owner had written the name.",
    "lost": "Partitions that another owned before this collector knew.",
    "overrun_records": "Records that retention deleted before they were read: a loss.",
    "write_failures": "Tries to write a file that failed; they are repeated.",
}


class ConsumeStatus:
    """Reads the figures where they are kept. The loop runs in another thread, so partitions are copied before use."""

    def __init__(self) -> None:
        self._loop: ConsumeLoop | None = None
        self._watch: TopicWatch | None = None
        self._connection: str | None = None
        self._failed_at = 0.0

    def watch(self, loop: ConsumeLoop, watch: TopicWatch) -> None:
        """Show the figures of these two, which the callbacks of a client that is given to them had to come before."""
        self._loop = loop
        self._watch = watch

    def connection_failed(self, error: Any) -> None:
        """Note an error of the library's connections; it goes on trying, and `errors` forgets it once all is well."""
        if str(error) != self._connection:
            log.error("kafka_connection", reason=str(error), then="tried again")
        self._connection = str(error)
        self._failed_at = monotonic()

    def alive(self, _request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/livez`: 503 where the thread that reads has not come round for two minutes."""
        if self._loop and monotonic() - self._loop.turned > STUCK_SECONDS:
            return Response(503, b'{"status":"stuck"}')
        return Response(200, b'{"status":"alive"}')

    def ready(self, _request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/readyz`: 200 where the group has assigned and everything assigned is read."""
        errors = self.errors()
        if not errors and self._loop and not self._loop.was_assigned:
            errors = {"group": "it has assigned nothing yet"}
        elif not errors and self._loop and not all(held.is_ready() for held in self._loop.held.copy().values()):
            errors = {"partitions": "it is not known yet where some of them begin"}
        return Response(503 if errors else 200, orjson.dumps({"ready": not errors, "errors": errors}))

    def get(self, _request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/v1/status`."""
        body: dict[str, Any] = {"errors": self.errors()}
        if self._loop and self._watch:
            totals = self._loop.totals
            taken = totals.taken
            body |= {name: getattr(totals, name) for name in COUNTERS}
            body |= {
                "topic_id": self._watch.topic_id,
                "events": taken.events,
                "resent": taken.resent,
                "foreign": dict(taken.foreign),
                "refused": taken.refused,
                "gathered_bytes": self._loop.size,
                "lag": {str(number): held.lag for number, held in sorted(self._loop.held.copy().items())},
            }
        return Response(200, orjson.dumps(body))

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield gauge("consumer_errors", "What hinders it now: 0 is good.", len(self.errors()))
        if self._loop is None:
            return
        totals, taken = self._loop.totals, self._loop.totals.taken
        for name, sentence in COUNTERS.items():
            yield counter(f"consumer_{name}", sentence, getattr(totals, name))
        kinds = {"event": taken.events, "resent": taken.resent, "refused": taken.refused}
        kinds |= {f"foreign_{why}": count for why, count in taken.foreign.copy().items()}
        records = (((was,), count) for was, count in kinds.items())
        yield counters("consumer_records", "Records taken, each time they are read.", ["was"], records)
        held = sorted(self._loop.held.copy().items())
        lags = {str(number): one.lag for number, one in held if one.lag is not None}
        yield gauges("consumer_lag", "Offsets behind, as last seen.", "partition", lags)
        yield gauge("consumer_gathered_bytes", "Memory of what is not written yet.", self._loop.size)

    def errors(self) -> dict[str, str]:
        """Return what hinders it now, by name."""
        recent = monotonic() - self._failed_at < CONNECTION_SECONDS
        found = {"connection": self._connection if recent else None}
        if self._loop and self._watch:
            found["store"] = self._loop.store_problem
            found["topic"] = self._watch.problem
            if self._loop.is_full:
                found["memory"] = "full; nothing is read until something is written"
            for number, held in sorted(self._loop.held.copy().items()):
                found[f"partition {number}"] = held.problem
        return {name: problem for name, problem in found.items() if problem}
