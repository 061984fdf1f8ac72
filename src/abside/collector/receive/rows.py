"""Event → rows: each field to its column, with its type checked; what has no column goes to `detail`."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pyarrow as pa

from abside.collector.store import SCHEMA
from abside.event import MAX_ASSIGNMENTS, MAX_COUNT, MAX_EVENT_BYTES, MAX_VALUE, TYPE_NAME, EventError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.event import EventMap

StoreRow = list[Any]  # one value per column of SCHEMA
FieldCheck = Callable[[str, Any], Any]  # from a field's path and value to its column's value; raises EventError

BUCKETS = 1024
MAX_EXPOSED_BYTES = 16 * 2**20  # text that one exposure's rows repeat: 256 assignments with 64 KiB each
LAST_US = 253_402_300_799_999_999  # the last µs of the year 9999: no engine reads a later one
MAX_SMALL = 2**15 - 1
_CENTS = Decimal("0.0001")


class RowsTooLargeError(EventError):
    """An exposure whose rows would take many times its bytes."""


def rows_of(event: EventMap, *, batch_id: str, recv_us: int) -> list[StoreRow]:
    """Return an event's rows: one, or one per assignment of an exposure. Raises EventError for a field of a wrong type.

    A NaN inside attributes, properties or detail becomes null: JSON has none.
    """
    row: StoreRow = [None] * len(SCHEMA)
    kind = event.get("type")
    columns = OWN_COLUMNS if kind in ("config", "account") else COLUMNS
    rest: dict[str, Any] = {}
    for name, value in event.items():
        column = columns.get(name)
        if column is None:
            rest[name] = value
        elif value is not None:
            row[column[0]] = column[1](name, value)
    for name in ("event_id", "type", "ts"):
        if row[AT[name]] is None:
            raise EventError("INVALID_EVENT", name, "is required")
    row[AT["recv_ts"]] = recv_us
    row[AT["batch_id"]] = batch_id
    row[AT["bot"]] = row[AT["bot"]] is True
    row[AT["user_bucket"]] = bucket(row[AT["user_id"]])
    row[AT["session_bucket"]] = bucket(row[AT["session_id"]])
    if kind == "exposure":
        return _exposed(row, rest)
    if rest:
        row[AT["detail"]] = _json("detail", rest)
    return [row]


def record_batch(rows: Sequence[StoreRow]) -> pa.RecordBatch:
    """Return the rows as Arrow columns."""
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def unpacked(packed: bytes) -> Any:
    """Return the value of one packed event or map. Raises ValueError or msgpack's UnpackException."""
    # A length is a claim: an array of 2^32 members is eleven bytes long. No member is shorter than a byte.
    return msgpack.unpackb(packed, max_array_len=MAX_EVENT_BYTES, max_map_len=MAX_EVENT_BYTES)


def bucket(unit_id: str | None) -> int | None:
    """Return the stable shard of an id: crc32 of its UTF-8 bytes mod 1024."""
    return None if unit_id is None else zlib.crc32(unit_id.encode()) % BUCKETS


def _exposed(row: StoreRow, rest: dict[str, Any]) -> list[StoreRow]:
    """Repeat an exposure's row for each of its assignments; one without any keeps its one row."""
    assignments = rest.pop("assignments", None) or [{}]
    if not isinstance(assignments, list):
        raise EventError("WRONG_TYPE", "assignments", "must be a list")
    if len(assignments) > MAX_ASSIGNMENTS:
        detail = f"has {len(assignments)} entries, the bound is {MAX_ASSIGNMENTS}"
        raise EventError("INVALID_EVENT", "assignments", detail)
    shared = sum(len(cell) for cell in row if type(cell) is str)
    if rest:
        row[AT["detail"]] = _json("detail", rest)
        shared += len(row[AT["detail"]])
    if shared * len(assignments) > MAX_EXPOSED_BYTES:
        detail = f"repeats {shared:,} characters of text for each of its {len(assignments)} assignments"
        raise RowsTooLargeError("INVALID_EVENT", "assignments", detail)
    rows = []
    for index, assignment in enumerate(assignments):
        path = f"assignments[{index}]"
        if not isinstance(assignment, dict):
            raise EventError("WRONG_TYPE", path, "must be a map")
        own = row.copy()
        unknown: dict[str, Any] = {}
        for name, value in assignment.items():
            column = ASSIGNMENT_COLUMNS.get(name)
            if column is None:
                unknown[name] = value
            elif value is not None:
                own[column[0]] = column[1](f"{path}.{name}", value)
        if unknown:
            own[AT["detail"]] = _json("detail", {**rest, "assignment": unknown})
        rows.append(own)
    return rows


