from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from abside import snapshot
from abside.assignment.unit import SHARED_IDS
from abside.snapshot import Attribute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    from abside.snapshot import Parameters

    Start = Callable[..., Awaitable[Running]]

# Of the golden vectors of this experiment's salt.
IN_CONTROL, IN_TREATMENT = "u7603", "u7343"
V1: Parameters = {"model": "ranker-v1", "feature_weights": {"margin": 0.0, "freshness": 1.0}, "item_count": 12}
V2: Parameters = {"model": "ranker-v2", "feature_weights": {"margin": 0.3, "freshness": 1.0}, "item_count": 12}


async def test_the_answer_has_the_contracts_shape_field_by_field(start: Start, world: World) -> None:
    running = await start()
    reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": IN_TREATMENT})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    answer = reply.json
    exposure_id = running.spooled("exposure")[0]["exposure_id"]
    assert list(answer) == ["placement", "revision", "config_id", "exposure_id", "unit", "config", "assignments"]
    assert answer == {
        "placement": "pdp",
        "revision": world.snapshot().head.revision,
        "config_id": snapshot.config_id(V2),
        "exposure_id": exposure_id,
        "unit": {"type": "user", "id": IN_TREATMENT},
        "config": V2,
        "assignments": [{"experiment": "pdp-rank-2026-11", "variant": "treatment", "phase": 1}],
    }
    assert list(answer["config"]) == list(V1)


async def test_the_exposure_is_on_disk_before_the_answer_with_all_it_needs(start: Start, world: World) -> None:
    running = await start()
    answer = await running.assign(placement="pdp", user_id=IN_TREATMENT, session_id=42)
    (exposure,) = running.spooled("exposure")
    seen_us = exposure.pop("seen_ts")
    assert exposure == {
        "event_id": answer["exposure_id"],
        "type": "exposure",
        "ts": seen_us,
        "user_id": IN_TREATMENT,
        "session_id": "42",
        "exposure_id": answer["exposure_id"],
        "placement": "pdp",
        "revision": world.snapshot().head.revision,
        "config_id": answer["config_id"],
        "algo": 1,
        "assignments": [
            {
                "experiment": "pdp-rank-2026-11",
                "phase": 1,
                "variant": "treatment",
                "unit_type": "user",
                "unit_id": IN_TREATMENT,
                "forced": False,
                "traffic_bp": 10_000,
            }
        ],
        "attributes": {},
    }


async def test_control_gets_the_placements_own_values_and_is_exposed_too(start: Start) -> None:
    running = await start()
    answer = await running.assign(placement="pdp", user_id=IN_CONTROL)
    assert answer["config"] == V1
    assert answer["config_id"] == snapshot.config_id(V1)
    assert [one["variant"] for one in answer["assignments"]] == ["control"]
    assert len(running.spooled("exposure")) == 1


async def test_what_several_experiments_set_is_merged_and_named_by_one_config_id(start: Start, world: World) -> None:
    running = await start(world.snapshot(pdp_badge={"status": "running", "phase": 3}))
    for number in range(40):
        answer = await running.assign(placement="pdp", user_id=f"u{number}")
        got = {one["experiment"]: one for one in answer["assignments"]}
        assert list(got) == ["pdp-badge", "pdp-rank-2026-11"]
        assert got["pdp-badge"]["phase"] == 3
        expected = dict(V2 if got["pdp-rank-2026-11"]["variant"] == "treatment" else V1)
        if got["pdp-badge"]["variant"] == "badge":
            expected["item_count"] = 8
        assert answer["config"] == expected
        assert answer["config_id"] == snapshot.config_id(expected)
    assert len({one["config_id"] for one in running.spooled("exposure")}) == 4


async def test_several_placements_are_answered_together(start: Start, world: World) -> None:
    running = await start()
    body = {"placements": ["newsfeed", "home", "pdp"], "user_id": IN_TREATMENT, "session_id": "s1", "expose": True}
    answer = await running.assign(**body)
    assert list(answer) == ["revision", "unit", "placements"]
    assert answer["revision"] == world.snapshot().head.revision
    assert answer["unit"] == {"type": "user", "id": IN_TREATMENT}
    assert list(answer["placements"]) == ["newsfeed", "home", "pdp"]
    for name, shown in answer["placements"].items():
        assert list(shown) == ["placement", "config_id", "exposure_id", "config", "assignments"]
        assert shown["placement"] == name
    assert answer["placements"]["pdp"]["config"] == V2
    assert answer["placements"]["home"]["exposure_id"] is None
    exposures = running.spooled("exposure")
    assert [one["placement"] for one in exposures] == ["newsfeed", "pdp"]
    assert [one["exposure_id"] for one in exposures] == [
        answer["placements"][name]["exposure_id"] for name in ("newsfeed", "pdp")
    ]
    assert exposures[0]["assignments"][0] | {"variant": ""} == {
        "experiment": "feed-ramp",
        "phase": 2,
        "variant": "",
        "unit_type": "session",
        "unit_id": "s1",
        "forced": False,
        "traffic_bp": 10_000,
    }


