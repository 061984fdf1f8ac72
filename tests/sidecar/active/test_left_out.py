"""A record of the snapshot that cannot be used is left out by name; it costs no other record, and no pause."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.assignment.assign import Evaluator
from abside.snapshot import FORMAT, HEADER, MAGIC, SnapshotError, Step, Variant, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

BAD = "search-de"  # on a placement of its own
COUNTRY = {"attribute": "country", "type": "string", "op": "eq", "value": "DE"}
HALVES = (Variant("control", 0, 5000), Variant("b", 5000, 10_000))
# Every one of these has the shape of a record, and nobody can be assigned from it.
UNBUILDABLE: list[tuple[dict[str, Any], str]] = [
    ({"variants": ()}, "no variants"),
    ({"variants": HALVES[:1]}, "do not fill"),
    ({"variants": (HALVES[0], Variant("b", 4000, 10_000))}, "do not fill"),
    ({"variants": (HALVES[0], replace(HALVES[1], id="control"))}, "one id"),
    ({"layer": "gone"}, "layer and slots"),
    ({"slots": (0, 5000)}, "layer and slots"),
    ({"layer": "a", "slots": (0, 10_001)}, "0 to 10000"),
    ({"steps": (Step(0, 10_001),)}, "0 to 10000"),
    ({"steps": (Step(0, -1),)}, "0 to 10000"),
    ({"force": {"qa-user-9": "no-such-variant"}}, "no-such-variant"),
    ({"eligibility": ({**COUNTRY, "op": "matches"},)}, "matches"),
    ({"eligibility": ({**COUNTRY, "type": "colour"},)}, "colour"),
    ({"eligibility": ({**COUNTRY, "op": "lt"},)}, "does not go with a string"),
    ({"eligibility": ({**COUNTRY, "value": 7},)}, "no string"),
    ({"eligibility": ({**COUNTRY, "op": "in"},)}, "list"),
    ({"eligibility": ({**COUNTRY, "op": "in", "value": ["DE", None]},)}, "no string"),
    ({"eligibility": ({**COUNTRY, "type": "number", "op": "gt", "value": "DE"},)}, "no number"),
    ({"eligibility": ({**COUNTRY, "type": "version", "op": "gt", "value": "x.y"},)}, "no version"),
    ({"eligibility": ({**COUNTRY, "type": "date", "op": "gt", "value": "2026-12-01T00:00:00Z"},)}, "no date"),
    ({"eligibility": ({**COUNTRY, "or_missing": "yes"},)}, "or_missing"),
    ({"eligibility": ({**COUNTRY, "attribute": "logged_in"},)}, "logged_in is a boolean"),
    ({"eligibility": ({"any": [{"attribute": "country"}]},)}, "type"),
    ({"eligibility": ("country is DE",)}, "cannot be compiled"),
]


def maps_of(world: World, **changes: Any) -> list[dict[str, Any]]:
    return list(msgpack.Unpacker(BytesIO(encode(world.snapshot(**changes))[HEADER.size :])))


def sealed(maps: list[Any]) -> bytes:
    body = b"".join(map(msgpack.packb, maps))
    return HEADER.pack(MAGIC, FORMAT, len(body), hashlib.sha256(body).digest()) + body


def chosen(maps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in maps if one.get("id") == name)


async def taken(running: Running, data: Any) -> dict[str, Any]:
    """Publish and look; return the status."""
    running.publish(data)
    await running.sidecar.follower.look()
    status: dict[str, Any] = await running.status()
    return status


@pytest.mark.parametrize(("changes", "why"), UNBUILDABLE, ids=[why for _, why in UNBUILDABLE])
async def test_what_cannot_be_built_is_left_out_by_name_and_a_pause_in_the_same_file_is_in_force(
    start: Start, world: World, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], why: str
) -> None:
    running = await start()
    assert (await running.assign(placement="pdp", user_id="u7603"))["assignments"]
    published = world.snapshot(search_de=changes, pdp_rank_2026_11={"pause": "carts broken"})
    caplog.clear()
    status = await taken(running, published)
    assert (status["revision"], status["degraded"]) == (published.head.revision, True)
    assert (status["snapshot"]["refused"], status["snapshot"]["refusal"]) == (0, None)
    shown = status["experiments"][BAD]
    assert (shown["status"], shown["traffic_bp"], shown["variants"]) == ("left_out", 0, {})
    assert why in shown["reason"]
    (problem,) = status["problems"]
    assert (problem["severity"], problem["code"], problem["path"]) == ("error", "LEFT_OUT", f"experiments.{BAD}")
    assert why in problem["message"]
    assert "qa-user-9" not in str(status)
    (line,) = [line for line in caplog.messages if line.startswith("record_left_out")]
    assert f"id={BAD}" in line
    metrics = await running.metrics()
    assert (metrics["abside_snapshot_left_out"], metrics["abside_snapshot_degraded"]) == (1, 1)
    assert (await running.assign(placement="pdp", user_id="u7603"))["assignments"] == []  # the pause
    answer = await running.assign(placement="search", user_id="u1", attributes={"country": "DE"})
    assert (answer["config"], answer["assignments"], answer["exposure_id"]) == ({"stemmer": "none"}, [], None)
    assert (await running.post("/v1/explain", {"placement": "search", "user_id": "u1"})).status == 200
    page = (await running.get("/")).text
    assert "left out" in page
    assert "Shoppers get what its placements have without it" in page
    reported = [one for event in running.spooled("config") for one in event.get("experiments", ())]
    assert [one["status"] for one in reported if one["experiment"] == BAD][-1] == "left_out"


async def test_it_is_whole_again_with_the_next_good_file(start: Start, world: World) -> None:
    running = await start(world.snapshot(search_de={"variants": ()}))  # from the very first file on
    assert (await running.status())["degraded"]
    assert (await running.admin("/readyz")).status == 200
    status = await taken(running, world.snapshot())
    assert (status["degraded"], status["problems"]) == (False, [])
    assert status["experiments"][BAD]["status"] == "running"
    answer = await running.assign(placement="search", user_id="u1", attributes={"country": "DE"})
    assert [one["experiment"] for one in answer["assignments"]] == [BAD]


def shapeless(maps: list[dict[str, Any]]) -> None:
    del chosen(maps, BAD)["variants"]


def three_slots(maps: list[dict[str, Any]]) -> None:
    chosen(maps, BAD).update(layer="ranking", slots=[0, 5000, 6000])


def of_another_kind(maps: list[dict[str, Any]]) -> None:
    maps.append({"kind": "Holdout", "digest": "0", "id": "half", "source": "a.yaml"})


def no_map(maps: list[Any]) -> None:
    maps.append("experiments")


def wrong_status(maps: list[dict[str, Any]]) -> None:
    chosen(maps, BAD)["status"] = "archived"


def wrong_unit(maps: list[dict[str, Any]]) -> None:
    chosen(maps, BAD)["unit"] = "household"


def placements_of_another_type(maps: list[dict[str, Any]]) -> None:
    chosen(maps, BAD)["placements"] = [["search"]]


def twice(maps: list[dict[str, Any]]) -> None:
    maps.append({**chosen(maps, BAD), "hypothesis": "another"})


def placement_without_parameters(maps: list[dict[str, Any]]) -> None:
    chosen(maps, "home")["parameters"] = None


def too_deep(maps: list[dict[str, Any]]) -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    chosen(maps, "home")["parameters"] = {"hero": nested}


def layer_without_source(maps: list[dict[str, Any]]) -> None:
    maps.append({"kind": "Layer", "digest": "0", "id": "ranking"})


def attribute_of_another_type(maps: list[dict[str, Any]]) -> None:
    maps[0]["attributes"]["colour"] = ["colour", True, "a.yaml"]


def attribute_of_another_shape(maps: list[dict[str, Any]]) -> None:
    maps[0]["attributes"]["colour"] = "string"


def problem_of_another_shape(maps: list[dict[str, Any]]) -> None:
    maps[0]["problems"] = [{"path": 7}]


@pytest.mark.parametrize(
    ("spoil", "path"),
    [
        (shapeless, f"experiments.{BAD}"),
        (wrong_status, f"experiments.{BAD}"),
        (wrong_unit, f"experiments.{BAD}"),
        (placements_of_another_type, f"experiments.{BAD}"),
        (three_slots, f"experiments.{BAD}"),
        (twice, f"experiments.{BAD}"),
        (of_another_kind, "holdouts.half"),
        (no_map, "records"),
        (placement_without_parameters, "placements.home"),
        (too_deep, "placements.home"),
        (layer_without_source, "layers.ranking"),
        (attribute_of_another_type, "attributes.colour"),
        (attribute_of_another_shape, "attributes.colour"),
        (problem_of_another_shape, "problems.0"),
    ],
)
async def test_what_cannot_be_read_is_left_out_by_name_too(
    start: Start, world: World, spoil: Callable[[list[dict[str, Any]]], None], path: str
) -> None:
    running = await start()
    maps = maps_of(world, pdp_rank_2026_11={"pause": "carts broken"})
    spoil(maps)
    status = await taken(running, sealed(maps))
    assert (status["degraded"], status["snapshot"]["refused"]) == (True, 0)
    assert [one["path"] for one in status["problems"]] == [path]
    assert (await running.assign(placement="pdp", user_id="u7603"))["assignments"] == []  # the pause
    for page in ("/", "/v1/status"):
        assert (await running.get(page)).status == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def spoilt(data: st.DataObject, value: Any) -> Any:
    """Change one thing somewhere inside, at any depth."""
    if data.draw(st.integers(0, 3)) and isinstance(value, dict) and value:
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: spoilt(data, value[name])}
    if data.draw(st.integers(0, 3)) and isinstance(value, list) and value:
        index = data.draw(st.integers(0, len(value) - 1))
        return [*value[:index], spoilt(data, value[index]), *value[index + 1 :]]
    return data.draw(json_values)


async def test_whatever_one_record_holds_no_other_experiment_and_no_pause_is_held_up_by_it(
    start: Start, world: World
) -> None:
    running = await start()
    await running.sidecar.supervisor.stop("follow")
    files: list[bytes] = []

    @settings(deadline=None, max_examples=cases(60), suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        maps = maps_of(world, pdp_badge={"status": "running", "pause": f"night {len(files)}"})
        at = next(index for index, one in enumerate(maps) if one.get("id") == BAD)
        maps[at] = spoilt(data, {**maps[at], "digest": str(len(files))})
        files.append(sealed(maps))

    collect()
    cell = running.sidecar.context.cell
    for number, data in enumerate(files):
        running.publish(data)
        await running.sidecar.follower.look()
        assert (cell.refused, cell.swaps) == (0, number + 2)
        assert cell.current is not None
        assert cell.current.plans.evaluators["pdp-badge"].experiment.pause == f"night {number}"
        answer = await running.assign(placement="pdp", user_id="u7603")
        assert [one["experiment"] for one in answer["assignments"]] == ["pdp-rank-2026-11"]
        for attributes in ({"country": "DE"}, {"country": 7}, {}):
            body = {"placement": "search", "user_id": "u1", "attributes": attributes}
            assert (await running.post("/v1/assign", body)).status == 200
            assert (await running.post("/v1/explain", body)).status == 200
        assert (await running.get("/v1/status")).status == 200
        assert (await running.get("/")).status == 200
        assert (await running.admin("/metrics")).status == 200


@pytest.mark.parametrize(("changes", "why"), UNBUILDABLE, ids=[why for _, why in UNBUILDABLE])
def test_who_builds_before_publishing_meets_the_same_refusal(world: World, changes: dict[str, Any], why: str) -> None:
    one = world.snapshot(search_de=changes).experiments[BAD]
    with pytest.raises(SnapshotError, match=why):
        Evaluator.build(one, 0)
