"""The sample of requests that shows missing attributes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from abside import snapshot
from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside.sidecar.decide.seen import sample
from abside.sidecar.decide.seen.sample import FIRST_LOOKS, LONGEST_GAP, Sample
from abside.snapshot import Step

if TYPE_CHECKING:
    from tests.sidecar.conftest import World

    from abside.snapshot import Snapshot

NOW_US = 1_795_000_000_000_000


def looked_at(published: Snapshot, requests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Send requests to one experiment's placement through a sample, the way a handler does."""
    plans = build_plans(published, NOW_US)
    taken = Sample(random.Random(1))
    place = published.experiments[name].placements[0]
    for attributes in requests:
        taken.left -= 1
        if taken.left <= 0:
            taken.look("r1", plans.placements[place], Subject("u1", None, attributes, place))
    return taken.of(plans.evaluators[name]).to_map()


def test_the_sample_tells_missing_from_wrong_and_leaves_out_what_may_be_missing(world: World) -> None:
    tree = (
        {"attribute": "country", "type": "string", "op": "eq", "value": "DE"},
        {"any": [{"attribute": "visits", "type": "number", "op": "gt", "value": 3}]},
        {"attribute": "tier", "type": "string", "op": "eq", "value": "gold", "or_missing": True},
        {"attribute": "member", "type": "boolean", "op": "missing"},
        {"attribute": "logged_in", "type": "boolean", "op": "eq", "value": True},
    )
    published = world.snapshot(search_de={"eligibility": tree})
    sent: list[dict[str, Any]] = [{"country": "DE", "visits": 4}, {"country": None, "visits": "4"}, {"visits": 9}, {}]
    assert looked_at(published, sent, "search-de") == {
        "requests": 4,
        "no_unit": 0,
        "not_eligible": 3,
        "attributes": {"country": {"missing": 3, "wrong_type": 0}, "visits": {"missing": 1, "wrong_type": 1}},
    }


def test_the_sample_is_all_of_the_first_requests_and_then_ever_fewer(world: World) -> None:
    first = looked_at(world.snapshot(), [{}] * FIRST_LOOKS, "search-de")
    assert first["requests"] == FIRST_LOOKS
    many = looked_at(world.snapshot(), [{}] * (FIRST_LOOKS + 100_000), "search-de")
    assert 400 < many["requests"] < 520  # n looks take n * n / 2 requests: 458 for 105,000
    assert many["attributes"]["country"]["missing"] == many["requests"]


def test_no_more_than_a_bounded_number_of_requests_goes_by_unseen(world: World) -> None:
    plan = build_plans(world.snapshot(), NOW_US).placements["search"]
    taken = Sample(random.Random(1))
    gaps = []
    for _ in range(5_000):
        taken.look("r1", plan, Subject("u1", None, {}, "search"))
        gaps.append(taken.left)
    assert max(gaps) <= LONGEST_GAP
    assert abs(sum(gaps[-3_000:]) / 3_000 - LONGEST_GAP / 2) < 0.1 * LONGEST_GAP


def test_a_new_eligibility_begins_a_new_count_and_a_ramp_does_not(world: World) -> None:
    plans = build_plans(world.snapshot(), NOW_US)
    taken = Sample()
    taken.look("r1", plans.placements["search"], Subject("u1", None, {}, "search"))
    ramped = build_plans(world.snapshot(search_de={"steps": (Step(0, 500),)}), NOW_US)
    assert taken.of(ramped.evaluators["search-de"]).requests == 1
    aimed = ({"attribute": "tier", "type": "string", "op": "exists"},)
    other = build_plans(world.snapshot(search_de={"eligibility": aimed}), NOW_US)
    assert taken.of(other.evaluators["search-de"]).requests == 0
    taken.look("r2", other.placements["search"], Subject("u1", None, {}, "search"))
    assert taken.of(other.evaluators["search-de"]).to_map()["attributes"] == {"tier": {"missing": 1, "wrong_type": 0}}


def test_experiments_that_come_and_go_do_not_grow_the_sample(world: World) -> None:
    taken = Sample()
    usual = world.snapshot().experiments["search-de"]
    for batch in range(3):
        many = [replace(usual, id=f"exp-{batch}-{number}") for number in range(sample.MAX_WATCHED // 2)]
        published = snapshot.assemble({}, [*world.snapshot().placements.values(), *many], written_at_us=0)
        plan = build_plans(published, NOW_US).placements["search"]
        taken.look(f"r{batch}", plan, Subject("u1", None, {}, "search"))
    assert len(taken._seen) <= sample.MAX_WATCHED
