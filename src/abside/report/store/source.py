"""The store → one table of events. Every file is looked at first: a figure from a part of a store would be a guess."""

from __future__ import annotations

from dataclasses import dataclass
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
)
from abside.report.problem import ForeignFiles, NoEvents, listed
from abside.snapshot import digest

if TYPE_CHECKING:
    from pathlib import Path

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


class StoreChanged(Exception):  # noqa: N818 read as a sentence where it is caught
    """A collector merged or dropped a file meanwhile: look again."""


@dataclass(frozen=True, slots=True)
class Source:
    """The events as a table of COLUMNS, and what they were read from."""

    events: Table
    files: tuple[Path, ...]
    rows: int
    set_aside: int  # damaged files that the collector took out of the way: their rows are in no figure
    digest: str  # of the files' names and rows: the same store, the same digest


def live_store(directory: Path) -> dict[Path, int]:
    """Return the files that count, and how many rows each holds.

    Raises NoEvents, ForeignFiles, and StoreChanged when a file vanished in between.
    """
    if not directory.is_dir():
        raise NoEvents(directory, "is no directory")
    faults: list[str] = []
    files: list[Path] = []
    for day in day_folders(directory):
        try:
            files += live_files_of(day)
        except FileUnreadable as exc:
            faults.append(str(exc))
        except OSError as exc:
            faults.append(f"{day}: {reason_of(exc)}")
    if not files and not faults:
        raise NoEvents(directory, f"holds no dt=YYYY-MM-DD/*.parquet{_hint(directory)}")
    counted: dict[Path, int] = {}
    for path in files:
        try:
            counted[path] = _rows_of(path)
        except FileUnreadable as exc:
            faults.append(str(exc))
    if faults:
        raise ForeignFiles(faults)
    return counted


def open_source(engine: Engine, directory: Path) -> Source:
    """Open a store. Raises what `live_store` raises, and EngineFailed."""
    counted = live_store(directory)
    files = tuple(counted)
    return Source(
        events=engine.parquet(files).select(*COLUMNS),
        files=files,
        rows=sum(counted.values()),
        set_aside=sum(1 for day in day_folders(directory) for _ in day.glob(f"*{UNREADABLE}*")),
        digest=digest([[f"{path.parent.name}/{path.name}", rows] for path, rows in counted.items()]),
    )


def _rows_of(path: Path) -> int:
    if not path.exists():
        raise StoreChanged
    try:
        metadata = read_metadata(path)
        with reading(path):
            schema, rows = metadata.schema.to_arrow_schema(), int(metadata.num_rows)
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
    return rows


def _hint(directory: Path) -> str:
    inner = directory / "store"
    if any(inner.glob("dt=????-??-??")):
        return f"; did you mean {inner}?"
    return "; it must be what the collector was given as --store"
