"""The rows of a pipeline as rows of the store, counted with it from the first statement on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ibis

from abside.event import MAX_AHEAD_US
from abside.report.pipeline.columns import check_files
from abside.report.pipeline.mapping import OURS_ALONE, TEXTS, JoinedOutcomes, meant
from abside.report.store.engine import PLACE

if TYPE_CHECKING:
    from abside.report.pipeline.mapping import OutcomeMapping
    from abside.report.store.engine import Engine, Row, Table
    from abside.report.store.source import Source

BATCH = "outcomes"  # in the place of a batch id: no sidecar's, so that no clock is measured by it
GOODS = ("add_to_cart", "purchase")  # have a quantity of 1 at least, 1 where none is told, and a value of 0 at least


def join(engine: Engine, source: Source, mapping: OutcomeMapping, now_us: int) -> Source:
    """Return the store with the rows of a pipeline, beside its own or in their place.

    A row more than an hour ahead of now is none: the latest time of all decides which windows are over.

    Raises NoOutcomes, and EngineFailed.
    """
    is_local = check_files(mapping)
    files = engine.parquet(mapping.files, of="the pipeline")
    events = source.events
    for name in PLACE:  # one at a time: Ibis writes several in an order by chance, and answers go by the statement
        events = events.drop(name) if name in events.columns else events
    told = _as_ours(engine, files, mapping, events.schema(), is_local=is_local)
    latest = datetime.fromtimestamp((now_us + MAX_AHEAD_US) / 1e6, UTC).replace(tzinfo=None)
    is_ahead = (told.ts > ibis.literal(latest, told.ts.type())).fill_null(False)
    told = told.mutate(is_good=told.is_good & ~is_ahead, is_ahead=is_ahead)
    told = engine.keep("rows of the pipeline", "pipeline", told)
    by_kind = told.group_by("type", "is_good", "is_ahead")
    counted = by_kind.agg(rows=told.count(), first=told.ts.min(), last=told.ts.max())
    found = _joined(mapping, engine.rows("rows of the pipeline, counted", counted))
    if mapping.instead_of:
        events = events.filter(~events.type.isin(mapping.instead_of))
    mine = told.filter(told.is_good).select(*events.columns)
    return replace(source, events=events.union(mine), outcomes=found, told=None)


def _as_ours(engine: Engine, files: Table, mapping: OutcomeMapping, schema: Any, *, is_local: bool) -> Table:
    """Return the rows in the store's columns, and `is_good`: whether a sidecar had taken them."""
    theirs = {ours: files[name] for ours, name in mapping.columns.items()}
    texts = {name: theirs[name].cast("string").nullif("") for name in TEXTS if name in theirs}
    kind = ibis.literal(mapping.type_is) if mapping.type_is else theirs["type"].nullif("")
    ts = engine.in_utc(theirs["ts"], mapping.zone) if is_local and mapping.zone else theirs["ts"]
    numbers: dict[str, Any] = {
        name: theirs[name].try_cast(schema[name]) for name in ("value", "quantity") if name in theirs
    }
    is_goods = kind.isin(GOODS)
    is_good = kind.notnull() & ts.notnull() & texts["event_id"].notnull()
    for name, least in (("value", 0), ("quantity", 1)):
        if name in theirs:
            is_taken = numbers[name].notnull() & (~is_goods | (numbers[name] >= least))
            is_good &= theirs[name].isnull() | is_taken
    quantity = numbers.get("quantity", ibis.null(schema["quantity"]))
    ours = {
        **{name: ibis.null(one) for name, one in schema.items()},
        **texts,
        **numbers,
        "quantity": ibis.coalesce(quantity, is_goods.ifelse(1, None)).cast(schema["quantity"]),
        "type": kind,
        **{name: ts.cast(schema[name]) for name in ("ts", "seen_ts", "recv_ts")},
        "bot": ibis.literal(value=False),
        "batch_id": ibis.literal(BATCH),
    }
    return files.select(**ours, is_good=is_good.fill_null(False))


def _joined(mapping: OutcomeMapping, rows: list[Row]) -> JoinedOutcomes:
    """Return what was found. Raises NoOutcomes for a type that is no pipeline's, and for one that is not there."""
    good = sorted((row for row in rows if row["is_good"]), key=lambda row: str(row["type"]))
    types = [row["type"] for row in good]
    for name in types:
        if name in OURS_ALONE:
            raise mapping.problem(f"columns.type: rows of type {name}, which only a sidecar tells")
    for name in mapping.instead_of:
        if name not in types:
            raise mapping.problem(f"instead_of: no row of the files is of type {name}; {meant(name, types)}")
    return JoinedOutcomes(
        place=str(mapping.place),
        files=len(mapping.files),
        rows={row["type"]: row["rows"] for row in good},
        left_out=sum(row["rows"] for row in rows if not row["is_good"] and not row["is_ahead"]),
        ahead=sum(row["rows"] for row in rows if row["is_ahead"]),
        first=min((row["first"] for row in good), default=None),
        last=max((row["last"] for row in good), default=None),
        instead_of=mapping.instead_of,
    )
