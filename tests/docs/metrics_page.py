"""docs/metrics.md, put together: every family of every process, from the code that a scrape runs."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from abside.collector.consume.gather import TakenCounts
from abside.collector.consume.status import ConsumeStatus
from abside.collector.consume.totals import ConsumeTotals
from abside.collector.keep.archive import Archive
from abside.collector.keep.archiving import Archiving
from abside.collector.keep.group import Grouper
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import Writer
from abside.collector.metrics import CollectorMetrics
from abside.collector.receive.intake import Intake
from abside.collector.status import CollectorParts
from abside.collector.store.place import open_place
from abside.scrape.own import own_figures
from abside.serve.bounds import Bounds
from abside.serve.listener import Listener
from abside.sidecar.app import Sidecar
from abside.sidecar.record.accounts import ArmCount
from abside.sidecar.settings import SidecarSettings
from abside.snapshot import BASIS_POINTS, Experiment, Placement, Variant, assemble, encode
from abside.supervise import Supervisor
from abside_agent.admission.metrics import AdmissionMetrics, ReviewCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
INTRODUCTION = """\
# Metrics

What Prometheus finds at `/metrics` of each process. The tables are made from the code: the words are those of the
`# HELP` lines. Counts are since the start of the process. Content is at most a second old.

Nothing here is by shopper. The sidecar names experiments only with `--metric-experiments`: 10,000 pods with 300 series
each are too much for most servers. An idle one that sends to a collector has {series} series.
"""
CERTIFICATE: Any = SimpleNamespace(not_after=0, problem=None)
SECTIONS = {
    "sidecar": "At `--admin`, `:7601`.",
    "collector": "At `--listen`, `:7700`, without the token, and beyond its bound on requests too. `/readyz` is 503\n"
    "with the reason while batches are not taken: a write failed less than 30 s ago, or it is about to end.",
    "collector from Kafka": "At `--listen`, `:7700`.",
    "admission": "At `--listen`, `:8443`, by HTTPS.",
    "every process": "Where there is a `/proc`; the version everywhere.",
}


def page() -> str:
    """Return docs/metrics.md as the code defines it; `python tests/docs/test_metrics_page.py` writes it."""
    found = asyncio.run(families())
    lines = INTRODUCTION.format(series=series(found)).splitlines()
    for section, words in SECTIONS.items():
        lines += ["", f"## {section[0].upper()}{section[1:]}", words, "", "| metric | type | is |", "|---|---|---|"]
        lines += [_row(one) for one in found[section]]
    return "\n".join(lines) + "\n"


async def families() -> dict[str, list[Metric]]:
    """Return the families of each process, each once."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        sidecar = [one for kind in ("http", "kafka") for one in await _sidecar(directory / kind, kind)]
        return {
            "sidecar": list({one.name: one for one in sidecar}.values()),
            "collector": _collector(directory),
            "collector from Kafka": _kafka_collector(),
            "admission": list(AdmissionMetrics(ReviewCounts(), Listener({}, Bounds()), CERTIFICATE).collect()),
            "every process": list(own_figures()),
        }


def series(found: dict[str, list[Metric]]) -> int:
    """Count the series of a sidecar that ships over HTTP and names no experiment."""
    optional = ("abside_upstream_kafka", "abside_exposures")
    alone = [one for one in found["sidecar"] if not one.name.startswith(optional)]
    return sum(len(one.samples) for one in (*alone, *found["every process"]))


def samples_of(found: Iterable[Metric]) -> Iterator[str]:
    """Yield the names of samples, as an alert has them."""
    for one in found:
        yield from {
            "counter": [f"{one.name}_total"],
            "info": [f"{one.name}_info"],
            "summary": [f"{one.name}_count", f"{one.name}_sum"],
            "histogram": [f"{one.name}_bucket", f"{one.name}_count", f"{one.name}_sum"],
        }.get(one.type, [one.name])


def _row(one: Metric) -> str:
    shown = {"counter": "_total", "info": "_info"}.get(one.type, "")
    labels = dict.fromkeys(getattr(one, "_labelnames", ()))  # also of a family that has no sample yet
    labels |= dict.fromkeys(label for sample in one.samples for label in sample.labels if label != "le")
    by = f"{{{', '.join(labels)}}}" if labels else ""
    return f"| `{one.name}{shown}{by}` | {one.type} | {one.documentation} |"


async def _sidecar(directory: Path, kind: str) -> list[Metric]:
    upstream = {"http": "http://127.0.0.1:1", "kafka": "kafka://127.0.0.1:1/events"}[kind]
    directory.mkdir()
    whole = (Variant("control", 0, BASIS_POINTS),)
    placement = Placement("pdp", {"n": 1})
    experiment = Experiment("e", "E", "H", "draft", ("pdp",), whole, "control")
    snapshot = directory / "snapshot"
    snapshot.write_bytes(encode(assemble({}, [placement, experiment], written_at_us=1)))
    settings = SidecarSettings(snapshot, directory / "spool", upstream=upstream, metric_experiments=True)
    doors = replace(settings, listen=("127.0.0.1:0",), admin="127.0.0.1:0")
    sidecar = Sidecar.build(replace(doors, linger_seconds=0.0, drain_seconds=0.0))
    await sidecar.start()
    sidecar.context.cell.beat_us = 1
    sidecar.context.journal.accounts.arms["e", "control"] = ArmCount()
    found = list(sidecar.metrics.collect())
    await sidecar.drain()
    return found


def _collector(directory: Path) -> list[Metric]:
    with closing(Writer.open(directory / "store", known_since=date.min)) as writer:
        grouper = Grouper(writer, seconds=0.0, limit_bytes=1)
        intake = Intake(grouper, int, token=None, max_batch_bytes=1, max_pending_bytes=1, body_seconds=1.0)
        upkeep = Upkeep(writer, int, known_days=7, keep_days=None)
        archiving = Archiving(Archive(directory / "store", open_place(str(directory / "archive"))))
        parts = CollectorParts(writer, grouper, intake, upkeep, archiving, Supervisor(print), None, CERTIFICATE)
        found = list(CollectorMetrics(parts, Listener({}, Bounds()), int).collect())
        grouper.close()
        intake.close()
        return found


def _kafka_collector() -> list[Metric]:
    status = ConsumeStatus()
    totals = ConsumeTotals(taken=TakenCounts())
    held = {0: SimpleNamespace(lag=0, problem=None)}
    loop: Any = SimpleNamespace(totals=totals, held=held, size=0, store_problem=None, is_full=False)
    watch: Any = SimpleNamespace(problem=None)
    status.watch(loop, watch)
    return list(status.collect())