def _text(path: str, value: Any) -> str:
    if type(value) is not str:
        raise EventError("WRONG_TYPE", path, "must be a string")
    return value


def _name(path: str, value: Any) -> str:
    name = _text(path, value)
    if not TYPE_NAME.match(name):
        raise EventError("INVALID_EVENT", path, "must be a name of lower-case letters, digits and _")
    return name


def _id(path: str, value: Any) -> str:
    name = _text(path, value)
    if not name:
        raise EventError("INVALID_EVENT", path, "must not be empty")
    return name


def _whole(greatest: int) -> Callable[[str, Any], int]:
    def check(path: str, value: Any) -> int:
        if type(value) is not int:
            raise EventError("WRONG_TYPE", path, "must be a whole number")
        if not 0 <= value <= greatest:
            raise EventError("INVALID_EVENT", path, f"must be between 0 and {greatest}")
        return value

    return check


def _number(path: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise EventError("WRONG_TYPE", path, "must be a number")
    if not math.isfinite(value):
        raise EventError("INVALID_EVENT", path, "must be finite")
    return float(value)


def money(path: str, value: Any) -> Decimal:
    """Round half-even to 4 places, from the decimal a person writes for the float: 1.00005 is a tie, not 1.0000499…."""
    if abs(_number(path, value)) >= MAX_VALUE:
        raise EventError("INVALID_EVENT", path, f"must be below {MAX_VALUE:,}")
    return Decimal(repr(value)).quantize(_CENTS, ROUND_HALF_EVEN)


def _flag(path: str, value: Any) -> bool:
    if type(value) is not bool:
        raise EventError("WRONG_TYPE", path, "must be true or false")
    return value


def _texts(path: str, value: Any) -> list[str]:
    if type(value) is not list:
        raise EventError("WRONG_TYPE", path, "must be a list")
    for index, item in enumerate(value):
        if type(item) is not str:
            raise EventError("WRONG_TYPE", f"{path}[{index}]", "must be a string")
    return value


def json_map(path: str, value: Any) -> str:
    """Return a map as JSON. Raises EventError."""
    if type(value) is not dict:
        raise EventError("WRONG_TYPE", path, "must be a map")
    return _json(path, value)


def _json(path: str, value: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as exc:
        raise EventError("WRONG_TYPE", path, "holds what JSON cannot: bytes, an extension type or too deep") from exc


AT = {name: index for index, name in enumerate(SCHEMA.names)}
_COUNT = _whole(MAX_COUNT)
_MICROS = _whole(LAST_US)


def _columns(checks: Mapping[str, FieldCheck]) -> dict[str, tuple[int, FieldCheck]]:
    return {name: (AT[name], check) for name, check in checks.items()}


_HEAD: dict[str, FieldCheck] = {
    "event_id": _id,
    "type": _name,
    "ts": _MICROS,
    "seen_ts": _MICROS,
    "user_id": _text,
    "session_id": _text,
    "revision": _text,
}
# The sidecar's statements about itself keep their shape in `detail`, whatever their fields are called.
OWN_COLUMNS = _columns(_HEAD)
COLUMNS = _columns(
    {
        **_HEAD,
        "bot": _flag,
        **dict.fromkeys(("exposure_id", "placement", "config_id"), _text),
        "algo": _whole(MAX_SMALL),
        "attributes": json_map,
        "items": _texts,
        "item_id": _text,
        "position": _COUNT,
        "quantity": _COUNT,
        "value": money,
        **dict.fromkeys(("currency", "order_id", "page_type"), _text),
        "page_load_ms": _number,
        "properties": json_map,
    }
)
# Read from an exposure's assignments only: a variant that a client wrote on an outcome is no assignment.
ASSIGNMENT_COLUMNS = _columns(
    {
        **dict.fromkeys(("experiment", "variant", "unit_type", "unit_id"), _text),
        "phase": _COUNT,
        "forced": _flag,
        "traffic_bp": _COUNT,
    }
)