async def test_a_placement_named_twice_is_answered_and_exposed_once(start: Start) -> None:
    running = await start()
    answer = await running.assign(placements=["pdp", "pdp"], user_id="u1", expose=True)
    assert list(answer["placements"]) == ["pdp"]
    assert len(running.spooled("exposure")) == 1


async def test_one_unknown_placement_refuses_the_whole_call_and_logs_nothing(start: Start) -> None:
    running = await start()
    before = len(running.spooled())
    reply = await running.post("/v1/assign", {"placements": ["pdp", "pdb"], "user_id": "u1", "expose": True})
    assert (reply.status, reply.json["code"], reply.json["path"]) == (404, "UNKNOWN_PLACEMENT", "placements")
    assert "'pdb'" in reply.json["detail"]
    assert "did you mean pdp?" in reply.json["detail"]
    assert len(running.spooled()) == before


async def test_several_placements_must_say_whether_it_is_exposure(start: Start) -> None:
    running = await start()
    reply = await running.post("/v1/assign", {"placements": ["pdp"], "user_id": "u1"})
    assert (reply.status, reply.json["code"], reply.json["path"]) == (422, "WRONG_TYPE", "expose")


async def test_nothing_assigned_means_nothing_logged_and_no_exposure_id(start: Start) -> None:
    running = await start()
    answer = await running.assign(placement="home", user_id="u1")
    assert answer["exposure_id"] is None
    assert answer["assignments"] == []
    assert answer["config"] == {"hero": True}
    assert running.spooled("exposure") == []


