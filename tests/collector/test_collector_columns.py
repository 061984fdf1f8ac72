"""Events in bulk against the plainest way, one after the other: the same rows in the same order, or one refusal."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from random import Random
from typing import TYPE_CHECKING, Any

import msgpack
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.collector.receive.columns import (
    SLICE_EVENTS,
    SLICE_PLAIN_ROWS,
    EventRefused,
    record_batches,
)
from abside.collector.receive.ingest import measure
from abside.collector.receive.rows import RowsTooLargeError, record_batch, rows_of
from abside.collector.receive.usual import decode_each, decode_joined
from abside.collector.store import SCHEMA
from abside.event import MAX_EVENT_BYTES, EventError

if TYPE_CHECKING:
    from collections.abc import Sequence

Found = list[dict[str, Any]] | tuple[int, str, str | None]  # rows, or index, code and path of a refusal
NOON_US = 1_790_078_400_000_000


def row_by_row(events: Sequence[bytes]) -> Found:
    """Decode events in the plainest way: slow, and obviously right."""
    rows = []
    for index, packed in enumerate(events):
        try:
            event = msgpack.unpackb(packed, max_array_len=MAX_EVENT_BYTES, max_map_len=MAX_EVENT_BYTES)
        except (msgpack.UnpackException, ValueError):
            return index, "UNDECODABLE", None
        if type(event) is not dict:
            return index, "UNDECODABLE", None
        try:
            rows += rows_of(event, batch_id=f"b{index}", recv_us=NOON_US + index)
        except EventError as exc:
            return index, "TOO_LARGE" if isinstance(exc, RowsTooLargeError) else exc.code, exc.path
    return record_batch(rows).to_pylist() if rows else []


def table(events: Sequence[bytes], batch_ids: Sequence[str], recv_us: Sequence[int], **given: Any) -> pa.Table:
    pieces = record_batches(events, batch_ids=batch_ids, recv_us=recv_us, **given)
    return pa.Table.from_batches(pieces, SCHEMA)


def in_bulk(events: Sequence[bytes]) -> Found:
    count = len(events)
    try:
        batch = table(events, [f"b{index}" for index in range(count)], range(NOON_US, NOON_US + count))
    except EventRefused as refused:
        return refused.index, refused.code, refused.path
    assert batch.schema.equals(SCHEMA)
    batch.validate(full=True)
    return batch.to_pylist()  # type: ignore[no-any-return]


def joined(events: Sequence[bytes]) -> list[pa.RecordBatch]:
    measured = measure(b"".join(events), len(events))
    return list(record_batches(measured.events(), batch_ids=repeat("b"), recv_us=repeat(1), decode=decode_joined))


TEXTS = ["u1", "s", "EUR", "control", "\0", "é", "", "x" * 300]
COUNTS = [0, 1, 9, 2**15 - 1, 2**15, 2**31 - 1, 2**31, 2**64 - 1, -1]
NUMBERS = [*COUNTS, 0.1, 2.675, -0.0, 1e-9, 99_999_999_999_999.98, 1e14, 1e308, float("nan"), float("inf")]
FLAGS = [True, False]
MAPS: list[Any] = [{}, {"a": 1, "é": None}, {"a": [0.1, float("nan")]}, {"": {"b": "\0"}}, {"a": b"\xff"}, {1: 2}]
ITEMS: list[Any] = [[], ["a", ""], ["a", 1], [None]]
OTHERS: list[Any] = [None, b"", b"\xff", [{}], [{"phase": 1}], msgpack.Timestamp(1, 5), msgpack.ExtType(5, b"x")]
ODD = [*OTHERS, *TEXTS, *NUMBERS, *FLAGS, *MAPS, *ITEMS]
LEAST: dict[Any, Any] = {"event_id": "e", "type": "click", "ts": 1}
HEAD: dict[Any, list[Any]] = {"event_id": ["e1", "e2"], "ts": [NOON_US], "seen_ts": [NOON_US, None]}
ASSIGNED: dict[Any, list[Any]] = {
    **dict.fromkeys(("experiment", "variant", "unit_type", "unit_id"), TEXTS),
    **dict.fromkeys(("phase", "traffic_bp"), COUNTS[:3]),
    "forced": FLAGS,
}
KNOWN: dict[Any, list[Any]] = {
    **dict.fromkeys(("user_id", "session_id", "exposure_id", "placement", "revision", "config_id"), TEXTS),
    "bot": FLAGS,
    "algo": COUNTS[:4],
    **dict.fromkeys(("attributes", "properties"), MAPS[:4]),
    "items": ITEMS[:2],
    **dict.fromkeys(("item_id", "currency", "order_id", "page_type"), TEXTS),
    **dict.fromkeys(("position", "quantity"), COUNTS[:6]),
    **dict.fromkeys(("value", "page_load_ms"), NUMBERS[:10]),
}
UNKNOWN: list[Any] = ["colour", "variant", "recv_ts", "batch_id", "detail", "assignments", b"ts", 7]
TYPES = ["exposure", "exposure", "click", "purchase", "own_type", "config", "account", "Click", ""]


def map_of(chance: Random, usual: dict[Any, list[Any]], share: float, odd: float) -> dict[Any, Any]:
    """Return a map of a share of the usual fields, some of which have an odd value."""
    names = [name for name in usual if chance.random() < share]
    return {name: chance.choice(ODD if chance.random() < odd else usual[name]) for name in names}


def made_up(chance: Random) -> bytes:
    odd = chance.choice([0, 0, 0.02, 0.2])
    event = {"type": chance.choice(TYPES), **map_of(chance, HEAD, 1 - odd / 2, odd)}
    event |= map_of(chance, KNOWN, chance.choice([0.2, 1]), odd)
    if event["type"] == "exposure":
        assignments = [map_of(chance, ASSIGNED, 0.9, odd) for _ in range(chance.randrange(4))]
        event["assignments"] = chance.choice(ODD) if chance.random() < odd else assignments
    if chance.random() < odd:
        event[chance.choice(UNKNOWN)] = chance.choice(ODD)
    return packed_map(event)


def packed(**fields: Any) -> bytes:
    return packed_map({**LEAST, **fields})


def packed_map(event: dict[Any, Any]) -> bytes:
    return msgpack.packb(event)  # type: ignore[no-any-return]


def damaged(chance: Random, event: bytes) -> bytes:
    """Return an event with another byte, one less or one more."""
    at = chance.randrange(len(event))
    return event[:at] + chance.choice([b"", b"\xc0", chance.randbytes(1)]) + event[at + chance.randrange(2) :]


@pytest.mark.parametrize("kind", ["exposure", "click", "account"])
def test_each_field_with_each_odd_value_is_the_row_or_the_refusal_of_the_plainest_way(kind: str) -> None:
    for name in (*HEAD, "type", *KNOWN, *UNKNOWN):
        for value in ODD:
            event = packed_map({**LEAST, "type": kind, name: value})
            assert repr(in_bulk([event])) == repr(row_by_row([event])), (name, value)


def test_each_field_of_an_assignment_with_each_odd_value_too() -> None:
    for name in (*ASSIGNED, *UNKNOWN):
        for value in ODD:
            event = packed(type="exposure", assignments=[{"experiment": "a"}, {"experiment": "b", name: value}])
            assert repr(in_bulk([event])) == repr(row_by_row([event])), (name, value)


@settings(max_examples=cases(200), deadline=None)
@given(st.integers(0, 2**64))
def test_events_in_bulk_are_the_rows_or_the_refusal_that_each_by_itself_is(seed: int) -> None:
    chance = Random(seed)
    events = [made_up(chance) for _ in range(chance.randrange(6))]
    if events and chance.random() < 0.3:
        events[0] = damaged(chance, events[0])
    assert repr(in_bulk(events)) == repr(row_by_row(events))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64), st.integers(1, 300))
def test_a_whole_batch_has_the_same_rows_whatever_its_slices(seed: int, times: int) -> None:
    chance = Random(seed)
    events = [event for event in (made_up(chance) for _ in range(5)) if isinstance(row_by_row([event]), list)]
    found = [row for piece in joined(events * times) for row in piece.to_pylist()]
    expected = row_by_row(events) * times
    assert isinstance(expected, list)
    stamps = {"batch_id": "b", "recv_ts": None}
    assert repr([{**row, **stamps} for row in found]) == repr([{**row, **stamps} for row in expected])


def test_made_up_events_are_of_every_kind() -> None:
    chance = Random(7)
    kinds = Counter(type(row_by_row([made_up(chance)])) for _ in range(500))
    usual = Counter(type(decode_each([made_up(chance)]).events[0]) for _ in range(500))
    assert min(kinds.values()) > 50, kinds
    assert min(usual.values()) > 50, usual


def test_what_is_usual_and_what_is_not_stay_in_their_order() -> None:
    events = [packed(event_id=str(number), **({"odd": 1} if number % 3 else {})) for number in range(SLICE_EVENTS + 9)]
    pieces = joined(events)
    assert [one for piece in pieces for one in piece.column("event_id").to_pylist()] == [
        str(number) for number in range(len(events))
    ]
    assert max(piece.num_rows for piece in pieces) <= SLICE_EVENTS


def test_a_slice_of_unusual_events_is_short() -> None:
    pieces = joined([packed(odd=1)] * (SLICE_EVENTS + 1))
    assert max(piece.num_rows for piece in pieces) == SLICE_PLAIN_ROWS


def test_refused_events_are_handed_over_and_the_others_are_rows() -> None:
    refused: list[EventRefused] = []
    events = [packed(event_id="a"), packed(position="3"), packed(event_id="b"), packed() + packed(), packed()[:-1]]
    batch = table(events, list("vwxyz"), range(5), refuse=refused.append)
    assert [(one.index, one.code, one.path) for one in refused] == [
        (1, "WRONG_TYPE", "position"),
        (3, "UNDECODABLE", None),
        (4, "UNDECODABLE", None),
    ]
    assert batch.column("event_id").to_pylist() == ["a", "b"]
    assert batch.column("batch_id").to_pylist() == ["v", "x"]


@pytest.mark.parametrize("halves", [(packed(), b""), (packed()[:9], packed()[9:])])
def test_two_parts_of_an_event_are_no_event_though_joined_they_are(halves: tuple[bytes, bytes]) -> None:
    assert isinstance(in_bulk([*halves]), tuple)


def test_no_event_is_larger_than_the_bound_though_it_came_alone() -> None:
    with pytest.raises(EventRefused, match="at most 65,536"):
        table([packed(order_id="x" * MAX_EVENT_BYTES)], ["b"], [1])


def test_a_lack_of_memory_is_no_error_of_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr("abside.collector.receive.columns.usual_columns", exhausted)
    with pytest.raises(MemoryError):
        table([packed()], ["b"], [1])


def test_no_events_are_no_rows() -> None:
    assert table([], [], []).num_rows == 0
