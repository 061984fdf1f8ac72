"""The clients without a sidecar: the sidecar's answers, records and refusals over what a test gives."""

from __future__ import annotations

from typing import Any

import pytest

from abside.client import Refused, Visit
from abside.testing import AsyncFakeClient, FakeClient

PLACEMENTS: dict[str, Any] = {"pdp": {"model": "v1", "weights": {"margin": 0.0, "fresh": 1.0}}, "home": {"rows": 3}}
VARIANTS: dict[str, Any] = {
    "reranker": {"treatment": {"pdp": {"model": "v2", "weights": {"margin": 0.5}}}, "control": {"pdp": {}}}
}


def test_every_shopper_gets_the_variant_that_is_given() -> None:
    client = FakeClient(PLACEMENTS, VARIANTS)
    answer = client.assign("pdp", user_id="u1", attributes={"country": "DE"})
    assert answer.config == {"model": "v2", "weights": {"margin": 0.5, "fresh": 1.0}}
    assert answer.variant("reranker") == "treatment"
    client.give("reranker", "control")
    assert client.assign("pdp", user_id="u1").variant("reranker") == "control"
    assert client.assign("pdp", user_id="u1", force={"reranker": "treatment"}).config == answer.config
    client.give("reranker", None)
    alone = client.assign("pdp", user_id="u1")
    assert (alone.config, alone.assignments, alone.exposure_id) == (PLACEMENTS["pdp"], (), None)


def test_what_was_exposed_and_reported_is_recorded_as_the_collector_gets_it() -> None:
    client = FakeClient(PLACEMENTS, VARIANTS)
    visit = Visit(session_id="s1")
    answers = client.assign_many(["pdp", "home"], visit=visit, expose=False)
    assert client.exposures == []
    assert client.expose(answers["pdp"].exposure_token or "")
    assert client.track("add_to_cart", context={"targetingKey": "u1"}, value=2, attributes={"currency": "EUR"})
    assert client.event("click", visit=visit, item_id=7)
    (exposure,) = client.exposures
    assert exposure["assignments"][0]["variant"] == "treatment"
    assert exposure["session_id"] == "s1"
    assert [one["type"] for one in client.events] == ["add_to_cart", "click"]
    assert client.events[1]["item_id"] == "7"
    client.clear()
    assert client.exposures == client.events == []


def test_a_mistake_is_refused_in_the_sidecars_words() -> None:
    client = FakeClient(PLACEMENTS)
    with pytest.raises(Refused, match="did you mean pdp") as refused:
        client.assign("pdpp", user_id="u1")
    assert (refused.value.status, refused.value.code) == (404, "UNKNOWN_PLACEMENT")
    with pytest.raises(Refused, match="did you mean item_id"):
        client.event("click", user_id="u1", itemid="i1")
    with pytest.raises(Refused, match="currency"):
        client.event("purchase", user_id="u1", value=3)
    with pytest.raises(Refused, match="NO_UNIT"):
        client.assign("pdp")
    with pytest.raises(TypeError, match="attribute"):
        client.assign("pdp", user_id="u1", attribute={})  # type: ignore[call-arg]
    with pytest.raises(Refused, match="FLAG_NOT_FOUND"):
        client.evaluate("reranker", context={"targetingKey": "u1"})
    assert client.events == []


def test_without_strict_a_mistake_is_a_fallback_as_in_production() -> None:
    client = FakeClient(PLACEMENTS, strict=False)
    answer = client.assign("pdpp", user_id="u1", fallback={"model": "mine"})
    assert (answer.config, answer.fallback, answer.why) == ({"model": "mine"}, True, "refused")
    receipt = client.event("click", user_id="u1", itemid="i1")
    assert (bool(receipt), receipt.code, receipt.path) == (False, "UNKNOWN_FIELD", "itemid")
    assert client.stats.lost_reports == 1


def test_a_sidecar_that_is_away_gives_fallbacks_until_it_is_back() -> None:
    client = FakeClient(PLACEMENTS, VARIANTS)
    with client.away("unreachable"):
        answer = client.assign("pdp", user_id="u1", fallback={"model": "mine"})
        assert (answer.config, answer.why) == ({"model": "mine"}, "unreachable")
        receipt = client.event("click", user_id="u1", item_id="i1")
        assert (bool(receipt), receipt.why, receipt.waits) == (False, "unreachable", True)
        assert client.evaluate("pdp", context={"targetingKey": "u1"}).why == "unreachable"
    assert client.events == []
    assert not client.assign("pdp", user_id="u1").fallback
    assert [(one["type"], one["item_id"]) for one in client.events] == [("click", "i1")]  # it waited


async def test_the_client_for_asyncio_has_the_same_calls_to_be_awaited() -> None:
    async with AsyncFakeClient(PLACEMENTS, VARIANTS) as client:
        assert (await client.assign("pdp", user_id="u1")).config["model"] == "v2"
        assert (await client.assign_many(["home"], user_id="u1", expose=True))["home"].config == {"rows": 3}
        assert await client.event("click", user_id="u1", item_id="i1")
        assert (await client.evaluate("reranker", context={"targetingKey": "u1"})).value == "treatment"
        with pytest.raises(Refused):
            await client.assign("pdpp", user_id="u1")
    assert len(client.exposures) == 2


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"x": {"t": {"pdp": {"modl": "v2"}}}}, "'modl'; did you mean model"),
        ({"x": {"t": {"pdp": {"weights": {"margn": 1}}}}}, "'margn'; did you mean margin"),
        ({"x": {"t": {"ppd": {}}}}, "'ppd'; did you mean pdp"),
        ({"x": {"t": {}}}, "names no placement"),
        ({"x": {}}, "has no variant"),
        ({"x": {"t": {"pdp": {"model": object()}}}}, "JSON"),
        ({"x": {"t": {"pdp": {"model": "a"}}}, "y": {"t": {"pdp": {"model": "b"}}}}, "both set model at pdp"),
    ],
)
def test_what_would_have_no_effect_is_refused(variants: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FakeClient(PLACEMENTS, variants)


def test_a_variant_that_is_not_there_cannot_be_given() -> None:
    client = FakeClient(PLACEMENTS, VARIANTS)
    with pytest.raises(ValueError, match="did you mean treatment"):
        client.give("reranker", "treatmnt")
    with pytest.raises(ValueError, match="did you mean reranker"):
        client.give("rerankr", None)
