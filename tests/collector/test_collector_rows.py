from __future__ import annotations

import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside import event
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA
from abside.event import EventError

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON_US = 1_790_078_400_000_000
NOON = datetime(2026, 9, 22, 12, tzinfo=UTC)
LEAST: dict[str, Any] = {"event_id": "e1", "type": "click", "ts": NOON_US}


def table(**fields: Any) -> list[dict[str, Any]]:
    """Take the way of every event: rows, columns, and back to what a reader sees."""
    rows = rows_of({**LEAST, **fields}, batch_id="h.1-a", recv_us=NOON_US + 1)
    batch = record_batch(rows)
    assert batch.schema.equals(SCHEMA)
    return batch.to_pylist()  # type: ignore[no-any-return]


def only(**fields: Any) -> dict[str, Any]:
    [row] = table(**fields)
    return {name: value for name, value in row.items() if value is not None}


def test_the_least_event_is_one_row_stamped_with_its_receipt_and_batch() -> None:
    assert only() == {
        "event_id": "e1",
        "type": "click",
        "ts": NOON,
        "recv_ts": NOON.replace(microsecond=1),
        "bot": False,
        "batch_id": "h.1-a",
    }


def test_every_field_of_an_outcome_lands_in_its_column() -> None:
    row = only(
        type="add_to_cart",
        seen_ts=NOON_US,
        user_id="u1",
        session_id="zoë",
        bot=True,
        exposure_id="x1",
        placement="pdp",
        items=["a", "b"],
        item_id="a",
        position=3,
        quantity=2,
        value=19.99,
        currency="EUR",
        order_id="o1",
        page_type="pdp",
        page_load_ms=120,
        properties={"a": 1, "b": None},
    )
    assert row["user_bucket"] == zlib.crc32(b"u1") % 1024
    assert row["session_bucket"] == zlib.crc32("zoë".encode()) % 1024
    assert row["items"] == ["a", "b"]
    assert row["value"] == Decimal("19.9900")
    assert row["page_load_ms"] == 120.0
    assert orjson.loads(row["properties"]) == {"a": 1, "b": None}
    assert (row["bot"], row["quantity"], row["position"], row["seen_ts"]) == (True, 2, 3, NOON)
    assert "detail" not in row


def test_an_exposure_becomes_a_row_for_each_assignment() -> None:
    exposure = event.exposure(
        event_id="e9",
        now_us=NOON_US,
        user_id="u1",
        session_id=None,
        placement="pdp",
        revision="9f1c2d03ab77",
        config_id="5be0c1d2e3f4",
        algo=1,
        assignments=[
            event.Exposed("pdp-reranker", 1, "treatment", "user", "u1", forced=False, traffic_bp=2000),
            event.Exposed("pdp-badge", 2, "control", "session", "s1", forced=True, traffic_bp=10_000),
        ],
        attributes={"country": "DE"},
    )
    first, second = table(**exposure)
    own = {"experiment", "phase", "variant", "unit_type", "unit_id", "forced", "traffic_bp"}
    assert {name: value for name, value in first.items() if name not in own} == {
        name: value for name, value in second.items() if name not in own
    }
    assert [first[name] for name in sorted(own)] == ["pdp-reranker", False, 1, 2000, "u1", "user", "treatment"]
    assert [second[name] for name in sorted(own)] == ["pdp-badge", True, 2, 10_000, "s1", "session", "control"]
    assert first["attributes"] == '{"country":"DE"}'
    assert first["detail"] is None


def test_an_exposure_without_assignments_keeps_one_row() -> None:
    assert only(type="exposure", assignments=[])["event_id"] == "e1"


def test_a_field_without_a_column_stands_in_detail() -> None:
    assert orjson.loads(only(colour="red", recv_ts=5, batch_id="forged")["detail"]) == {
        "colour": "red",
        "recv_ts": 5,
        "batch_id": "forged",
    }
    assignment = {"experiment": "a", "variant": "b", "layer": "l"}
    assert orjson.loads(only(type="exposure", assignments=[assignment], x=1)["detail"]) == {
        "x": 1,
        "assignment": {"layer": "l"},
    }


def test_a_variant_on_an_outcome_is_no_assignment() -> None:
    row = only(experiment="a", variant="b")
    assert "variant" not in row
    assert orjson.loads(row["detail"]) == {"experiment": "a", "variant": "b"}


