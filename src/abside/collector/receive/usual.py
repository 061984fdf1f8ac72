"""Usual events in bulk: decoded by one call into typed records, and made columns without a row for each.

Nothing is refused here. An event that these records do not take is left to `rows`, which looks at each of its fields:
it has a place for it, or refuses it with the field's path.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgpack
import pyarrow as pa
from msgspec import UNSET, Meta, MsgspecError, Raw, Struct, UnsetType
from msgspec.msgpack import Decoder
from pyarrow.compute import list_parent_indices

from abside.collector.receive.rows import BUCKETS, LAST_US, MAX_SMALL, json_map, money, unpacked
from abside.collector.store import SCHEMA
from abside.event import MAX_ASSIGNMENTS, MAX_COUNT, MAX_VALUE, OWN_TYPES, TYPE_NAME, EventError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MaybeText = str | None
EventId = Annotated[str, Meta(min_length=1)]
Moment = Annotated[int, Meta(ge=0, le=LAST_US)]
Whole16 = Annotated[int, Meta(ge=0, le=MAX_SMALL)]
Whole = Annotated[int, Meta(ge=0, le=MAX_COUNT)]

_NO_MAP: Final = Raw()


class UsualAssignment(Struct, gc=False, forbid_unknown_fields=True):
    """An assignment whose fields all have columns."""

    experiment: MaybeText = None
    phase: Whole | None = None
    variant: MaybeText = None
    unit_type: MaybeText = None
    unit_id: MaybeText = None
    forced: bool | None = None
    traffic_bp: Whole | None = None


class UsualEvent(Struct, gc=False, forbid_unknown_fields=True):
    """An event whose fields all have columns, in the order of a sidecar: so they are found at once."""

    event_id: EventId
    type: str
    ts: Moment
    seen_ts: Moment | None = None
    user_id: MaybeText = None
    session_id: MaybeText = None
    exposure_id: MaybeText = None
    placement: MaybeText = None
    revision: MaybeText = None
    config_id: MaybeText = None
    algo: Whole16 | None = None
    assignments: Annotated[list[UsualAssignment], Meta(max_length=MAX_ASSIGNMENTS)] | UnsetType | None = UNSET
    attributes: Raw = _NO_MAP  # packed: most events of a batch have the same few, each of which is read once
    bot: bool | None = None
    items: list[str] | None = None
    item_id: MaybeText = None
    position: Whole | None = None
    quantity: Whole | None = None
    value: int | float | None = None
    currency: MaybeText = None
    order_id: MaybeText = None
    page_type: MaybeText = None
    page_load_ms: int | float | None = None
    properties: Raw = _NO_MAP


@dataclass(frozen=True, slots=True)
class Decoded:
    """Events in their order, None for each that is not usual; and the JSON text of each map in them, by its bytes."""

    events: Sequence[UsualEvent | None]
    texts: dict[bytes, MaybeText]


_MANY: Final = Decoder(list[UsualEvent])
_ONE: Final = Decoder(UsualEvent)
_LIST_32: Final = b"\xdd"  # msgpack's head of a list, before its length as four bytes
_NO_ASSIGNMENT: Final = (UsualAssignment(),)
_NOT_DECODED: Final = (MsgspecError, RecursionError)
_KINDS: Final = {field.name: field.type for field in SCHEMA}
_ABSENT: Final[dict[bytes, MaybeText]] = {b"\xc0": None}


def decode_joined(events: Sequence[bytes]) -> Decoded:
    """Decode events of which each is known to be one msgpack value: by one call, where all are usual."""
    try:
        found = _MANY.decode(b"".join((_LIST_32, len(events).to_bytes(4, "big"), *events)))
    except _NOT_DECODED:
        return decode_each(events)
    return _checked(found)


def decode_each(events: Iterable[bytes]) -> Decoded:
    """Decode events one by one. Bytes that are less or more than one event are not usual."""
    return _checked([_decode_one(event) for event in events])


def row_counts(events: Sequence[UsualEvent]) -> list[int]:
    """Return how many rows each event becomes."""
    return [len(event.assignments or _NO_ASSIGNMENT) for event in events]


def usual_columns(
    events: Sequence[UsualEvent], texts: dict[bytes, MaybeText], batch_ids: Sequence[str], recv_us: Sequence[int]
) -> pa.RecordBatch:
    """Return the rows of usual events as columns of SCHEMA. `batch_ids` and `recv_us` are each event's own."""
    assignments = [one for event in events for one in event.assignments or _NO_ASSIGNMENT]
    once = _arrays({**_cells(events, texts), "recv_ts": recv_us, "batch_id": batch_ids})
    if len(assignments) != len(events):
        once = _repeated(once, row_counts(events))
    found = {**once, **_arrays(_assigned(assignments))}
    columns = [found[name] if name in found else pa.nulls(len(assignments), kind) for name, kind in _KINDS.items()]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _arrays(cells: dict[str, Sequence[Any]]) -> dict[str, pa.Array]:
    """Return the columns with a value. Most belong to one type of event, so that often there is none."""
    found = {name: cells_ for name, cells_ in cells.items() if any(cells_) or cells_.count(None) < len(cells_)}
    return {name: pa.array(cells_, _KINDS[name]) for name, cells_ in found.items()}


