"""`POST /v1/track`: the arguments of an OpenFeature SDK's `track`, and the one event or refusal that comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

CART: dict[str, Any] = {"event": "add_to_cart", "context": {"targetingKey": "u1"}}


def said(stored: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what differs each time."""
    return {name: value for name, value in stored.items() if name not in {"event_id", "ts", "seen_ts"}}


TAKEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (CART, {"type": "add_to_cart", "user_id": "u1", "session_id": None, "quantity": 1}),
    (
        {**CART, "value": 9.5, "attributes": {"itemId": "i7", "currency": "USD", "shelf": 3, "gift": True}},
        {
            "type": "add_to_cart",
            "user_id": "u1",
            "session_id": None,
            "quantity": 1,
            "value": 9.5,
            "item_id": "i7",
            "currency": "USD",
            "properties": {"shelf": 3, "gift": True},
        },
    ),
    (
        {"event": "pageView", "context": {"sessionId": "s1", "country": "DE"}, "attributes": {"pageLoadMs": 12}},
        {"type": "page_view", "user_id": None, "session_id": "s1", "page_load_ms": 12},
    ),
    (
        {"event": "rated", "context": {"user_id": 7, "targetingKey": "t", "session_id": "s"}, "value": -2},
        {"type": "rated", "user_id": "7", "session_id": "s", "value": -2},
    ),
    (
        {"event": "rated", "context": {"user_id": "guest", "targetingKey": 12}, "attributes": {"type": "A", "n": None}},
        {"type": "rated", "user_id": "12", "session_id": None, "properties": {"type": "A", "n": None}},
    ),
    (
        {**CART, "event": "click", "value": 3, "attributes": {"properties": {"a": 1}, "b": 2}},
        {"type": "click", "user_id": "u1", "session_id": None, "properties": {"a": 1, "value": 3, "b": 2}},
    ),
    (
        {**CART, "value": None, "attributes": None, "context": {"targetingKey": "u1", "user_id": None}},
        {"type": "add_to_cart", "user_id": "u1", "session_id": None, "quantity": 1},
    ),
    (
        {**CART, "attributes": {"itemId": None, "bot": True, "value": 2, "currency": "EUR"}},
        {
            "type": "add_to_cart",
            "user_id": "u1",
            "session_id": None,
            "quantity": 1,
            "value": 2,
            "currency": "EUR",
            "bot": True,
        },
    ),
]


async def test_what_track_has_becomes_one_event_and_nothing_is_lost(start: Start) -> None:
    running = await start()
    for body, event in TAKEN:
        reply = await running.post("/v1/track", body)
        assert (reply.status, reply.json) == (202, {"accepted": 1}), reply.text
        assert said(running.spooled()[-1]) == event
    reply = await running.post("/v1/track", {**CART, "attributes": {"event_id": "mine", "ts": "2020-01-01T00:00:00Z"}})
    assert (reply.status, reply.json["path"]) == (422, "attributes.ts")
    await running.post("/v1/track", {**CART, "attributes": {"eventId": "mine"}})
    assert running.spooled()[-1]["event_id"] == "mine"