@pytest.mark.parametrize("kind", ["config", "account"])
def test_what_a_sidecar_says_of_itself_keeps_its_shape_in_detail(kind: Any) -> None:
    fields = {"source": {"pod": "p"}, "placements": [1], "items": 3, "value": {"deep": [None]}, "clean_end": True}
    row = only(**event.own(kind, event_id="e1", now_us=NOON_US, revision="9f1c2d03ab77", **fields))
    assert orjson.loads(row["detail"]) == fields
    assert row["revision"] == "9f1c2d03ab77"


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (2.675, "2.6750"),  # the float is 2.67499999999999982236431605997495353221893310546875
        (1.00005, "1.0000"),  # a tie goes to the even digit
        (1.00015, "1.0002"),
        (-1.00015, "-1.0002"),
        (0.1 + 0.2, "0.3000"),
        (1e-05, "0.0000"),
        (7, "7.0000"),
        (99_999_999_999_999, "99999999999999.0000"),
        (99_999_999_999_999.98, "99999999999999.9800"),
    ],
)
def test_money_is_rounded_half_even_as_it_was_written(written: float, stored: str) -> None:
    assert only(value=written)["value"] == Decimal(stored)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"event_id": None}, "event_id"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": 7}, "event_id"),
        ({"type": "Add To Cart"}, "type"),
        ({"type": None}, "type"),
        ({"type": ["click"]}, "type"),
        ({"ts": None}, "ts"),
        ({"ts": "2026-09-22T12:00:00Z"}, "ts"),
        ({"ts": 1.5}, "ts"),
        ({"ts": -1}, "ts"),
        ({"ts": 2**63}, "ts"),
        ({"seen_ts": True}, "seen_ts"),
        ({"user_id": 5}, "user_id"),
        ({"user_id": b"u"}, "user_id"),
        ({"bot": 1}, "bot"),
        ({"items": "a"}, "items"),
        ({"items": ["a", 1]}, "items[1]"),
        ({"position": 2**31}, "position"),
        ({"position": True}, "position"),
        ({"quantity": 1.0}, "quantity"),
        ({"value": "9.99"}, "value"),
        ({"value": float("nan")}, "value"),
        ({"value": 1e14}, "value"),
        ({"value": 2**64 - 1}, "value"),
        ({"page_load_ms": float("inf")}, "page_load_ms"),
        ({"properties": [1]}, "properties"),
        ({"properties": {"a": b"bytes"}}, "properties"),
        ({"attributes": {"a": msgpack.ExtType(1, b"x")}}, "attributes"),
        ({"algo": 2**15}, "algo"),
        ({"unknown": b"bytes"}, "detail"),
        ({b"bytes": 1}, "detail"),
        ({"type": "exposure", "assignments": {"experiment": "a"}}, "assignments"),
        ({"type": "exposure", "assignments": ["a"]}, "assignments[0]"),
        ({"type": "exposure", "assignments": [{}] * 257}, "assignments"),
        ({"type": "exposure", "assignments": [{}, {"phase": "1"}]}, "assignments[1].phase"),
    ],
)
def test_a_field_of_a_wrong_type_is_refused_by_its_path(fields: Mapping[Any, Any], path: str) -> None:
    with pytest.raises(EventError) as refused:
        rows_of({**LEAST, **fields}, batch_id="h.1-a", recv_us=NOON_US)
    assert refused.value.path == path


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e13, 1e13) | st.text(max_size=9)
CALLERS = st.fixed_dictionaries(
    {"type": st.sampled_from(["impression", "click", "add_to_cart", "purchase", "page_view", "my_own"])},
    optional={
        "items": st.lists(st.text(max_size=4), max_size=4),
        "item_id": st.text(max_size=4) | st.integers(0, 9),
        "position": st.integers(-1, 2**32),
        "quantity": st.integers(0, 2**31),
        "value": st.floats() | st.integers(),
        "currency": st.just("EUR"),
        "page_load_ms": st.floats(),
        "properties": st.dictionaries(st.text(max_size=4), SCALARS, max_size=3),
        "bot": st.booleans(),
    },
)


@given(CALLERS, st.none() | st.text(max_size=5))
def test_whatever_the_sidecar_accepts_the_collector_stores(fields: dict[str, Any], user_id: str | None) -> None:
    try:
        accepted = event.from_caller(fields, user_id=user_id, session_id="s", event_id=lambda: "e", now_us=NOON_US)
    except EventError:
        return
    shipped = event.decode(event.encode(accepted))
    [row] = record_batch(rows_of(shipped, batch_id="b", recv_us=NOON_US)).to_pylist()
    assert row["type"] == fields["type"]
    assert row["detail"] is None