async def test_paused_gives_every_unit_the_placements_parameters_and_resume_the_variant_it_had(
    start: Start, world: World, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start()
    users = [f"u{number}" for number in range(30)]

    async def variants() -> list[Any]:
        answers = [await running.assign(placement="pdp", user_id=user) for user in users]
        return [[one["variant"] for one in answer["assignments"]] for answer in answers]

    async def in_force(revision: str) -> None:
        async def changed() -> bool:
            return bool((await running.status())["revision"] == revision)

        await until(changed)

    before = await variants()
    assert {"control", "treatment"} == {one for (one,) in before}
    for paused in (
        world.snapshot(pdp_rank_2026_11={"pause": "carts broken"}),
        world.snapshot(pdp_rank_2026_11={"status": "paused"}),
    ):
        running.publish(paused)
        await in_force(paused.head.revision)
        exposed = len(running.spooled("exposure"))
        for user in users:
            answer = await running.assign(placement="pdp", user_id=user)
            assert (answer["config"], answer["assignments"], answer["exposure_id"]) == (V1, [], None)
        assert len(running.spooled("exposure")) == exposed
    running.publish(world.snapshot())
    await in_force(world.snapshot().head.revision)
    assert await variants() == before


@pytest.mark.parametrize(
    ("ids", "experiment", "variant"),
    [
        ({"user_id": "qa-user-1"}, "pdp-rank-2026-11", "treatment"),
        ({"user_id": "someone", "session_id": "qa-user-1"}, "pdp-rank-2026-11", "treatment"),
        ({"session_id": "qa-user-2"}, "pdp-badge", "badge"),  # in a paused experiment too
    ],
)
async def test_the_documents_force_gives_these_units_this_variant_flagged(
    start: Start, ids: dict[str, str], experiment: str, variant: str
) -> None:
    running = await start()
    answer = await running.assign(placement="pdp", **ids)
    assert {"experiment": experiment, "variant": variant, "phase": 1} in answer["assignments"]
    (exposure,) = running.spooled("exposure")
    forced = {one["experiment"]: one["forced"] for one in exposure["assignments"]}
    assert forced[experiment] is True


async def test_a_request_may_force_only_where_the_sidecar_allows_it(start: Start) -> None:
    body = {"placement": "pdp", "user_id": IN_CONTROL, "force": {"pdp-rank-2026-11": "treatment"}}
    running = await start()
    reply = await running.post("/v1/assign", body)
    assert (reply.status, reply.json["code"], reply.json["path"]) == (422, "UNKNOWN_FIELD", "force")
    assert "--allow-force" in reply.json["detail"]
    assert (await running.assign(**{**body, "force": None}))["config"] == V1
    assert len(running.spooled("exposure")) == 1


async def test_a_forced_variant_is_given_and_flagged(start: Start) -> None:
    running = await start(allow_force=True)
    force = {"pdp-rank-2026-11": "treatment", "pdp-badge": "badge"}
    answer = await running.assign(placement="pdp", user_id=IN_CONTROL, force=force)
    assert answer["config"] == {**V2, "item_count": 8}
    (exposure,) = running.spooled("exposure")
    assert [(one["variant"], one["forced"]) for one in exposure["assignments"]] == [
        ("badge", True),
        ("treatment", True),
    ]
    plain = await running.assign(placement="pdp", user_id=IN_CONTROL, force={})
    assert plain["config"] == V1


@pytest.mark.parametrize(
    ("force", "path", "words"),
    [
        ({"pdp-rank-2026-11": "treatmint"}, "force.pdp-rank-2026-11", "it has control, treatment"),
        ({"pdp-rerank": "treatment"}, "force.pdp-rerank", "here run pdp-badge, pdp-rank-2026-11"),
        ({"feed-ramp": "dense"}, "force.feed-ramp", "here run"),
        ({"pdp-badge": 1}, "force.pdp-badge", "must be a variant's name"),
        (["pdp-badge"], "force", "must be an object"),
    ],
)
async def test_forcing_what_does_not_run_here_says_what_does(start: Start, force: Any, path: str, words: str) -> None:
    running = await start(allow_force=True)
    reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": "u1", "force": force})
    assert (reply.status, reply.json["path"]) == (422, path)
    assert words in reply.json["detail"]


async def test_a_pinned_unit_keeps_a_visit_on_its_session_variant_after_login(start: Start) -> None:
    running = await start()
    before = await running.assign(placement="pdp", session_id=IN_TREATMENT)
    assert before["unit"] == {"type": "session", "id": IN_TREATMENT}
    ids = {"user_id": IN_CONTROL, "session_id": IN_TREATMENT}
    assert (await running.assign(placement="pdp", **ids))["config"] == V1
    after = await running.assign(placement="pdp", **ids, pinned_unit=before["unit"])
    assert after["config"] == V2
    assert after["unit"] == before["unit"]
    exposure = running.spooled("exposure")[-1]
    assert (exposure["user_id"], exposure["session_id"]) == (IN_CONTROL, IN_TREATMENT)
    assert (exposure["assignments"][0]["unit_type"], exposure["assignments"][0]["unit_id"]) == ("session", IN_TREATMENT)


@pytest.mark.parametrize(
    ("pinned", "code", "path"),
    [
        ({"type": "session", "id": "other"}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "user", "id": "s1"}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "user", "id": 7}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "user", "id": None}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "user"}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "user", "id": 1.5}, "INVALID_UNIT", "pinned_unit.id"),
        ({"type": "visit", "id": "u1"}, "WRONG_TYPE", "pinned_unit.type"),
        ({"type": ["user"], "id": "u1"}, "WRONG_TYPE", "pinned_unit.type"),
        ({"id": "u1"}, "WRONG_TYPE", "pinned_unit.type"),
        ({"type": "user", "id": "u1", "ide": 1}, "UNKNOWN_FIELD", "pinned_unit.ide"),
        ("u1", "WRONG_TYPE", "pinned_unit"),
        (["user", "u1"], "WRONG_TYPE", "pinned_unit"),
    ],
)
async def test_a_pinned_unit_must_be_the_requests_own(start: Start, pinned: Any, code: str, path: str) -> None:
    running = await start()
    body = {"placement": "pdp", "user_id": "u1", "session_id": "s1", "pinned_unit": pinned}
    reply = await running.post("/v1/assign", body)
    assert (reply.status, reply.json["code"], reply.json["path"]) == (422, code, path)
    assert running.spooled("exposure") == []


async def test_a_pinned_integer_id_is_the_same_as_its_text(start: Start) -> None:
    running = await start()
    pinned = {"type": "user", "id": 42}
    assert (await running.assign(placement="pdp", user_id="42", pinned_unit=pinned))["unit"] == {
        "type": "user",
        "id": "42",
    }


