"""Both clients against a real sidecar: the same calls, the same results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from abside.client import Assignment, Refused, Visit
from abside.client.strictness import check_fallbacks

if TYPE_CHECKING:
    from tests.client.conftest import Asked, Clients, Process

GERMAN = {"country": "DE"}


async def in_arm(asked: Asked, arm: str, kind: str, number: int = 0) -> str:
    """Find an id that an arm takes."""
    while True:
        number += 1
        name = f"{kind}{number}"
        answer = await asked.assign("pdp", attributes=GERMAN, expose=False, **{f"{kind}_id": name})
        if answer.variant("pdp-reranker") == arm:
            return name


@pytest.mark.parametrize("where", ["address", "unix"])
async def test_an_answer_tells_what_to_use_and_why(client: Clients, sidecar: Process, where: str) -> None:
    answer = await client(getattr(sidecar, where)).assign(
        "pdp", user_id="qa-treatment", session_id="s1", attributes={"country": "AT"}, fallback={"model": "none"}
    )
    assert answer.config == {"model": "ranker-v2", "item_count": 12}
    assert [tuple(one) for one in answer.assignments] == [("pdp-reranker", "treatment", 1)]
    assert answer.variant("pdp-reranker") == "treatment"
    assert answer.variant("another") is None
    assert answer.unit == {"type": "user", "id": "qa-treatment"}
    assert (answer.fallback, answer.why, answer.exposure_token) == (False, None, None)
    [exposure] = sidecar.spooled("exposure")
    assert exposure["exposure_id"] == answer.exposure_id
    assert (exposure["revision"], exposure["config_id"]) == (answer.revision, answer.config_id)
    assert exposure["session_id"] == "s1"


async def test_an_integer_id_is_sent_as_it_is(client: Clients, sidecar: Process) -> None:
    answer = await client(sidecar.address).assign("pdp", user_id=42)
    assert answer.unit == {"type": "user", "id": "42"}


async def test_several_placements_come_in_one_answer_and_are_exposed_by_their_tokens(
    client: Clients, sidecar: Process
) -> None:
    asked = client(sidecar.address)
    answers = await asked.assign_many(["pdp", "home", "pdp"], expose=False, user_id="u1", attributes=GERMAN)
    assert list(answers) == ["pdp", "home"]
    assert answers["home"].config == {"hero": True}
    assert answers["home"].exposure_token is None  # no experiment there: nothing to expose
    token = answers["pdp"].exposure_token
    assert token is not None
    assert sidecar.spooled("exposure") == []
    assert await asked.expose(token)
    assert await asked.expose([token])  # sent again, it is the same exposure
    assert len({one["event_id"] for one in sidecar.spooled("exposure")}) == 1


async def test_an_event_is_on_disk_before_true_is_answered(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address)
    assert await asked.event("click", user_id="u1", session_id="s1", item_id="i7", position=2, exposure_id=None)
    assert await asked.event("add_to_cart", user_id="u1", item_id="i7", event_id="mine", value=9.5, currency="EUR")
    [click], [cart] = sidecar.spooled("click"), sidecar.spooled("add_to_cart")
    assert (click["item_id"], click["position"], click["session_id"]) == ("i7", 2, "s1")
    assert (cart["event_id"], cart["value"]) == ("mine", 9.5)


async def test_the_callers_mistake_is_a_fallback_and_counted(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address)
    answer = await asked.assign("pdpp", user_id="u1", fallback={"model": "mine"})
    assert (answer.config, answer.config_id, answer.why) == ({"model": "mine"}, None, "refused")
    answer = await asked.assign("pdp", user_id="u1", attributes=["DE"])
    assert (answer.config, answer.why) == ({}, "refused")
    answer = await asked.assign("pdp")  # no unit
    assert answer.why == "refused"
    answers = await asked.assign_many(["pdp", "nowhere"], expose=True, user_id="u1", fallbacks={"pdp": BASE_OF_CALLER})
    assert [answers["pdp"].config, answers["nowhere"].config] == [BASE_OF_CALLER, {}]
    assert not await asked.event("click", user_id="u1", itemid="i7")
    assert asked.stats.fallbacks == {"refused": 5}
    assert asked.stats.lost_reports == 1


BASE_OF_CALLER = {"model": "mine"}


async def test_a_strict_client_raises_the_callers_mistakes_and_no_others(client: Clients, absent: Process) -> None:
    asked = client(absent.address, strict=True)
    assert (await asked.assign("pdp", user_id="u1")).why == "unreachable"
    with pytest.raises(Refused, match="not sent UNSENDABLE: user_id: a object is not JSON"):
        await asked.assign("pdp", user_id=object())


async def test_a_strict_client_says_what_the_sidecar_said(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address, strict=True)
    with pytest.raises(Refused, match="did you mean pdp") as caught:
        await asked.assign("pdpp", user_id="u1")
    assert (caught.value.status, caught.value.code, caught.value.path) == (404, "UNKNOWN_PLACEMENT", "placement")
    with pytest.raises(Refused, match="did you mean item_id") as caught:
        await asked.event("click", user_id="u1", itemid="i7")
    assert (caught.value.code, caught.value.path, caught.value.index) == ("UNKNOWN_FIELD", "itemid", None)


async def test_a_visit_keeps_its_sessions_variant_after_login(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address)
    session = await in_arm(asked, "treatment", "session")
    user = await in_arm(asked, "control", "user")
    visit = Visit(session_id=session)
    before = await asked.assign("pdp", visit=visit, attributes=GERMAN)
    visit.login(user)
    after = await asked.assign("pdp", visit=visit, attributes=GERMAN)
    assert before.variant("pdp-reranker") == after.variant("pdp-reranker") == "treatment"
    assert after.unit == {"type": "session", "id": session}
    assert await asked.event("purchase", visit=visit, order_id="o1")
    assert (sidecar.spooled("purchase")[0]["user_id"], sidecar.spooled("purchase")[0]["session_id"]) == (user, session)
    # The next request of the visit is answered by another process, which kept the unit as JSON.
    kept: Any = json.loads(json.dumps(visit.pinned_unit))
    resumed = Visit(user_id=user, session_id=session, pinned_unit=kept)
    assert (await asked.assign("pdp", visit=resumed, attributes=GERMAN)).variant("pdp-reranker") == "treatment"


async def test_arguments_of_the_wrong_kind_are_a_type_error(client: Clients, absent: Process) -> None:
    asked = client(absent.address)
    with pytest.raises(TypeError, match="placements is 'pdp'; write a list of names"):
        await asked.assign_many("pdp", expose=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="named by a string, not by list"):
        await asked.assign(["pdp"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a visit carries the ids"):
        await asked.assign("pdp", visit=Visit(session_id="s1"), user_id="u1")


async def test_a_strict_client_names_what_a_fallback_lacks(client: Clients, sidecar: Process) -> None:
    asked = client(sidecar.address, strict=True)
    whole = {"model": "mine", "item_count": 3}
    assert not (await asked.assign("pdp", user_id="u1", fallback=whole)).fallback
    with pytest.raises(Refused, match=r"the fallback of pdp lacks item_count, .*; modle is no parameter") as caught:
        await asked.assign("pdp", user_id="u1", fallback={"model": "mine", "modle": 1})
    assert (caught.value.code, caught.value.path) == ("INCOMPLETE_FALLBACK", "fallback")
    with pytest.raises(Refused, match="the fallback of home lacks hero"):
        await asked.assign_many(["pdp", "home"], user_id="u1", expose=True, fallbacks={"pdp": whole, "home": {}})
    lenient = client(sidecar.address)
    assert not (await lenient.assign("pdp", user_id="u1", fallback={})).fallback
    sidecar.kill()
    assert (await asked.assign("home", user_id="u1", fallback={})).why == "unreachable"


def test_a_mappings_keys_are_compared_too() -> None:
    answer = Assignment("pdp", {"model": "v1", "weights": {"margin": 0.0, "fresh": 1.0}}, "c")
    check_fallbacks({"pdp": {"model": "m", "weights": {"fresh": 1, "margin": 2}}, "home": {}}, {"pdp": answer})
    with pytest.raises(Refused, match=r"lacks weights\.margin, which"):
        check_fallbacks({"pdp": {"model": "m", "weights": {"fresh": 1}}}, {"pdp": answer})
