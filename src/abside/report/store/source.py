"""The store → one table of events. Every file is looked at first: a figure from a part of a store would be a guess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abside.collector.store import (
    SCHEMA,
    UNREADABLE,
    FileUnreadable,
    day_folders,
    live_files_of,
    read_metadata,
    reading,
    reason_of,
    visible_files_of,
)
from abside.report.problem import ForeignFiles, NoEvents, NotVisible, StoreChanged, listed
from abside.report.store.engine import PLACE
from abside.report.store.period import FileFacts, Period, facts_of, narrow
from abside.report.store.told import Told, told_by
from abside.snapshot import digest

if TYPE_CHECKING:
    from datetime import datetime

    from abside.report.pipeline.mapping import JoinedOutcomes
    from abside.report.store.engine import Engine, Table

# What the report reads, of the collector's schema.
COLUMNS = (
    "event_id",
    "type",
    "ts",
    "seen_ts",
    "recv_ts",
    "user_id",
    "session_id",
    "bot",
    "exposure_id",
    "placement",
    "revision",
    "config_id",
    "experiment",
    "phase",
    "variant",
    "unit_type",
    "forced",
    "attributes",
    "items",
    "item_id",
    "position",
    "quantity",
    "value",
    "currency",
    "page_type",
    "page_load_ms",
    "properties",
    "detail",
    "batch_id",
)
ALWAYS = Period()
PARTITIONS = "topic=*/p=*"
ARCHIVED = "store=*"  # in an archive, which several collectors may have in common
NOT_THERE = (
    "holds no dt=YYYY-MM-DD/*.parquet, as it is or below store=…, and no topic=…/p=…/*.parquet; "
    "it must be a collector's --store or --archive"
)


@dataclass(frozen=True, slots=True)
class Source:
    """The events as a table of COLUMNS, of some engines and PLACE, and what they were read from."""

    events: Table
    files: tuple[Path, ...]
    whole: int  # of the files, those read whole; of the others what every day can say
    rows: int
    set_aside: int  # damaged files that the collector took out of the way: their rows are in no figure
    digest: str  # of the files' names and rows: the same store, the same digest
    reaches: datetime | None = None  # what was left out is later than this: time went on at least so far
    outcomes: JoinedOutcomes | None = None  # a pipeline's, among the events
    told: Told | None = None  # what footers say of most of the events, where these are whole


def live_store(directory: Path, *, hidden: bool = True) -> dict[Path, FileFacts]:
    """Return the files that count, and what each says of itself. `hidden`: also by names that Spark skips.

    Raises NoEvents, ForeignFiles, StoreChanged when a file vanished in between, and without `hidden` NotVisible.
    """
    if not directory.is_dir():
        raise NoEvents(directory, "is no directory")
    faults: list[str] = []
    files: list[Path] = []
    for folder in folders_of(directory):
        try:
            files += live_files_of(folder) if hidden else _visible(folder)
        except FileUnreadable as exc:
            faults.append(str(exc))
        except OSError as exc:
            faults.append(f"{folder}: {reason_of(exc)}")
    if not files and not faults:
        raise NoEvents(directory, f"holds no dt=YYYY-MM-DD/*.parquet{_hint(directory)}")
    found: dict[Path, FileFacts] = {}
    for path in files:
        try:
            found[path] = _looked_at(path)
        except FileUnreadable as exc:
            faults.append(str(exc))
    if faults:
        raise ForeignFiles(faults)
    return found


def folders_of(directory: Path) -> list[Path]:
    """List the folders of a store's files: days of an HTTP collector, or of the stores of an archive; partitions."""
    stores = [directory, *sorted(path for path in directory.glob(ARCHIVED) if path.is_dir())]
    days = [day for store in stores for day in day_folders(store)]
    return [*days, *sorted(path for path in directory.glob(PARTITIONS) if path.is_dir())]


def open_source(engine: Engine, events: Path | str, period: Period = ALWAYS) -> Source:
    """Open a store, for what happened in a period. `events` is its directory, or its URL in an object store.

    Raises what `live_store` and `mirror` raise, and EngineFailed.
    """
    directory = events if isinstance(events, Path) else engine.near(events)
    try:
        found = live_store(directory, hidden=engine.reads_hidden)
    except NoEvents as exc:
        raise NoEvents(events, exc.reason if isinstance(events, Path) else NOT_THERE) from exc
    whole = [path for path, facts in found.items() if period.needs(facts)]
    others = [path for path in found if path not in set(whole)]
    columns = (*COLUMNS, *(PLACE if engine.has_places else ()))
    tables = [engine.parquet(whole, has_places=True).select(*columns)] if whole else []
    if others:
        everything, partly = (
            engine.parquet(files, has_places=True).select(*columns) for files in (list(found), others)
        )
        tables += narrow(engine, everything, partly, period.experiments)
    received = [facts.received[0] for path in others if (facts := found[path]).received]
    is_cut = period.last is not None and max(received, default=period.last) > period.last
    return Source(
        events=tables[0].union(*tables[1:]) if len(tables) > 1 else tables[0],
        files=tuple(found),
        whole=len(whole),
        rows=sum(facts.rows for facts in found.values()),
        set_aside=sum(1 for folder in folders_of(directory) for _ in folder.glob(f"*{UNREADABLE}*")),
        digest=digest([[path.relative_to(directory).as_posix(), facts.rows] for path, facts in found.items()]),
        reaches=period.last if is_cut else None,
        told=None if others else told_by(engine, found, COLUMNS),
    )


def _visible(folder: Path) -> list[Path]:
    files, unseen = visible_files_of(folder)
    if unseen:
        raise NotVisible(unseen[0])
    return files


def _looked_at(path: Path) -> FileFacts:
    if not path.exists():
        raise StoreChanged
    try:
        metadata = read_metadata(path)
        with reading(path):
            schema = metadata.schema.to_arrow_schema()
    except FileNotFoundError as exc:
        raise StoreChanged from exc
    except OSError as exc:
        raise FileUnreadable(path, reason_of(exc)) from exc
    missing = [name for name in COLUMNS if name not in schema.names]
    if missing:
        raise FileUnreadable(path, f"it has no column {listed(missing)}")
    other = [
        f"{name} is {schema.field(name).type}, not {SCHEMA.field(name).type}"
        for name in COLUMNS
        if not schema.field(name).type.equals(SCHEMA.field(name).type)
    ]
    if other:
        raise FileUnreadable(path, f"a column has another type: {listed(other)}")
    return facts_of(path, metadata)


def _hint(directory: Path) -> str:
    inner = directory / "store"
    if any(inner.glob("dt=????-??-??")):
        return f"; did you mean {inner}?"
    return "; it must be what the collector was given as --store"