async def test_a_known_bot_is_assigned_and_logged_as_one(start: Start) -> None:
    running = await start()
    answer = await running.assign(placement="pdp", user_id=IN_TREATMENT, bot=True)
    assert answer["config"] == V2
    await running.assign(placement="pdp", user_id=IN_TREATMENT, bot=False)
    assert [one.get("bot") for one in running.spooled("exposure")] == [True, None]


async def test_only_attributes_declared_for_the_log_and_of_their_type_are_logged(start: Start) -> None:
    running = await start()
    good = {
        "country": "DE",
        "visits": 3,
        "app_version": "2.1.0",
        "since": "2026-01-01T00:00:00Z",
        "member": True,
        "tags": ["a", "b"],
    }
    await running.assign(placement="pdp", user_id="u1", attributes={**good, "tier": "gold", "undeclared": "x"})
    wrong = {"country": 1, "visits": "3", "app_version": 2, "since": [1], "member": "yes", "tags": ["a", 1]}
    await running.assign(placement="pdp", user_id="u1", attributes=wrong)
    odd = {"country": "D" * 257, "visits": True, "since": 1_795_000_000, "member": None, "tags": ["t"] * 33}
    await running.assign(placement="pdp", user_id="u1", attributes=odd)
    logged = [one["attributes"] for one in running.spooled("exposure")]
    assert logged == [good, {}, {"since": 1_795_000_000}]


async def test_attributes_that_would_make_an_exposure_too_large_are_left_out_of_it(start: Start, world: World) -> None:
    lists = {f"list{number}": Attribute("list", log=True) for number in range(60)}
    published = snapshot.assemble(lists, world.records, written_at_us=1)
    running = await start(published, max_assign_bytes=2**18)  # a larger body than the default lets an event outgrow it
    attributes = {name: ["x" * 36] * 32 for name in lists}
    answer = await running.assign(placement="pdp", user_id=IN_TREATMENT, attributes=attributes)
    (exposure,) = running.spooled("exposure")
    assert exposure["event_id"] == answer["exposure_id"]
    assert exposure["attributes"] == {}
    assert [one["variant"] for one in exposure["assignments"]] == ["treatment"]


async def test_eligibility_sees_the_attributes_of_the_request(start: Start) -> None:
    running = await start()
    seen = [
        (await running.assign(placement="search", user_id="u1", attributes=attributes))["config"]["stemmer"]
        for attributes in ({"country": "DE"}, {"country": "AT"}, {"country": None}, {}, None)
    ]
    assert seen == ["de", "none", "none", "none", "none"]


@pytest.mark.parametrize(
    ("ids", "unit"),
    [
        ({"user_id": "u1", "session_id": "s1"}, {"type": "user", "id": "u1"}),
        ({"user_id": None, "session_id": "s1"}, {"type": "session", "id": "s1"}),
        ({"user_id": "", "session_id": "s1"}, {"type": "session", "id": "s1"}),
        ({"user_id": "guest", "session_id": "s1"}, {"type": "session", "id": "s1"}),
        ({"user_id": 0, "session_id": "s1"}, {"type": "session", "id": "s1"}),
        ({"user_id": "u1", "session_id": "null"}, {"type": "user", "id": "u1"}),
        ({"user_id": -2}, {"type": "user", "id": "-2"}),
        ({"user_id": 2**64 - 1}, {"type": "user", "id": "18446744073709551615"}),
        ({"user_id": "a" * 256}, {"type": "user", "id": "a" * 256}),
        ({"user_id": " u1 "}, {"type": "user", "id": " u1 "}),
        ({"user_id": "\x00"}, {"type": "user", "id": "\x00"}),
        ({"user_id": "用户12345"}, {"type": "user", "id": "用户12345"}),
    ],
)
async def test_the_unit_used_is_answered(start: Start, ids: dict[str, Any], unit: dict[str, str]) -> None:
    running = await start()
    assert (await running.assign(placement="pdp", **ids))["unit"] == unit


async def test_the_unit_is_null_where_no_experiment_used_one(start: Start) -> None:
    running = await start()
    assert (await running.assign(placement="home", user_id="u1"))["unit"] is None
    by_session = await running.assign(placement="newsfeed", user_id="u1", session_id="s1")
    assert (by_session["unit"], len(by_session["assignments"])) == (None, 1)
    both = await running.assign(placements=["pdp", "home"], user_id="u1", expose=False)
    assert both["unit"] == {"type": "user", "id": "u1"}


