"""Stores made of hand-written events, by way of the collector's own rows; and the report on them, in this process."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file
from abside.metric import to_json
from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report, build
from abside.report.store.engine import Engine
from abside.report.store.source import open_source
from abside.snapshot import Experiment, Placement, Snapshot, Variant, assemble, encode

OPENED_US = int(datetime(2026, 11, 2, 9, tzinfo=UTC).timestamp()) * 1_000_000
MINUTE_US = 60 * 1_000_000


@dataclass
class Till:
    """Writes events down, a minute apart, and puts them into a store."""

    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def add(self, kind: str, minute: float, **fields: Any) -> dict[str, Any]:
        ts = OPENED_US + int(minute * MINUTE_US)
        event = {"event_id": f"boot-{next(self.numbers):x}", "type": kind, "ts": ts, "seen_ts": ts, **fields}
        event.setdefault("user_id", None)
        event.setdefault("session_id", None)
        self.events.append(event)
        return event

    def by(self, pod: str, ahead_us: int = 0, *, since: int = 0) -> None:
        """Let a pod have sent the events from number `since` on, with a clock that is ahead."""
        for event in self.events[since:]:
            event["~"] = (f"{pod}.{OPENED_US:020d}-{'0' * 16}", event["ts"])
            event["ts"] += ahead_us
            event["seen_ts"] += ahead_us

    def expose(self, minute: float, variant: str, *, forced: bool = False, phase: int = 1, **fields: Any) -> None:
        """One exposure of the experiment `e` at `pdp`; ids in `fields`."""
        experiment = fields.pop("experiment", "e")
        one = {"experiment": experiment, "phase": phase, "variant": variant, "forced": forced, "traffic_bp": 10_000}
        unit_type = "user" if fields.get("user_id") else "session"
        one |= {"unit_type": unit_type, "unit_id": fields.get(f"{unit_type}_id")}
        defaults = {"placement": "pdp", "config_id": "c0", "revision": "r0", "algo": 1, "attributes": {}}
        self.add("exposure", minute, **{**defaults, "assignments": [one], **fields})

    def serve(self, minute: float, config_id: str, config: dict[str, Any], placement: str = "pdp") -> None:
        """What a sidecar says of a configuration it serves for the first time."""
        told = {"placement": placement, "config_id": config_id, "config": config}
        self.add("config", minute, revision="r0", source={"pod": "p"}, placements=[told])

    def config(self, minute: float, **state: Any) -> None:
        """What a sidecar says is in force of the experiment `e`."""
        weights = {"control": 5_000, "treatment": 5_000}
        told = {"experiment": "e", "status": "running", "phase": 1, "control": "control", "traffic_bp": 10_000}
        told |= {"weights_bp": weights, "pause": None, **state}
        self.add("config", minute, revision="r0", source={"pod": "p"}, part=1, parts=1, experiments=[told])

    def close(self, late_us: int = 0) -> Path:
        """Put what was written down into the store as one file; give the store."""
        numbers = next(self.numbers)
        day = self.folder / "dt=2026-11-02"
        day.mkdir(parents=True, exist_ok=True)
        rows = []
        for one in self.events:
            batch_id, at_us = one.pop("~", ("b", one["ts"]))
            rows += rows_of(one, batch_id=batch_id, recv_us=at_us + late_us)
        write_file(day / f"b{numbers}.parquet", [pa.Table.from_batches([record_batch(rows)], SCHEMA)], Footer(("b",)))
        self.events.clear()
        return self.folder


@pytest.fixture(scope="session")
def till_at() -> Callable[[Path], Till]:
    """Return what makes a till that fills a store of this folder."""
    return Till


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path / "store")


def experiment_e(**fields: Any) -> Experiment:
    """The experiment `e`: 50/50 at pdp; whatever else is asked for."""
    arms = (Variant("control", 0, 5_000), Variant("treatment", 5_000, 10_000, {"pdp": {"model": "v2"}}))
    defaults: dict[str, Any] = {
        "id": "e",
        "name": "E",
        "hypothesis": "Lifts.",
        "status": "running",
        "placements": ("pdp",),
        "variants": arms,
        "control": "control",
    }
    return Experiment(**{**defaults, **fields})


def snapshot_of(*experiments: Experiment) -> Snapshot:
    """What the agent would publish."""
    return assemble({}, [Placement("pdp", {"model": "v1"}), *experiments], written_at_us=1)


@pytest.fixture(scope="session")
def documents() -> Callable[..., Snapshot]:
    """Return the snapshot of the experiment `e` with some fields of its own."""
    return lambda **fields: snapshot_of(experiment_e(**fields))


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[..., Path]:
    """Publish the experiment `e` with some fields of its own; give the file."""

    def publish(**fields: Any) -> Path:
        place = tmp_path / "abside.snapshot"
        place.write_bytes(encode(snapshot_of(experiment_e(**fields))))
        return place

    return publish


@pytest.fixture(scope="module")
def module_till(tmp_path_factory: pytest.TempPathFactory) -> Till:
    """Return the till of a module whose tests look at one store."""
    return Till(tmp_path_factory.mktemp("module") / "store")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Embedded.open(memory_bytes=2**30, spill=tmp_path / "spill") as made:
        yield made


@pytest.fixture
def report_on(engine: Engine) -> Callable[..., Report]:
    """Report on a store."""

    def make(store: Path, documents: Snapshot, experiments: Iterable[str] = (), phase: int | None = None) -> Report:
        return build(engine, open_source(engine, store), documents, Ask(tuple(experiments), phase))

    return make


@pytest.fixture
def page_of(report_on: Callable[..., Report], documents: Callable[..., Snapshot]) -> Callable[..., ExperimentPage]:
    """Report on a store that holds the experiment `e`; give its page."""

    def make(store: Path, shown_phase: int | None = None, **fields: Any) -> ExperimentPage:
        own = [to_json(one) for one in fields.pop("own", ())]
        snapshot = documents(**fields)
        snapshot.head.report["metrics"] = own  # type: ignore[assignment]
        report = report_on(store, snapshot, phase=shown_phase)
        assert report.refused == ()
        (page,) = report.pages
        return page

    return make