def _repeated(columns: dict[str, pa.Array], counts: Sequence[int]) -> dict[str, pa.Array]:
    """Repeat each row as often as `counts` says."""
    ends = pa.array([0, *accumulate(counts)], pa.int32())
    rows = list_parent_indices(pa.ListArray.from_arrays(ends, pa.nulls(sum(counts))))
    repeated = pa.RecordBatch.from_arrays(list(columns.values()), list(columns)).take(rows)
    return dict(zip(columns, repeated.columns, strict=True))


def _decode_one(event: bytes) -> UsualEvent | None:
    try:
        return _ONE.decode(event)
    except _NOT_DECODED:
        return None


def _checked(events: Sequence[UsualEvent | None]) -> Decoded:
    """Leave out what has the types of a usual event and not the values of one."""
    texts = _ABSENT.copy()
    if not _are_usual([event for event in events if event], texts):
        events = [event if event and _are_usual((event,), texts) else None for event in events]
    return Decoded(events, texts)


def _are_usual(events: Sequence[UsualEvent], texts: dict[bytes, MaybeText]) -> bool:
    return (
        all(_is_usual_type(name) for name in {event.type for event in events})
        and all(abs(event.value) < MAX_VALUE for event in events if event.value is not None)  # NaN is not
        and all(isfinite(event.page_load_ms) for event in events if event.page_load_ms is not None)
        and not any(event.assignments is not UNSET and event.type != "exposure" for event in events)
        and _have_text({bytes(event.attributes) for event in events if event.attributes is not _NO_MAP}, texts)
        and _have_text({bytes(event.properties) for event in events if event.properties is not _NO_MAP}, texts)
    )


def _is_usual_type(name: str) -> bool:
    return TYPE_NAME.match(name) is not None and (name == "exposure" or name not in OWN_TYPES)


def _have_text(maps: Iterable[bytes], texts: dict[bytes, MaybeText]) -> bool:
    """Return whether each of these packed maps can be JSON, and keep its text."""
    try:
        for packed in maps:
            if packed not in texts:
                texts[packed] = json_map("", unpacked(packed))
    except (EventError, ValueError, msgpack.UnpackException):
        return False
    return True


def _bucket(ids: Sequence[MaybeText]) -> list[int | None]:
    return [None if one is None else zlib.crc32(one.encode()) % BUCKETS for one in ids]


def _cells(events: Sequence[UsualEvent], texts: dict[bytes, MaybeText]) -> dict[str, Sequence[Any]]:
    """Return the columns that an event has once. A list for each: attributes read by name cost twice as much."""
    users = [event.user_id for event in events]
    sessions = [event.session_id for event in events]
    return {
        "event_id": [event.event_id for event in events],
        "type": [event.type for event in events],
        "ts": [event.ts for event in events],
        "seen_ts": [event.seen_ts for event in events],
        "user_id": users,
        "session_id": sessions,
        "user_bucket": _bucket(users),
        "session_bucket": _bucket(sessions),
        "bot": [event.bot is True for event in events],
        "exposure_id": [event.exposure_id for event in events],
        "placement": [event.placement for event in events],
        "revision": [event.revision for event in events],
        "config_id": [event.config_id for event in events],
        "algo": [event.algo for event in events],
        "attributes": [None if (one := event.attributes) is _NO_MAP else texts[bytes(one)] for event in events],
        "items": [event.items for event in events],
        "item_id": [event.item_id for event in events],
        "position": [event.position for event in events],
        "quantity": [event.quantity for event in events],
        "value": [None if event.value is None else money("", event.value) for event in events],
        "currency": [event.currency for event in events],
        "order_id": [event.order_id for event in events],
        "page_type": [event.page_type for event in events],
        "page_load_ms": [None if event.page_load_ms is None else float(event.page_load_ms) for event in events],
        "properties": [None if (one := event.properties) is _NO_MAP else texts[bytes(one)] for event in events],
    }


def _assigned(assignments: Sequence[UsualAssignment]) -> dict[str, Sequence[Any]]:
    """Return the columns that each assignment of an exposure has."""
    return {
        "experiment": [one.experiment for one in assignments],
        "phase": [one.phase for one in assignments],
        "variant": [one.variant for one in assignments],
        "unit_type": [one.unit_type for one in assignments],
        "unit_id": [one.unit_id for one in assignments],
        "forced": [one.forced for one in assignments],
        "traffic_bp": [one.traffic_bp for one in assignments],
    }
