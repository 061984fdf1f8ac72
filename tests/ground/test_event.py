from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside import event
from abside.collector.receive.rows import rows_of
from abside.event import EventError, EventIds, Exposed

NOW = datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=UTC)
NOW_US = 1_795_424_400_250_000
MICROSECONDS = "integer timestamps are microseconds since 1970, UTC"
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000
MARKER = "shopper-4711"

GOOD: dict[str, list[dict[str, Any]]] = {
    "impression": [
        {"exposure_id": "b-1", "placement": "pdp", "items": ["a", "b"]},
        {"items": []},
        {"items": [1, 2]},
        {"items": ["x"] * event.MAX_ITEMS},
        {},
    ],
    "click": [{"item_id": "a", "position": 0, "placement": "pdp", "exposure_id": "b-1"}, {"item_id": 17}],
    "add_to_cart": [
        {
            "item_id": "a",
            "quantity": 2,
            "value": 19.99,
            "currency": "EUR",
            "placement": "pdp",
            "exposure_id": "b-1",
        },
        {"item_id": "a", "value": 0, "currency": "JPY"},
        {"currency": "EUR"},
        {"quantity": 1},
    ],
    "purchase": [
        {"order_id": "o-1", "value": 99.5, "currency": "EUR", "item_id": "a", "quantity": 1},
        {"order_id": 1001},
        {"value": 0, "currency": "EUR"},
    ],
    "page_view": [{"page_type": "pdp", "page_load_ms": 120.5}, {"page_load_ms": 0}],
    "wishlist": [
        {"value": 1.5},
        {"value": 1, "currency": "EUR"},
        {"properties": {"a": 1, "b": "x", "c": None, "d": True, "e": 0.5}},
        {"properties": {}},
    ],
    "refund": [{"value": 9.50, "currency": "EUR"}, {"value": -9.50, "currency": "EUR"}],
}
# (type, fields, code, path)
WRONG: list[tuple[Any, dict[str, Any], str, str]] = [
    (None, {}, "INVALID_EVENT", "type"),
    (7, {}, "INVALID_EVENT", "type"),
    ("", {}, "INVALID_EVENT", "type"),
    ("Add_To_Cart", {}, "INVALID_EVENT", "type"),
    ("add-to-cart", {}, "INVALID_EVENT", "type"),
    ("click\n", {}, "INVALID_EVENT", "type"),
    ("a" * 65, {}, "INVALID_EVENT", "type"),
    ("exposure", {}, "INVALID_EVENT", "type"),
    ("config", {}, "INVALID_EVENT", "type"),
    ("account", {}, "INVALID_EVENT", "type"),
    ("impression", {"items": "a"}, "WRONG_TYPE", "items"),
    ("impression", {"items": ["a", None]}, "WRONG_TYPE", "items[1]"),
    ("impression", {"items": ["a", ""]}, "INVALID_EVENT", "items[1]"),
    ("impression", {"items": ["a", ["b"]]}, "WRONG_TYPE", "items[1]"),
    ("impression", {"items": ["x"] * 501}, "INVALID_EVENT", "items"),
    ("impression", {"item_id": "a"}, "UNKNOWN_FIELD", "item_id"),
    ("impression", {"placement": {"a": 1}}, "WRONG_TYPE", "placement"),
    ("click", {"item_id": True}, "WRONG_TYPE", "item_id"),
    ("click", {"item_id": 1.5}, "WRONG_TYPE", "item_id"),
    ("click", {"item_id": 2**64}, "WRONG_TYPE", "item_id"),
    ("click", {"item_id": "x" * 257}, "INVALID_EVENT", "item_id"),
    ("click", {"item_id": "é" * 129}, "INVALID_EVENT", "item_id"),
    ("click", {"item_id": "\ud800"}, "INVALID_EVENT", "item_id"),
    ("click", {"position": "1"}, "WRONG_TYPE", "position"),
    ("click", {"position": 1.0}, "WRONG_TYPE", "position"),
    ("click", {"position": True}, "WRONG_TYPE", "position"),
    ("click", {"position": -1}, "INVALID_EVENT", "position"),
    ("click", {"position": 2**31}, "INVALID_EVENT", "position"),
    ("click", {"value": 1}, "UNKNOWN_FIELD", "value"),
    ("add_to_cart", {"value": 1}, "INVALID_EVENT", "currency"),
    ("add_to_cart", {"value": 1, "currency": None}, "INVALID_EVENT", "currency"),
    ("add_to_cart", {"value": "1", "currency": "EUR"}, "WRONG_TYPE", "value"),
    ("add_to_cart", {"value": True, "currency": "EUR"}, "WRONG_TYPE", "value"),
    ("add_to_cart", {"value": float("nan"), "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("add_to_cart", {"value": float("inf"), "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("add_to_cart", {"value": -float("inf"), "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("add_to_cart", {"value": 10**14, "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("add_to_cart", {"value": -(10**400), "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("add_to_cart", {"value": 1, "currency": "eur"}, "INVALID_EVENT", "currency"),
    ("add_to_cart", {"value": 1, "currency": "EURO"}, "INVALID_EVENT", "currency"),
    ("add_to_cart", {"value": 1, "currency": "EUR\n"}, "INVALID_EVENT", "currency"),
    ("add_to_cart", {"value": 1, "currency": 978}, "WRONG_TYPE", "currency"),
    ("add_to_cart", {"variant": "treatment"}, "UNKNOWN_FIELD", "variant"),
    ("add_to_cart", {"seen_ts": 1}, "UNKNOWN_FIELD", "seen_ts"),
    ("purchase", {"order_id": ""}, "INVALID_EVENT", "order_id"),
    ("purchase", {"value": 3}, "INVALID_EVENT", "currency"),
    ("page_view", {"page_load_ms": -1}, "INVALID_EVENT", "page_load_ms"),
    ("page_view", {"page_load_ms": "fast"}, "WRONG_TYPE", "page_load_ms"),
    ("page_view", {"quantity": 1}, "UNKNOWN_FIELD", "quantity"),
    ("wishlist", {"item_id": "a"}, "UNKNOWN_FIELD", "item_id"),
    ("wishlist", {"properties": [1]}, "WRONG_TYPE", "properties"),
    ("wishlist", {"properties": {"a": {"b": 1}}}, "WRONG_TYPE", "properties.a"),
    ("wishlist", {"properties": {"a": [1]}}, "WRONG_TYPE", "properties.a"),
    ("wishlist", {"properties": {"a": float("nan")}}, "INVALID_EVENT", "properties.a"),
    ("wishlist", {"properties": {"a": "\udfff"}}, "INVALID_EVENT", "properties.a"),
    ("wishlist", {"properties": {"": 1}}, "INVALID_EVENT", "properties"),
    ("wishlist", {"properties": {str(n): n for n in range(65)}}, "INVALID_EVENT", "properties"),
    ("wishlist", {"nobody_declared": None}, "UNKNOWN_FIELD", "nobody_declared"),
    ("wishlist", {"n" * 1000: 1}, "UNKNOWN_FIELD", "n" * 64),
    ("click", {"bot": "yes"}, "WRONG_TYPE", "bot"),
    ("click", {"bot": 1}, "WRONG_TYPE", "bot"),
    ("click", {"event_id": ""}, "INVALID_EVENT", "event_id"),
    ("click", {"event_id": ["e"]}, "WRONG_TYPE", "event_id"),
    ("click", {"event_id": "e" * 257}, "INVALID_EVENT", "event_id"),
    ("click", {"ts": NOW_US - 7 * DAY_US - 1}, "INVALID_EVENT", "ts"),
    ("click", {"ts": NOW_US // 1_000_000}, "INVALID_EVENT", "ts"),
    ("click", {"ts": -1}, "INVALID_EVENT", "ts"),
    ("click", {"ts": NOW_US + HOUR_US + 1}, "INVALID_EVENT", "ts"),
    ("click", {"ts": NOW_US * 1000}, "INVALID_EVENT", "ts"),
    ("click", {"ts": 2**63}, "INVALID_EVENT", "ts"),
    ("add_to_cart", {"quantity": 0}, "INVALID_EVENT", "quantity"),
    ("add_to_cart", {"quantity": -1}, "INVALID_EVENT", "quantity"),
    ("add_to_cart", {"value": -0.01, "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("purchase", {"quantity": 0}, "INVALID_EVENT", "quantity"),
    ("purchase", {"value": -9.50, "currency": "EUR"}, "INVALID_EVENT", "value"),
    ("click", {"ts": 1.5e15}, "WRONG_TYPE", "ts"),
    ("click", {"ts": True}, "WRONG_TYPE", "ts"),
    ("click", {"ts": ""}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "2026-11-23"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "2026-11-23T09:00:00"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "2026-W48-1T09:00:00Z"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "20261123T090000Z"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "2026-13-23T09:00:00Z"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "2026-11-01T09:00:00Z"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "٢٠٢٦-11-23T09:00:00Z"}, "INVALID_EVENT", "ts"),
    ("click", {"ts": "0001-01-01T00:00:00+23:59"}, "INVALID_EVENT", "ts"),
]


def taken(kind: Any, fields: dict[str, Any], **ids: Any) -> event.EventMap:
    given_ids = {"user_id": "u1", "session_id": "s1", **ids}
    return event.from_caller({"type": kind, **fields}, event_id=lambda: "made", now_us=NOW_US, **given_ids)


@pytest.mark.parametrize(("kind", "fields"), [(kind, fields) for kind, rows in GOOD.items() for fields in rows])
def test_a_good_event_keeps_each_field_and_gets_its_frame(kind: str, fields: dict[str, Any]) -> None:
    stored = taken(kind, fields)
    head = {"event_id": "made", "type": kind, "ts": NOW_US, "seen_ts": NOW_US, "user_id": "u1", "session_id": "s1"}
    as_text = {name: str(value) for name, value in fields.items() if name in {"item_id", "order_id"}}
    items = {"items": [str(item) for item in fields["items"]]} if "items" in fields else {}
    default = {"quantity": 1} if kind in {"add_to_cart", "purchase"} else {}
    assert stored == {**head, **default, **fields, **as_text, **items}
    assert event.decode(event.encode(stored)) == stored


@pytest.mark.parametrize(("kind", "fields", "code", "path"), WRONG)
def test_a_bad_event_is_refused_with_its_code_and_path(kind: Any, fields: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(EventError) as refused:
        taken(kind, fields)
    assert (refused.value.code, refused.value.path) == (code, path)


def test_an_unknown_field_says_what_was_perhaps_meant() -> None:
    with pytest.raises(EventError, match=r"^itme_id: is not a field of click events; did you mean item_id\?$"):
        taken("click", {"itme_id": "a"})


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        ("click", {"itemId": "a"}, "itemId: is not a field of click events; did you mean item_id?"),
        (
            "click",
            {"itemId": "a", "messageId": "m", "colour": "c", "timestamp": 1},
            "itemId: is not a field of click events; did you mean item_id? Also messageId → event_id, timestamp → ts.",
        ),
        (
            "track",
            {"event": "Product Added", "anonymousId": "a1"},
            "event: is not a field of track events; did you mean type? Also anonymousId → session_id.",
        ),
        (
            "purchase",
            {"transactionId": "t"},
            "transactionId: is not a field of purchase events; did you mean order_id?",
        ),
        ("purchase", {"price": 1}, "price: is not a field of purchase events; did you mean value?"),
        ("page_view", {"page": "pdp"}, "page: is not a field of page_view events; did you mean page_type?"),
        ("click", {"item_id": [1]}, "item_id: must be a string or an integer, not a list"),
        (
            "click",
            {"item_id": 2.0**64},
            "item_id: must be a string or an integer, not a number beyond 64 bits: send it as a string",
        ),
        ("click", {"item_id": 1.5}, "item_id: must be a string or an integer, not a number"),
        ("add_to_cart", {"value": 1, "currency": 978}, "currency: must be a string, not a number"),
        ("add_to_cart", {"quantity": 0}, "quantity: must be 1 or more; send no event where nothing was taken"),
        ("add_to_cart", {"quantity": -1}, "quantity: must be 1 or more; send no event where nothing was taken"),
        ("add_to_cart", {"quantity": 2**31}, "quantity: must be between 1 and 2147483647"),
        (
            "refund",
            {"order_id": "o1"},
            "order_id: is not a field of refund events, a type of your own: put it into properties",
        ),
        (
            "purchase",
            {"value": -9.5, "currency": "EUR"},
            "value: must be 0 or more; what is given back is an event of its own type, for example refund",
        ),
        (
            "click",
            {"ts": NOW_US // 1000},
            f"ts: is older than 7 days; it looks like milliseconds: {MICROSECONDS}",
        ),
        (
            "click",
            {"ts": NOW_US // 1_000_000},
            f"ts: is older than 7 days; it looks like seconds: {MICROSECONDS}",
        ),
        (
            "click",
            {"ts": NOW_US * 1000},
            f"ts: lies more than an hour ahead; it looks like nanoseconds: {MICROSECONDS}",
        ),
    ],
)
def test_the_sentence_of_a_refusal(kind: str, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EventError) as refused:
        taken(kind, fields)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("callers_us", [NOW_US + 30 * DAY_US, NOW_US - 30 * DAY_US])
def test_a_time_is_refused_only_where_the_callers_clock_refuses_it_too(callers_us: int) -> None:
    def told(ts: int, **clocks: Any) -> Any:
        ids: dict[str, Any] = {"user_id": "u1", "session_id": None, "event_id": lambda: "made", "now_us": NOW_US}
        return event.from_caller({"type": "click", "ts": ts}, **ids, **clocks)["ts"]

    with pytest.raises(EventError) as refused:
        told(callers_us)
    assert refused.value.ts_us == callers_us
    assert told(callers_us, callers_us=callers_us) == min(callers_us, NOW_US)
    with pytest.raises(EventError):
        told(NOW_US // 1000, callers_us=callers_us)


def test_a_refusal_never_repeats_a_value() -> None:
    bad: list[tuple[str, dict[str, Any]]] = [
        ("click", {"item_id": [MARKER]}),
        ("click", {"event_id": MARKER * 30}),
        ("click", {"ts": MARKER}),
        ("add_to_cart", {"value": MARKER}),
        ("add_to_cart", {"value": 1, "currency": MARKER}),
        ("wishlist", {"properties": {"a": {MARKER: 1}}}),
        ("wishlist", {"properties": {"a": MARKER + "\ud800"}}),
    ]
    for kind, fields in bad:
        with pytest.raises(EventError) as refused:
            taken(kind, fields)
        assert MARKER not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "stored_us"),
    [
        (None, NOW_US),
        (NOW_US, NOW_US),
        (NOW_US - 1, NOW_US - 1),
        (NOW_US + 1, NOW_US),
        (NOW_US + HOUR_US, NOW_US),
        (NOW_US - 7 * DAY_US, NOW_US - 7 * DAY_US),
        ("2026-11-23T08:59:59.5Z", NOW_US - 750_000),
        ("2026-11-23t08:59:59.500000z", NOW_US - 750_000),
        ("2026-11-23 09:59:59.5+01:00", NOW_US - 750_000),
        ("2026-11-23T08:59:59.123456789Z", NOW_US - 250_000 - 1_000_000 + 123_456),
        ("2026-11-23T09:00:00-00:30", NOW_US),
        ("9999-12-31T23:59:59-23:59", NOW_US),
    ],
)
def test_a_time_is_microseconds_or_rfc_3339_and_the_future_becomes_now(given: Any, stored_us: int) -> None:
    assert taken("click", {"ts": given})["ts"] == stored_us


def test_seven_days_are_the_oldest_also_as_text() -> None:
    oldest = NOW - timedelta(days=7)
    assert taken("click", {"ts": oldest.isoformat()})["ts"] == NOW_US - 7 * DAY_US
    with pytest.raises(EventError, match="older than 7 days"):
        taken("click", {"ts": (oldest - timedelta(microseconds=1)).isoformat()})


def test_null_is_absent() -> None:
    fields = dict.fromkeys(["item_id", "position", "placement", "exposure_id", "ts", "event_id", "bot"])
    assert taken("click", fields) == taken("click", {})


def test_both_ids_are_always_keys_and_the_callers_own_texts_are_not_copied() -> None:
    stored = taken("click", {"user_id": 7, "session_id": "raw"}, user_id=None, session_id="parsed")
    assert stored["user_id"] is None
    assert stored["session_id"] == "parsed"


def test_the_callers_event_id_is_kept_and_else_one_is_made() -> None:
    assert taken("click", {"event_id": "mine"})["event_id"] == "mine"
    assert taken("click", {"event_id": 7})["event_id"] == "7"
    assert taken("click", {})["event_id"] == "made"


def test_a_bot_is_marked_and_others_are_not() -> None:
    assert taken("click", {"bot": True})["bot"] is True
    assert "bot" not in taken("click", {"bot": False})


def test_made_ids_are_the_boot_id_and_a_counter() -> None:
    ids = EventIds("b00t")
    assert [ids.next() for _ in range(17)][-2:] == ["b00t-f", "b00t-10"]


def test_an_exposure_is_one_event_whose_id_is_its_exposure_id() -> None:
    arm = Exposed("exp", 2, "treatment", "user", "u1", forced=False, traffic_bp=2000)
    stored = event.exposure(
        event_id="b-1",
        now_us=NOW_US,
        user_id="u1",
        session_id=None,
        placement="pdp",
        revision="0123456789ab",
        config_id="ba9876543210",
        algo=1,
        assignments=[arm],
        attributes={"country": "DE"},
        bot=True,
    )
    assert stored == {
        "event_id": "b-1",
        "type": "exposure",
        "ts": NOW_US,
        "seen_ts": NOW_US,
        "user_id": "u1",
        "session_id": None,
        "exposure_id": "b-1",
        "placement": "pdp",
        "revision": "0123456789ab",
        "config_id": "ba9876543210",
        "algo": 1,
        "assignments": [
            {
                "experiment": "exp",
                "phase": 2,
                "variant": "treatment",
                "unit_type": "user",
                "unit_id": "u1",
                "forced": False,
                "traffic_bp": 2000,
            }
        ],
        "attributes": {"country": "DE"},
        "bot": True,
    }
    assert event.decode(event.encode(stored)) == stored


def test_an_exposure_that_is_too_large_loses_its_attributes_and_nothing_else() -> None:
    small = {"event_id": "b-1", "assignments": [{"experiment": "exp"}], "attributes": {"country": "DE"}}
    large = {**small, "attributes": {"country": "D" * event.MAX_EVENT_BYTES}}
    assert event.within_bound(small) is small
    assert event.within_bound(large) == {**small, "attributes": {}}


def test_the_sidecars_own_events_are_about_no_shopper() -> None:
    stored = event.own("account", event_id="b-2", now_us=NOW_US, boot="b")
    assert (stored["user_id"], stored["session_id"], stored["boot"]) == (None, None, "b")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\x81", b"\x90", b"\x01", b"\x80\x80", b"\x81\x01\x02", b"\x81\xa1\xff\x01", b"\x91" * 5000],
)
def test_a_payload_that_is_not_one_map_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="map"):
        event.decode(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(
    sorted({name for fields in event.FIELDS.values() for name in fields} | event.COMMON_FIELDS | {"properties"})
)
kinds = st.sampled_from([*event.FIELDS, "wishlist", "exposure"]) | json_values


@settings(deadline=None, max_examples=cases(100))
@given(kinds, st.dictionaries(field_names | st.text(max_size=8), json_values, max_size=6))
def test_any_json_becomes_an_event_that_can_be_stored_or_one_refusal(kind: Any, fields: dict[str, Any]) -> None:
    try:
        stored = taken(kind, fields)
    except EventError:
        return
    assert event.decode(event.encode(stored)) == stored
    assert stored["ts"] <= stored["seen_ts"] == NOW_US
    assert isinstance(stored["event_id"], str)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2**40), st.floats(), NAMES, st.lists(NAMES, max_size=2))
ASSIGNMENT = event.assignment(Exposed("exp", 1, "treatment", "user", "u1", forced=False, traffic_bp=2000))
RIGHT: dict[str, Any] = {
    "event_id": "b-1",
    "user_id": "u1",
    "session_id": None,
    "placement": "pdp",
    "revision": "r",
    "config_id": "c",
    "algo": 1,
    "assignments": [ASSIGNMENT],
    "attributes": {"country": "DE"},
}


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(sorted(RIGHT)), VALUES, max_size=2),
    st.dictionaries(st.sampled_from(sorted(ASSIGNMENT)), VALUES, max_size=2),
    st.dictionaries(NAMES, VALUES, max_size=2),
)
def test_an_exposure_that_the_one_shape_takes_is_one_that_the_collector_reads(
    changed: dict[str, Any], arm: dict[str, Any], attributes: dict[str, Any]
) -> None:
    fields = {**RIGHT, "assignments": [{**ASSIGNMENT, **arm}], "attributes": attributes, **changed}
    if event.wrong_field(fields) is None:
        whole = {"type": "exposure", "ts": NOW_US, "seen_ts": NOW_US, "exposure_id": fields["event_id"], **fields}
        assert len(rows_of(event.decode(event.encode(whole)), batch_id="b", recv_us=NOW_US)) == 1
    assert event.wrong_field(RIGHT) is None
