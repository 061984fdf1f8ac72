"""What the sidecar says of itself: config events, and accounts of what was accepted and lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside import event, snapshot
from abside.sidecar import routes
from abside.sidecar.decide import handlers
from abside.sidecar.record.accounts import MAX_ARMS, MAX_KEPT_ARMS, MAX_TYPES, OTHER_TYPES, Accounts, ArmCount
from abside.snapshot import Experiment, Placement, Variant, assemble
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_424_400_000_000
SOURCE = {"pod": "pod-7", "app": "rec", "version": "1.4", "namespace": "recs", "cluster": "eu-1"}
CLICK = {"type": "click", "user_id": "u1", "item_id": "a"}


async def test_a_revision_that_comes_into_force_is_told_with_what_each_experiment_does(
    start: Start, world: World
) -> None:
    published = world.snapshot(
        pdp_rank_2026_11={"steps": (snapshot.Step(0, 2000),)}, feed_ramp={"pause": "carts broken"}
    )
    running = await start(published)
    (written,) = running.spooled("config")
    assert written.keys() == {
        *("event_id", "type", "ts", "seen_ts", "user_id", "session_id"),
        *("revision", "source", "part", "parts", "experiments"),
    }
    head = (written["revision"], written["source"], written["part"], written["parts"])
    assert head == (published.head.revision, SOURCE, 1, 1)
    by_id = {one["experiment"]: one for one in written["experiments"]}
    assert by_id["pdp-rank-2026-11"] == {
        "experiment": "pdp-rank-2026-11",
        "status": "running",
        "phase": 1,
        "control": "control",
        "traffic_bp": 2000,
        "weights_bp": {"control": 8000, "treatment": 2000},
        "pause": None,
    }
    assert (by_id["feed-ramp"]["status"], by_id["feed-ramp"]["pause"]) == ("paused", "carts broken")
    assert by_id["pdp-badge"]["status"] == "paused"


async def test_each_new_revision_and_each_scheduled_change_is_told(
    start: Start, world: World, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start()
    other = world.snapshot(pdp_badge={"status": "running"})
    running.publish(other)
    # Its own look: one of ours beside it might tell the revision once more.
    await until(lambda: len(running.spooled("config")) > 1)
    await running.sidecar.follower.look()
    written = [one["revision"] for one in running.spooled("config")]
    assert written == [world.snapshot().head.revision, other.head.revision]


async def test_a_merged_configuration_is_told_once_by_its_id_whatever_the_revision(start: Start, world: World) -> None:
    running = await start()
    for _ in range(2):
        for user in ("u7603", "u7343"):
            await running.assign(placement="pdp", user_id=user)
    await running.assign(placement="home", user_id="u1")
    served = [one["placements"] for one in running.spooled("config") if "placements" in one]
    assert [one[0]["placement"] for one in served] == ["pdp", "pdp", "home"]
    for ((entry,),) in zip(served, strict=True):
        assert entry["config_id"] == snapshot.config_id(entry["config"])
    assert [one["exposure_id"] for one in running.spooled("exposure")]
    running.publish(world.snapshot(pdp_badge={"name": "Another name"}))
    await running.sidecar.follower.look()
    await running.assign(placement="pdp", user_id="u7603")
    assert len([one for one in running.spooled("config") if "placements" in one]) == 3
    running.sidecar.context.configs._day -= 1  # the next day
    await running.assign(placement="pdp", user_id="u7603", session_id="s1")
    running.publish(world.snapshot(pdp_badge={"name": "A third name"}))
    await running.sidecar.follower.look()
    await running.assign(placement="pdp", user_id="u7603")
    written = [one for one in running.spooled("config") if "placements" in one]
    assert len(written) == 4
    assert written[-1]["revision"] != written[0]["revision"]
    assert written[-1]["placements"] == written[0]["placements"]


async def test_a_configuration_that_no_event_can_hold_is_told_without_its_values(start: Start) -> None:
    large = assemble({}, [Placement("pdp", {"text": "x" * 70_000})], written_at_us=NOW_US)
    running = await start(large)
    answer = await running.assign(placement="pdp", user_id="u1")
    (written,) = [one for one in running.spooled("config") if "placements" in one]
    assert written["placements"] == [
        {"placement": "pdp", "config_id": answer["config_id"], "config": None, "oversize": True}
    ]


async def test_many_experiments_are_told_in_parts_that_a_receiver_takes(start: Start) -> None:
    arms = [f"{'v' * 61}-{number:02}" for number in range(20)]
    variants = tuple(Variant(arm, number * 500, number * 500 + 500) for number, arm in enumerate(arms))
    many = [
        Experiment(
            id=f"{'e' * 60}-{number:03}",
            name="n",
            hypothesis="h",
            status="running",
            placements=("pdp",),
            variants=variants,
            control=arms[0],
            pause="カート" * 1000,
        )
        for number in range(100)
    ]
    running = await start(assemble({}, [Placement("pdp", {}), *many], written_at_us=NOW_US))
    written = running.spooled("config")
    assert [(one["part"], one["parts"]) for one in written] == [(number, 5) for number in range(1, 6)]
    assert [one["experiment"] for part in written for one in part["experiments"]] == [one.id for one in many]
    assert max(len(event.encode(one)) for one in written) <= event.MAX_EVENT_BYTES


async def test_an_account_stands_at_the_end_of_each_segment_cumulative_and_with_the_arms_that_changed(
    start: Start,
) -> None:
    running = await start()
    for user in ("u7603", "u7603", "u7343"):
        await running.assign(placement="pdp", user_id=user)
    await running.post("/v1/events", [CLICK, CLICK])
    await running.sidecar.spool.seal()
    await running.assign(placement="pdp", user_id="u7343")
    await running.sidecar.spool.seal()
    await running.sidecar.spool.seal()  # nothing happened: nothing is said, and nothing sealed
    first, second = running.spooled("account")
    for path in running.sidecar.spool.sealed():
        assert event.decode(good_frames(path.path.read_bytes()).payloads[-1])["type"] == "account"
    assert first["boot"] == second["boot"] == running.sidecar.context.journal.accounts.boot
    assert first["source"] == SOURCE
    assert first["accepted"] == {"config": 3, "exposure": 3, "click": 2}
    assert first["lost"] == {}
    assert first["exposures"] == [
        {"experiment": "pdp-rank-2026-11", "variant": "control", "accepted": 2, "lost": 0},
        {"experiment": "pdp-rank-2026-11", "variant": "treatment", "accepted": 1, "lost": 0},
    ]
    assert second["accepted"] == {"config": 3, "exposure": 4, "click": 2}
    assert second["exposures"] == [{"experiment": "pdp-rank-2026-11", "variant": "treatment", "accepted": 2, "lost": 0}]
    assert "clean_end" not in first | second


async def test_the_last_account_of_a_drain_says_clean_end_and_is_the_only_one(start: Start) -> None:
    running = await start()
    await running.assign(placement="pdp", user_id="u1")
    await running.sidecar.spool.seal()
    await running.sidecar.drain()
    assert [one.get("clean_end") for one in running.spooled("account")] == [None, True]
    assert running.spooled()[-1]["type"] == "account"
    assert running.spooled()[-1]["exposures"] == []


async def test_a_drain_without_anything_to_tell_says_clean_end_all_the_same(start: Start) -> None:
    running = await start(published=None)
    await running.sidecar.drain()
    (account,) = running.spooled()
    assert (account["type"], account["clean_end"], account["accepted"]) == ("account", True, {})


async def test_at_the_end_all_arms_are_told_however_many_there_are(start: Start) -> None:
    running = await start(published=None)
    accounts = running.sidecar.context.journal.accounts
    for number in range(2 * MAX_ARMS + 7):
        accounts.accept_exposures([[accounts.arm(f"e{number}", "control")]])
    await running.sidecar.drain()
    written = running.spooled("account")
    assert [len(one["exposures"]) for one in written] == [MAX_ARMS, MAX_ARMS, 7]
    assert [one.get("clean_end") for one in written] == [None, None, True]
    assert len({one["experiment"] for part in written for one in part["exposures"]}) == 2 * MAX_ARMS + 7


async def test_with_a_full_spool_assign_answers_events_are_refused_and_losses_are_counted_and_told_when_there_is_room(
    start: Start, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start(spool_limit=6_000, seal_seconds=0.1)
    spool, accounts = running.sidecar.spool, running.sidecar.context.journal.accounts
    while not accounts.lost["exposure"]:
        assert (await running.assign(placement="pdp", user_id="u7343"))["config"]["model"] == "ranker-v2"
    await running.assign(placement="pdp", user_id="u7603")
    before = running.spooled("click")
    reply = await running.post("/v1/events", [{**CLICK, "item_id": "x" * 200}])
    assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (503, "SPOOL_FULL", "5")
    token = (await running.assign(placement="pdp", user_id="u7343", expose=False))["exposure_token"]
    reply = await running.post("/v1/exposures", {"exposure_token": token})
    assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (503, "SPOOL_FULL", "5")
    assert running.spooled("click") == before
    lost = {arm: count.lost for arm, count in accounts.arms.items() if count != ArmCount()}
    assert lost["pdp-rank-2026-11", "treatment"] >= 1
    assert lost["pdp-rank-2026-11", "control"] == 1
    status, metrics = await running.status(), await running.metrics()
    assert status["events"]["lost"] == {"exposure": accounts.lost["exposure"]}
    assert metrics['abside_events_lost_total{type="exposure"}'] == accounts.lost["exposure"]
    await running.assign(placement="pdp", user_id="u7343")
    assert (await running.status())["spool"]["full_events"] == status["spool"]["full_events"] + 1  # counted once
    lost["pdp-rank-2026-11", "treatment"] += 1

    def written() -> bool:
        statements = running.spooled("account")
        arms = {(one["experiment"], one["variant"]): one["lost"] for part in statements for one in part["exposures"]}
        return arms == lost and statements[-1]["lost"] == {"exposure": accounts.lost["exposure"]}

    await spool.seal()  # while eight segments wait, none is sealed for its age
    await until(written)
    await spool.seal()
    for segment in spool.sealed():
        await spool.backlog.acknowledge(segment)
    assert spool.used_bytes < 2_000
    assert (await running.post("/v1/events", CLICK)).status == 202
    answer = await running.assign(placement="pdp", user_id="u7343")
    assert running.spooled("exposure")[-1]["event_id"] == answer["exposure_id"]


async def test_a_config_event_that_found_no_room_is_told_when_there_is(
    start: Start, world: World, until: Callable[..., Awaitable[None]]
) -> None:
    first = await start(published=None)
    assert (await first.post("/v1/events", [CLICK] * 50)).status == 202
    await first.sidecar.drain()
    running = await start(spool_limit=5_000)
    assert (await running.assign(placement="pdp", user_id="u7343"))["config"]["model"] == "ranker-v2"
    assert running.spooled("config") == []
    for segment in running.sidecar.spool.sealed():
        await running.sidecar.spool.backlog.acknowledge(segment)
    await until(lambda: bool(running.spooled("config")))
    assert running.spooled("config")[0]["revision"] == world.snapshot().head.revision

    async def served() -> bool:  # a refused one is asked for again a second later, not before
        await running.assign(placement="pdp", user_id="u7343")
        return len(running.spooled("config")) > 1

    await until(served)
    assert [one["placements"][0]["placement"] for one in running.spooled("config")[1:]] == ["pdp"]


def test_made_up_arms_never_grow_the_accounts_beyond_their_bound() -> None:
    accounts = Accounts("b", {})
    accounts.accept_exposures([[accounts.arm("real", "control")]])
    for number in range(MAX_KEPT_ARMS + 100):
        accounts.accept_exposures([[accounts.arm(f"e{number}", "v")]])
    accounts.accept_exposures([[accounts.arm("real", "control")]])
    assert len(accounts.arms) == MAX_KEPT_ARMS + 1
    assert accounts.arms["real", "control"].accepted == 2
    assert sum(count.accepted for count in accounts.arms.values()) == MAX_KEPT_ARMS + 102


def test_made_up_types_never_grow_the_accounts_beyond_their_bound() -> None:
    accounts = Accounts("b", {})
    for number in range(10_000):
        accounts.accept(f"{'t' * 58}_{number:05}")
    for arm in range(MAX_ARMS):
        accounts.lose_exposure([accounts.arm(f"{'e' * 60}-{arm:03}", "v" * 64)])
    accounts.accept("purchase")
    assert len(accounts.accepted) == MAX_TYPES + 2
    assert accounts.accepted[OTHER_TYPES] == 10_000 - MAX_TYPES
    assert accounts.accepted["purchase"] == 1
    statement = accounts.statement(event_id="b-1", now_us=NOW_US)
    assert len(event.encode(statement)) <= event.MAX_EVENT_BYTES


arms = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))
steps = st.lists(
    st.tuples(st.sampled_from(["accept", "lose", "tell"]), st.lists(arms, max_size=3, unique=True)), max_size=40
)


@given(steps)
def test_the_last_word_on_each_arm_is_its_count(story: list[tuple[str, list[tuple[str, str]]]]) -> None:
    accounts = Accounts("b", {})
    reported: dict[tuple[str, str], tuple[int, int]] = {}
    totals: tuple[Any, Any] = ({}, {})
    for what, touched in [*story, ("tell", [])]:
        if what == "accept":
            accounts.accept_exposures([[accounts.arm(*arm) for arm in touched]])
        elif what == "lose":
            accounts.lose_exposure([accounts.arm(*arm) for arm in touched])
        elif accounts.has_changed():
            statement = accounts.statement(event_id="b-1", now_us=NOW_US)
            accounts.mark_stated(statement)
            for one in statement["exposures"]:
                arm = (one["experiment"], one["variant"])
                assert reported.get(arm) != (one["accepted"], one["lost"])  # only those that changed
                reported[arm] = (one["accepted"], one["lost"])
            totals = (statement["accepted"], statement["lost"])
    assert not accounts.has_changed()
    assert reported == {arm: (count.accepted, count.lost) for arm, count in accounts.arms.items()}
    assert totals == (dict(accounts.accepted), dict(accounts.lost))


async def test_the_sidecars_own_tasks_are_supervised_by_name(start: Start) -> None:
    running = await start()
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert {"follow", "spool", "tell"} <= names
    await running.sidecar.drain()
    assert not {"follow", "spool", "tell"} & {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("upstream", ["ftp://collector", "http://", "http://user:pw@collector"])
async def test_an_upstream_that_is_none_is_refused_at_start(start: Start, upstream: str) -> None:
    with pytest.raises(ValueError, match="upstream"):
        await start(upstream=upstream)


async def test_a_drain_ends_in_time_when_the_disk_does_not_answer(start: Start) -> None:
    running = await start(drain_seconds=0.2, linger_seconds=0.0)
    await running.post("/v1/events", [{"type": "click", "user_id": "u1", "item_id": "a"}])
    sidecar = running.sidecar
    async with asyncio.timeout(20.0), sidecar.spool._disk:  # a job that never ends has it
        await sidecar.drain()
    assert len(sidecar.spool.sealed()) == 0
    assert len(running.spooled("click")) == 1


async def test_a_clock_that_went_back_does_not_silence_the_log(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    running = await start(spool_limit=1)
    journal = running.sidecar.context.journal
    now_us = 10**15
    journal.clock = lambda: now_us
    for _ in range(3):
        await running.post("/v1/events", [{"type": "click", "user_id": "u1", "item_id": "a"}])
    assert caplog.text.count("spool_refuses") == 1
    now_us -= 86_400_000_000
    await running.post("/v1/events", [{"type": "click", "user_id": "u1", "item_id": "a"}])
    assert caplog.text.count("spool_refuses") == 2


async def test_whoever_calls_assign_finds_its_exposures_in_the_spool_when_it_returns(start: Start) -> None:
    running = await start()
    context = running.sidecar.context
    handlers.assign(context, b'{"placement":"pdp","user_id":"u7343"}')
    assert [one["placement"] for one in running.spooled("exposure")] == ["pdp"]
    both = b'{"placements":["pdp","newsfeed"],"user_id":"u7343","session_id":"s1","expose":true}'
    handlers.assign(context, both)
    assert [one["placement"] for one in running.spooled("exposure")] == ["pdp", "pdp", "newsfeed"]


async def test_the_hot_routes_come_with_what_writes_the_exposures_of_all_that_came_together(start: Start) -> None:
    running = await start()
    hot = routes.fast(running.sidecar.context, running.sidecar.settings)
    assign = next(route for route in hot.routes if route.path == "/v1/assign")
    for user in (b"u1", b"u2"):
        assign.handle(b'{"placement":"pdp","user_id":"%b"}' % user)
    assert running.spooled("exposure") == []
    hot.settle()
    assert [one["user_id"] for one in running.spooled("exposure")] == ["u1", "u2"]