REFUSED: list[tuple[Any, int, str, str | None, str]] = [
    (b'{"event": "rated", "context": {"targetingKey": "u1"}, "value": NaN}', 400, "MALFORMED", None, "finite"),
    (b"", 400, "MALFORMED", None, "empty"),
    ([CART], 422, "WRONG_TYPE", None, "an object"),
    ({"context": {"targetingKey": "u1"}}, 422, "INVALID_EVENT", "event", "add_to_cart"),
    ({**CART, "event": 7}, 422, "INVALID_EVENT", "event", "not a number"),
    ({**CART, "event": "Add to Cart"}, 422, "INVALID_EVENT", "event", "write add_to_cart"),
    ({**CART, "event": "exposure"}, 422, "INVALID_EVENT", "event", "sidecar itself"),
    ({**CART, "trackingEventDetails": {}}, 422, "UNKNOWN_FIELD", "trackingEventDetails", "not a field"),
    ({"event": "rated"}, 400, "NO_UNIT", None, "targetingKey"),
    ({**CART, "context": {"targetingKey": ""}}, 400, "NO_UNIT", None, "targetingKey"),
    ({**CART, "context": "u1"}, 422, "WRONG_TYPE", "context", "an object"),
    ({**CART, "context": {"targetingKey": True}}, 422, "INVALID_UNIT", "context.targetingKey", "a boolean"),
    ({**CART, "context": {"targetingKey": 1.5}}, 422, "INVALID_UNIT", "context.targetingKey", "a float"),
    ({**CART, "value": "9.50"}, 422, "WRONG_TYPE", "value", "not a string"),
    ({**CART, "value": -1}, 422, "INVALID_EVENT", "value", "refund"),
    ({**CART, "attributes": {"value": "9"}}, 422, "WRONG_TYPE", "attributes.value", "not a string"),
    ({**CART, "value": 1, "attributes": {"value": 1}}, 422, "INVALID_EVENT", "attributes.value", "send one"),
    (
        {**CART, "event": "click", "value": 1, "attributes": {"value": 1}},
        *(422, "INVALID_EVENT", "attributes.value", "send one"),
    ),
    (
        {**CART, "attributes": {"item_id": "a", "itemId": "a"}},
        *(422, "INVALID_EVENT", "attributes.itemId", "attributes.item_id"),
    ),
    ({**CART, "attributes": {"cart": {"size": 3}}}, 422, "WRONG_TYPE", "attributes.cart", "not an object"),
    ({**CART, "attributes": {"properties": [1]}}, 422, "WRONG_TYPE", "attributes.properties", "not a list"),
    ({**CART, "attributes": {"properties": [1], "a": 1}}, 422, "WRONG_TYPE", "attributes.properties", "not a list"),
    ({**CART, "attributes": {"properties": {"a": 1}, "a": 1}}, 422, "INVALID_EVENT", "attributes.a", "send one"),
    ({**CART, "attributes": {"userId": "u2"}}, 422, "INVALID_EVENT", "attributes.userId", "context"),
    ({**CART, "attributes": [1]}, 422, "WRONG_TYPE", "attributes", "not a list"),
    ({**CART, "attributes": {str(n): n for n in range(65)}}, 422, "INVALID_EVENT", "attributes", "bound is 64"),
    ({**CART, "attributes": {"a": [[[[[[[[[1]]]]]]]]]}}, 400, "MALFORMED", None, "deeper"),
    ({**CART, "attributes": {"a": "x" * 70_000}}, 413, "TOO_LARGE", None, "bytes"),
]


async def test_what_is_wrong_has_one_clear_answer_and_leaves_nothing(start: Start) -> None:
    running = await start()
    before = running.spooled()
    for body, status, code, path, word in REFUSED:
        reply = await running.post("/v1/track", body)
        shown = reply.json
        assert (reply.status, shown["code"], shown.get("path")) == (status, code, path), (body, reply.text)
        assert word in shown["detail"], reply.text
    assert running.spooled() == before


async def test_an_amount_without_a_currency_is_in_the_documents(start: Start, world: World) -> None:
    plain = world.snapshot()
    running = await start(replace(plain, head=replace(plain.head, report={"currency": "CHF"})))
    for kind, attributes in (("purchase", {}), ("purchase", {"currency": "EUR"}), ("rated", {}), ("click", {})):
        body = {"event": kind, "context": {"targetingKey": "u1"}, "value": 5, "attributes": attributes}
        assert (await running.post("/v1/track", body)).status == 202
    stored = [one for one in running.spooled() if one["type"] != "config"]
    assert [one.get("currency") for one in stored] == ["CHF", "EUR", None, None]
    assert (await running.metrics())["abside_track_without_currency_total"] == 0


@pytest.mark.parametrize("ready", [True, False])
async def test_without_one_it_is_stored_without_and_counted(start: Start, world: World, ready: bool) -> None:
    running = await start(world.snapshot() if ready else None)
    assert (await running.post("/v1/track", {**CART, "value": 5})).status == 202
    assert "currency" not in running.spooled("add_to_cart")[0]
    assert (await running.metrics())["abside_track_without_currency_total"] == 1
    reply = await running.post("/v1/events", {"type": "add_to_cart", "user_id": "u1", "value": 5})
    assert (reply.status, reply.json["path"]) == (422, "currency")  # whoever writes our events writes it