async def test_null_is_absent_in_every_field(start: Start) -> None:
    running = await start()
    names = ("session_id", "attributes", "expose", "pinned_unit", "force", "bot")
    nulls = dict.fromkeys(names)
    one = await running.assign(placement="pdp", placements=None, user_id=IN_TREATMENT, **nulls)
    assert (one["placement"], one["config"]) == ("pdp", V2)
    assert one["exposure_id"] is not None
    several = await running.assign(
        placement=None, placements=["pdp"], user_id=IN_TREATMENT, **{**nulls, "expose": True}
    )
    assert several["placements"]["pdp"]["config"] == V2


@pytest.mark.parametrize("shared", sorted(SHARED_IDS))
async def test_an_id_of_nobody_falls_back_to_the_session_in_any_case(start: Start, shared: str) -> None:
    running = await start()
    for user_id in (shared, shared.upper(), shared.title(), shared.swapcase(), " ", "\t", 0, -1):
        body = {"placement": "pdp", "user_id": user_id, "session_id": "s-1"}
        for answer in (await running.assign(**body), (await running.post("/v1/explain", body)).json):
            assert answer["unit"] == {"type": "session", "id": "s-1"}, user_id
        reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": "u1", "session_id": user_id})
        assert reply.json["unit"] == {"type": "user", "id": "u1"}
        assert running.spooled("exposure")[-1]["session_id"] is None


async def test_shared_ids_are_a_setting(start: Start) -> None:
    running = await start(shared_ids=("Nobody, KIOSK",))
    assert (await running.assign(placement="pdp", user_id="nobody-1"))["unit"] == {"type": "user", "id": "nobody-1"}
    for one in ("nobody", "NOBODY", "kiosk", "Kiosk", "guest"):
        reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": one})
        assert (reply.status, reply.json["code"]) == (400, "NO_UNIT"), one
    answer = await running.assign(placement="pdp", user_id="nobody", session_id="s1")
    assert answer["unit"] == {"type": "session", "id": "s1"}
    assert running.spooled("exposure")[-1]["user_id"] is None


async def test_before_the_first_snapshot_assign_says_not_ready_and_when_to_ask_again(
    start: Start, world: World
) -> None:
    running = await start(published=None)
    for path in ("/v1/assign", "/v1/explain"):
        reply = await running.post(path, {"placement": "pdp", "user_id": "u1"})
        assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (503, "NOT_READY", "1")
    running.publish(world.snapshot())
    await running.sidecar.follower.look()
    assert (await running.assign(placement="pdp", user_id="u1"))["placement"] == "pdp"


async def test_explain_gives_assigns_answer_with_steps_and_provenance_and_logs_nothing(start: Start) -> None:
    running = await start()
    body = {"placement": "pdp", "user_id": IN_TREATMENT}
    reply = await running.post("/v1/explain", body)
    assert reply.status == 200
    explained = reply.json
    steps, provenance = explained.pop("steps"), explained.pop("provenance")
    assert [one["type"] for one in running.spooled()] == ["config"]
    answer = await running.assign(**body)
    assert explained == {**answer, "exposure_id": None}
    assert provenance == {
        "model": "pdp-rank-2026-11/treatment",
        "feature_weights.margin": "pdp-rank-2026-11/treatment",
        "feature_weights.freshness": "pdp-rank-2026-11/treatment",
        "item_count": "placement",
    }
    assert {"experiment": "pdp-badge", "step": "status", "ok": False, "reason": "PAUSED"} in steps
    assert steps[-1] == {
        "experiment": "pdp-rank-2026-11",
        "step": "variant",
        "ok": True,
        "reason": "SPLIT",
        "bucket": 8000,
        "range": [8000, 10_000],
    }


async def test_explain_answers_several_placements_too(start: Start) -> None:
    running = await start()
    reply = await running.post("/v1/explain", {"placements": ["pdp", "search"], "user_id": "u1", "expose": False})
    assert reply.status == 200
    assert list(reply.json) == ["revision", "unit", "placements"]
    for shown in reply.json["placements"].values():
        assert {"steps", "provenance", "config"} <= shown.keys()
        assert shown["exposure_token"] is None
    assert [one["type"] for one in running.spooled()] == ["config"]
