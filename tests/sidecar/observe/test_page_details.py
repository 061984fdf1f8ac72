"""What the page shows of an experiment beyond its status, and its form: what does this shopper get?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from drawn_page import ALLOWED, HOSTILE, NOW_US, Read, one, read, status_of

from abside.sidecar.observe.asking import AskedShopper
from abside.sidecar.observe.details import ExperimentDetails, LeafChange, PodRatio
from abside.snapshot import Step, Variant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

MINUTE_US = 60_000_000
PLAIN = ExperimentDetails("Margin first sells more", (), {"plain": (), "treatment": ()}, None)


def card(status: dict[str, Any], more: ExperimentDetails = PLAIN) -> Read:
    return read(status_of({"pdp-reranker": one(**status)}), details=lambda _: more)


def with_ratio(p: float | None, exposures: int = 1000) -> ExperimentDetails:
    return replace(PLAIN, ratio=PodRatio(NOW_US - 2 * MINUTE_US, exposures, p))


def test_a_card_tells_owner_hypothesis_who_and_since_when() -> None:
    targeted = replace(PLAIN, eligibility=("country in [AT, DE]", "app_version gte 2.10.0"))
    text = card({"owner": "search-team", "since_us": NOW_US - 3 * MINUTE_US}, targeted).text
    assert "pdp-reranker of search-team Margin first sells more Traffic 20%" in text
    assert "Since 18 Nov 2026, 11:03 UTC (3 minutes ago) Next" in text
    assert "Who country in [AT, DE] and app_version gte 2.10.0" in text
    assert "Who everybody" in card({}).text


def test_a_variant_tells_what_it_changes_and_a_long_list_is_cut() -> None:
    few = (LeafChange("pdp", "model", "v1", "v2"), LeafChange("pdp", "weights.margin", 0.0, 0.3))
    more = replace(PLAIN, changes={"plain": (), "treatment": (*few, LeafChange("cart", "rows", None, 4))})
    text = card({}, more).text
    assert "790 changes nothing treatment" in text
    assert 'pdp : model "v1" → "v2" , weights.margin 0.0 → 0.3 ; cart : rows nothing → 4' in text
    many = tuple(LeafChange("pdp", f"p{number}", 0, 1) for number in range(11))
    assert "p7 0 → 1 ; 3 more changes in its document" in card({}, replace(PLAIN, changes={"treatment": many})).text


def test_the_sample_ratio_has_its_p_and_since_when_it_was_counted() -> None:
    assert (
        "Sample ratio: p = 0.42 , from 1,000 exposures of this pod since 18 Nov 2026, 11:04 UTC (2 minutes ago)."
        in card({}, with_ratio(0.42)).text
    )
    assert "p < 0.0001 , from" in card({}, with_ratio(1e-12)).text
    assert "Sample ratio: not yet, 7 exposures of this pod since" in card({}, with_ratio(None, 7)).text
    alarmed = card({}, with_ratio(0.0009))
    assert "A shopper who comes back counts again, so look at abside report" in alarmed.text
    assert ("p", {"class": "ratio marked"}) in alarmed.elements
    assert "Sample ratio" not in card({"status": "paused", "pause": "x"}, with_ratio(0.42)).text


def test_running_at_nothing_is_not_green() -> None:
    idle, running = card({"traffic_bp": 0}), card({})
    assert ("span", {"class": "badge idle"}) in idle.elements
    assert "running at 0%" in idle.text
    assert ("span", {"class": "badge running"}) not in idle.elements
    assert ("span", {"class": "badge running"}) in running.elements


def test_drafts_and_what_ended_are_folded_unless_they_are_looked_for() -> None:
    several = {"a": one(), "b": one(status="draft"), "c": one(status="ended"), "d": one(status="draft")}
    folded, found = read(status_of(several)), read(status_of(several), find="b")
    assert folded.elements.count(("details", {"class": "fold"})) == 2
    assert "2 drafts" in folded.text
    assert "1 ended" in folded.text
    assert ("details", {"class": "fold", "open": None}) in found.elements


def test_the_command_to_pause_is_there_to_copy_and_no_odd_id_comes_into_it() -> None:
    patch = """kubectl patch configmap abside-paused --type merge -p '{"data":{"pdp-reranker":%s}}'"""
    assert "Pause it " + patch % '"the reason"' in card({}).text
    assert patch % "null" in card({"status": "paused", "pause": "broken"}).text
    for changes in ({"status": "draft"}, {"status": "ended"}, {"status": "paused", "pause": None}):
        assert "kubectl" not in card(changes).text
    assert "kubectl" not in read(status_of({"a'; rm -rf /": one()})).text


def test_a_layer_is_a_bar_with_its_slots_and_what_is_free() -> None:
    several = {
        "a": one(layer="ranking", slots=[0, 3000]),
        "b": one(layer="ranking", slots=[5000, 10_000], status="paused"),
        "c": one(layer="ranking", slots=[3000, 5000], status="ended"),
    }
    found = read(status_of(several))
    assert "ranking 0% to 30%: a 30% to 50%: free 50% to 100%: b (paused)" in found.text
    bars = [attributes for name, attributes in found.elements if name == "rect" and attributes.get("class", "")]
    assert {"class": "tone-free", "x": "30", "width": "20", "height": "8"} in bars
    assert 'id="layers"' not in "".join(map(str, read(status_of()).elements))


def test_every_text_of_the_details_and_of_the_form_is_escaped() -> None:
    change = LeafChange(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    more = ExperimentDetails(HOSTILE, (HOSTILE,), {"treatment": (change,)}, None)
    step = {"experiment": HOSTILE, "step": "eligibility", "ok": False, "reason": "NOT_ELIGIBLE"}
    answer = {
        "config_id": HOSTILE,
        "config": {"a": HOSTILE},
        "assignments": [],
        "steps": [{**step, "condition": HOSTILE, "saw": HOSTILE, "note": HOSTILE}],
        "provenance": {"a": HOSTILE},
    }
    types: Any = {HOSTILE: "string"}
    asked = AskedShopper(HOSTILE, HOSTILE, HOSTILE, types, {HOSTILE: HOSTILE}, answer)
    status = status_of({"a": one(owner=HOSTILE, layer=HOSTILE, slots=[0, 1])}, placements=[HOSTILE])
    for found in (
        read(status, details=lambda _: more, asked=asked),
        read(status, details=lambda _: more, asked=replace(asked, answer=None, refusal=HOSTILE)),
    ):
        assert "script" not in {name for name, _ in found.elements}
        assert not {name for name, _ in found.elements} - ALLOWED
        assert found.text.count("<script>") >= 8
        assert not [True for _, attributes in found.elements if {"onerror", "onload", "style"} & attributes.keys()]


async def test_details_come_from_the_records_in_force(start: Start, world: World) -> None:
    running = await start(world.snapshot(search_de={"owner": "search-team", "hypothesis": "<b>Better</b> results"}))
    found = Read((await running.get("/")).text)
    assert "search-de of search-team <b>Better</b> results" in found.text
    assert "Who country eq DE" in found.text
    assert (
        'pdp : model "ranker-v1" → "ranker-v2" , feature_weights.margin 0.0 → 0.3 Sample' in found.text
    )  # not freshness


async def test_the_sample_ratio_begins_anew_with_another_split_and_only_then(start: Start, world: World) -> None:
    running = await start(world.snapshot(), allow_force=True)

    async def shown(exposures: int) -> str:
        for _ in range(exposures):
            await running.assign(placement="pdp", user_id="x", force={"pdp-rank-2026-11": "treatment"})
        return Read((await running.get("/?find=re-ranker")).text).text

    assert "p < 0.0001 , from 30 exposures of this pod since" in await shown(30)
    published = world.snapshot(pdp_rank_2026_11={"steps": (Step(0, 5000),), "name": "re-ranker, ramped"})
    running.publish(published)
    await running.sidecar.follower.look()
    assert "from 31 exposures" in await shown(1)
    arms = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {"pdp": {"model": "ranker-v2"}}))
    running.publish(world.snapshot(pdp_rank_2026_11={"variants": arms, "phase": 2}))
    await running.sidecar.follower.look()
    text = await shown(2)
    assert "Sample ratio: not yet, 2 exposures of this pod" in text
    assert "treatment 50% 100% 33" in text  # the table counts since the sidecar started


async def test_asking_for_a_shopper_answers_as_explain_does_and_logs_nothing(start: Start, world: World) -> None:
    running = await start(world.snapshot())
    await running.assign(placement="search", user_id="u1")
    events, sample = running.spooled(), (await running.status())["experiments"]["search-de"]["sample"]
    text = Read((await running.get("/?placement=pdp&user_id=u7343")).text).text
    assert "pdp-rank-2026-11 treatment : bucket 8,000, in are 8,000 to 9,999" in text
    assert "pdp-badge not in: it is paused" in text
    assert 'model "ranker-v2" by pdp-rank-2026-11/treatment' in text
    assert "Does not reload by itself." in text
    text = Read((await running.get("/?placement=search&session_id=s1&attribute.country=FR")).text).text
    assert 'search-de not in: country eq DE does not hold, it saw "FR"' in text
    text = Read((await running.get("/?placement=newsfeed&user_id=u1")).text).text
    assert "feed-ramp not in: the id that it needs was not given" in text
    assert running.spooled() == events
    assert (await running.status())["experiments"]["search-de"]["sample"] == sample


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("placement=pdpp&user_id=u1", "Not answered: there is no placement 'pdpp'; did you mean pdp?"),
        ("placement=pdp", "Not answered: "),
        ("placement=pdp&user_id=guest", "Not answered: "),
        (f"placement=pdp&user_id={'u' * 300}", "Not answered: user_id"),
        ("user_id=u1", "Reloads every 15 seconds."),
    ],
)
async def test_what_cannot_be_answered_says_why(query: str, sentence: str, start: Start) -> None:
    running = await start()
    reply = await running.get(f"/?{query}")
    assert reply.status == 200
    assert sentence in Read(reply.text).text


async def test_an_attribute_is_sent_as_its_type_and_what_is_none_of_it_is_named(start: Start, world: World) -> None:
    leaf = {"attribute": "visits", "type": "number", "op": "gte", "value": 3}
    tags = {"attribute": "tags", "type": "list", "op": "has_any", "value": ["vip"]}
    member = {"attribute": "member", "type": "boolean", "op": "eq", "value": True}
    running = await start(world.snapshot(search_de={"eligibility": (leaf, tags, member)}))
    base = "/?placement=search&user_id=u1&attribute.tags=new,+vip&attribute.member=True&attribute.visits"
    assert "search-de german : bucket" in Read((await running.get(f"{base}=3.5")).text).text
    text = Read((await running.get(f"{base}=many")).text).text
    assert 'visits gte 3 does not hold, it saw "many" , visits is no number' in text


async def test_a_page_of_another_site_gets_no_answer_about_a_shopper(start: Start) -> None:
    running = await start()
    async with running.http.get(
        f"{running.url}/?placement=pdp&user_id=u1", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    ) as reply:
        assert reply.status == 403


async def test_before_the_first_snapshot_there_is_no_form(start: Start) -> None:
    running = await start(published=None)
    text = Read((await running.get("/?placement=pdp&user_id=u1")).text).text
    assert "What does this shopper get?" not in text
