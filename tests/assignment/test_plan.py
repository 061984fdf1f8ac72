from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from abside.assignment.assign import Evaluator
from abside.assignment.plan import (
    MAX_MERGED_CONFIGS,
    NO_PLANS,
    AssignedVariant,
    PlacementDecision,
    PlacementPlan,
    build_in_slices,
    build_plans,
)
from abside.snapshot import (
    Experiment,
    Layer,
    Placement,
    Snapshot,
    SnapshotError,
    Step,
    Variant,
    assemble,
    config_id,
    decode,
    digest_of,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.unit import Subject

NOW = 1_000_000
HALVES = ((0, 5000), (5000, 10_000))


def whole(variant: str, parameters: dict[str, Any]) -> tuple[Variant, ...]:
    """Every unit gets this variant; "off" is there to be forced."""
    return Variant(variant, 0, 10_000, {"pdp": parameters}), Variant("off", 10_000, 10_000)


def plan_of(placement: Placement, *experiments: Experiment) -> PlacementPlan:
    return PlacementPlan.build(placement, [Evaluator.build(experiment, NOW) for experiment in experiments])


def snapshot_of(*records: Placement | Layer | Experiment) -> Snapshot:
    return assemble({}, records, written_at_us=NOW)


def test_without_experiments_everyone_gets_the_placements_own_parameters(
    pdp: Placement, subject: Callable[..., Subject]
) -> None:
    answer = plan_of(pdp).assign(subject())
    nobody = plan_of(pdp).assign(subject(None, None))

    assert answer == PlacementDecision(pdp.parameters, config_id(pdp.parameters), (), ("user", "u1"))
    assert nobody == answer._replace(unit=None)


def test_an_answer_tells_the_variants_by_experiment_id_and_whom_they_were_given_to(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    plan = plan_of(
        pdp,
        experiment(id="z", unit="session", variants=whole("on", {"item_count": 24})),
        experiment(id="elsewhere", placements=("home",)),
        experiment(id="paused", status="paused"),
        experiment(id="a", phase=3, steps=(Step(0, 9999),), variants=whole("on", {"model": "v3"})),
        experiment(id="m", force={"u1": "off"}, variants=whole("on", {"model": "v9"})),
    )

    assert plan.assign(subject("u1", "s1")) == PlacementDecision(
        config={"model": "v3", "item_count": 24},
        config_id=config_id({"model": "v3", "item_count": 24}),
        assignments=(
            AssignedVariant("a", "on", 3, ("user", "u1"), forced=False, traffic_bp=9999),
            AssignedVariant("m", "off", 1, ("user", "u1"), forced=True, traffic_bp=10_000),
            AssignedVariant("z", "on", 1, ("session", "s1"), forced=False, traffic_bp=10_000),
        ),
        unit=("user", "u1"),
    )


def test_the_unit_of_an_answer_is_the_pinned_one_whatever_the_experiments_randomise(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    plan = plan_of(pdp, experiment(id="by-user", unit="user"), experiment(id="either"))
    answer = plan.assign(subject("u1", "s1", pinned=("session", "s1")))

    assert answer.unit == ("session", "s1")
    assert [(given.experiment, given.unit) for given in answer.assignments] == [
        ("by-user", ("user", "u1")),
        ("either", ("session", "s1")),
    ]


def test_a_mapping_is_laid_over_key_by_key_a_list_is_replaced_whole_and_the_placement_is_never_written_to(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    own: dict[str, Any] = {"weights": {"margin": 0.3, "by": {"tier": {"gold": 2}}}, "order": [{"a": 1}]}
    base: dict[str, Any] = {
        "weights": {"margin": 0.0, "by": {"tier": {"gold": 1, "new": 1}}},
        "order": [{"a": 0, "b": 0}],
        "model": "m1",
    }
    home = Placement("home", deepcopy(base))
    arms = (Variant("on", 0, 10_000, {"home": own, "pdp": {"model": "m9"}}),)
    plan = plan_of(home, experiment(placements=("pdp", "home"), variants=arms))

    wanted: dict[str, Any] = {
        "weights": {"margin": 0.3, "by": {"tier": {"gold": 2, "new": 1}}},
        "order": [{"a": 1}],
        "model": "m1",
    }
    answer = plan.assign(subject(placement="home"))
    assert (answer.config, answer.config_id) == (wanted, config_id(wanted))
    assert home.parameters == base


def test_two_experiments_on_two_keys_of_one_mapping_are_both_in_the_answer(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    home = Placement("pdp", {**pdp.parameters, "weights": {"margin": 0.0, "freshness": 1.0}})
    plan = plan_of(
        home,
        experiment(id="margin", variants=whole("on", {"weights": {"margin": 0.3}})),
        experiment(id="freshness", variants=whole("on", {"weights": {"freshness": 0.5}})),
    )

    assert plan.assign(subject()).config == {**pdp.parameters, "weights": {"margin": 0.3, "freshness": 0.5}}


@pytest.mark.parametrize(
    ("forced", "model"),
    [([], "a"), (["b"], "b"), (["c"], "c"), (["b", "c"], "b"), (["a", "c"], "a"), (["a", "b", "c"], "a")],
)
def test_forced_wins_over_split_and_then_the_smaller_experiment_id(
    pdp: Placement,
    experiment: Callable[..., Experiment],
    subject: Callable[..., Subject],
    forced: list[str],
    model: str,
) -> None:
    # "a" runs; "b" and "c" are drafts on the same parameter, reachable by force only.
    plan = plan_of(
        pdp,
        experiment(id="c", status="draft", variants=whole("on", {"model": "c"})),
        experiment(id="a", variants=whole("on", {"model": "a", "item_count": 1})),
        experiment(id="b", status="draft", variants=whole("on", {"model": "b"})),
    )

    answer = plan.assign(subject(force=dict.fromkeys(forced, "on")))
    assert answer.config == {"model": model, "item_count": 1}
    assert {given.experiment for given in answer.assignments} == {"a", *forced}


def test_experiments_of_one_layer_never_share_a_unit_and_together_reach_all_of_their_slots(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    plan = plan_of(
        pdp,
        *(experiment(id=f"x{start}", layer="ranking", slots=(start, stop)) for start, stop in HALVES),
    )
    taken = [[given.experiment for given in plan.assign(subject(f"u{number}")).assignments] for number in range(2000)]

    assert {len(given) for given in taken} == {1}
    assert 900 < sum(given == ["x0"] for given in taken) < 1100


def test_merged_configurations_are_made_once_and_never_outgrow_their_bound(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    edges = [number * 1000 for number in range(11)]
    arms = tuple(Variant(f"v{start}", start, start + 1000, {"pdp": {"item_count": start}}) for start in edges[:-1])
    plan = plan_of(pdp, *(experiment(id=f"x{number}", variants=arms) for number in range(4)))

    first = plan.assign(subject("u1"))
    assert plan.assign(subject("u1")).config is first.config
    for number in range(3 * MAX_MERGED_CONFIGS):
        plan.assign(subject(f"u{number}"))
        assert len(plan._merged) <= MAX_MERGED_CONFIGS
    assert plan.assign(subject("u1")) == first


def test_plans_hold_every_placement_every_experiment_and_the_next_instant_something_changes(
    pdp: Placement, experiment: Callable[..., Experiment]
) -> None:
    plans = build_plans(
        snapshot_of(
            pdp,
            Placement("home", {}),
            experiment(id="soon", end_us=NOW + 50),
            experiment(id="sooner", status="draft", placements=("home", "pdp"), start_us=NOW + 20),
            experiment(id="done", end_us=NOW - 1),
        ),
        NOW,
    )

    running_on = {
        name: [evaluator.experiment.id for evaluator in plan.evaluators] for name, plan in plans.placements.items()
    }
    assert running_on == {"home": ["sooner"], "pdp": ["done", "soon", "sooner"]}
    assert list(plans.evaluators) == ["done", "soon", "sooner"]
    assert plans.next_change_us == NOW + 20
    assert build_plans(snapshot_of(pdp, experiment()), NOW).next_change_us is None
    assert (NO_PLANS.placements, NO_PLANS.evaluators, NO_PLANS.next_change_us) == ({}, {}, None)


def test_building_pauses_after_each_record_and_gives_the_same_plans(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    snapshot = snapshot_of(pdp, Placement("home", {}), *(experiment(id=f"x{number}") for number in range(5)))
    building = build_in_slices(snapshot, NOW)
    pauses = 0
    while True:
        try:
            next(building)
        except StopIteration as done:
            plans = done.value
            break
        pauses += 1

    assert pauses == 7
    everyone = [subject(f"u{number}") for number in range(50)]
    assert [plans.placements["pdp"].assign(one) for one in everyone] == [
        build_plans(snapshot, NOW).placements["pdp"].assign(one) for one in everyone
    ]


@pytest.mark.parametrize("with_digests", [False, True])
def test_what_did_not_change_is_taken_over_and_what_changed_is_built_anew(
    pdp: Placement, experiment: Callable[..., Experiment], with_digests: bool
) -> None:
    home = Placement("home", {"model": "m1"})
    same, changed = experiment(id="same"), experiment(id="changed", placements=("home",))
    paused = replace(changed, pause="carts broken")

    def digests(snapshot: Snapshot) -> dict[str, str] | None:
        return {record.id: digest_of(record) for record in snapshot.records()} if with_digests else None

    before = snapshot_of(pdp, home, same, changed)
    # Read back from the file: equal records, other objects.
    after = decode(encode(snapshot_of(pdp, home, same, paused)))
    old = build_plans(before, NOW, digests=digests(before))
    new = build_plans(after, NOW + 1, reuse=old, digests=digests(after))

    assert new.evaluators["same"] is old.evaluators["same"]
    assert new.placements["pdp"] is old.placements["pdp"]
    assert new.evaluators["changed"].closed == "PAUSED"
    assert new.placements["home"].evaluators == (new.evaluators["changed"],)


def test_a_parameter_that_python_calls_equal_is_a_change(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    def plans_with(value: Any) -> Snapshot:
        return snapshot_of(Placement("pdp", {"flag": value}), experiment(variants=whole("on", {"flag": value})))

    old = build_plans(plans_with(1), NOW)
    new = build_plans(plans_with(True), NOW, reuse=old)

    assert new.placements["pdp"].assign(subject()).config["flag"] is True


def test_a_placement_that_changed_is_built_anew_also_when_a_layer_bears_its_name(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    before = snapshot_of(pdp, Layer("pdp"), experiment())
    after = snapshot_of(replace(pdp, parameters={"model": "v9", "item_count": 6}), Layer("pdp"), experiment())

    old = build_plans(before, NOW, digests={record.id: digest_of(record) for record in before.records()})
    new = build_plans(after, NOW, reuse=old, digests={record.id: digest_of(record) for record in after.records()})
    assert new.placements["pdp"].assign(subject()).config["item_count"] == 6
    assert new.evaluators == old.evaluators


def test_an_evaluator_whose_time_ran_out_is_built_anew_and_the_others_stay(
    pdp: Placement, experiment: Callable[..., Experiment]
) -> None:
    snapshot = snapshot_of(pdp, experiment(id="always"), experiment(id="ends", end_us=NOW + 10))
    old = build_plans(snapshot, NOW)
    new = build_plans(snapshot, NOW + 10, reuse=old)
    back = build_plans(snapshot, NOW, reuse=new)

    assert new.evaluators["always"] is old.evaluators["always"]
    assert (old.evaluators["ends"].closed, new.evaluators["ends"].closed) == (None, "ENDED")
    assert back.evaluators["ends"].closed is None
    assert new.placements["pdp"].evaluators == tuple(new.evaluators.values())


def test_one_record_that_cannot_be_assigned_from_refuses_the_whole_snapshot(
    pdp: Placement, experiment: Callable[..., Experiment]
) -> None:
    with pytest.raises(SnapshotError):
        build_plans(snapshot_of(pdp, experiment(id="good"), experiment(id="bad", variants=())), NOW)
