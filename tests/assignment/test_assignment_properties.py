"""What holds for any experiment, any traffic and anyone: assignment's promises, on generated worlds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from abside.assignment.assign import Evaluator
from abside.assignment.bucket import bucket
from abside.assignment.explain import ANSWERED_BY, explain
from abside.assignment.plan import build_plans
from abside.assignment.target import build
from abside.assignment.unit import Subject
from abside.snapshot import (
    Experiment,
    Placement,
    Snapshot,
    Step,
    Variant,
    assemble,
    decode,
    encode,
    leaf_name,
    leaves,
)

NOW = 1_000_000
RAMP = (100, 500, 2000, 5000, 10_000)

IDS = st.text(alphabet="abc0189-用é|#\0", min_size=1, max_size=12)
MAYBE_ID = st.none() | IDS
CUTS = st.lists(st.integers(0, 10_000), max_size=4).map(lambda cuts: [0, *sorted(cuts), 10_000])
ATTRIBUTES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["country", "count", "other"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["DE", "AT"]) | st.lists(st.just("DE")),
)
CONDITIONS: list[Any] = [
    {"attribute": "country", "type": "string", "op": "in", "value": ["DE", "FR"]},
    {"attribute": "country", "type": "string", "op": "ne", "value": "AT", "or_missing": True},
    {"any": [{"attribute": "count", "type": "number", "op": "gt", "value": 3}, {"all": [
        {"attribute": "logged_in", "type": "boolean", "op": "eq", "value": True}]}]},
]  # fmt: skip


@st.composite
def experiments(draw: st.DrawFn, identity: str = "x") -> Experiment:
    edges = draw(CUTS)
    names = [f"v{number}" for number in range(len(edges) - 1)]
    parameter: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {},
        optional={
            "model": st.integers(0, 3),
            "weights": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 3), min_size=1),
        },
    )
    slots = draw(st.none() | st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)))
    return Experiment(
        id=identity,
        name="",
        hypothesis="",
        status=draw(st.sampled_from(["running", "running", "running", "draft", "paused", "ended"])),
        placements=draw(st.sampled_from([("pdp",), ("pdp", "home")])),
        variants=tuple(
            Variant(name, start, stop, {"pdp": draw(parameter)})
            for name, (start, stop) in zip(names, pairwise(edges), strict=True)
        ),
        control="v0",
        unit=draw(st.sampled_from(["user_or_session", "user", "session"])),
        layer=None if slots is None else "layer",
        slots=slots,
        steps=tuple(Step(at_us, draw(st.integers(0, 10_000))) for at_us in draw(st.sampled_from([(0,), (), (5, NOW)]))),
        start_us=draw(st.none() | st.sampled_from([0, NOW, NOW + 1])),
        end_us=draw(st.none() | st.sampled_from([NOW, NOW + 2])),
        eligibility=tuple(draw(st.lists(st.sampled_from(CONDITIONS), max_size=2))),
        force=draw(st.dictionaries(IDS, st.sampled_from(names), max_size=2)),
        phase=draw(st.integers(1, 3)),
    )


@st.composite
def subjects(draw: st.DrawFn) -> Subject:
    user_id, session_id = draw(MAYBE_ID), draw(MAYBE_ID)
    known: list[Any] = [("user", user_id)] * (user_id is not None) + [("session", session_id)] * (
        session_id is not None
    )
    force = draw(st.dictionaries(st.sampled_from(["x0", "x1", "x9"]), st.sampled_from(["v0", "v1", "v9"]), max_size=2))
    pinned = draw(st.sampled_from([None, *known]))
    return Subject(user_id, session_id, draw(ATTRIBUTES), "pdp", pinned, force)


@st.composite
def worlds(draw: st.DrawFn) -> Snapshot:
    several = [draw(experiments(f"x{number}")) for number in range(draw(st.integers(0, 4)))]
    places = [Placement("pdp", {"model": 0, "weights": {"a": 0, "b": 0}, "floor": 9}), Placement("home", {})]
    return assemble({}, [*places, *several], written_at_us=NOW)


def running(experiment: Experiment, traffic_bp: int = 10_000) -> Experiment:
    return replace(experiment, status="running", start_us=None, end_us=None, steps=(Step(0, traffic_bp),))


@given(experiments(), subjects())
def test_a_ramp_only_ever_lets_units_in_and_moves_nobody(experiment: Experiment, subject: Subject) -> None:
    given_variants = [
        Evaluator.build(running(experiment, traffic_bp), NOW).decide(subject).variant for traffic_bp in RAMP
    ]

    came_in = [variant for variant in given_variants if variant is not None]
    assert given_variants == [None] * (len(RAMP) - len(came_in)) + came_in[:1] * len(came_in)


def test_a_ramp_over_twenty_thousand_users_nests_and_moves_nobody(experiment: Any, subject: Any) -> None:
    people = [subject(f"u{number}") for number in range(20_000)]
    before: dict[str, str] = {}
    for traffic_bp in RAMP:
        evaluator = Evaluator.build(experiment(steps=(Step(0, traffic_bp),)), NOW)
        decided = ((person.user_id, evaluator.decide(person).variant) for person in people)
        inside = {user_id: variant.id for user_id, variant in decided if variant is not None}
        assert inside.items() >= before.items()
        assert abs(len(inside) - 2 * traffic_bp) <= 3.5 * (2 * traffic_bp * (1 - traffic_bp / 10_000)) ** 0.5
        before = inside
    assert len(before) == 20_000


@given(CUTS, IDS)
def test_disjoint_slots_never_share_a_unit_and_slots_that_fill_the_layer_leave_nobody_out(
    edges: list[int], user_id: str
) -> None:
    whole = (Variant("v0", 0, 10_000),)
    inside = 0
    for number, slots in enumerate(pairwise(edges)):
        experiment = Experiment(
            f"x{number}", "", "", "running", ("pdp",), whole, "v0", layer="layer", slots=slots, phase=1 + number % 2
        )
        inside += Evaluator.build(experiment, NOW).decide(Subject(user_id, None, {}, "pdp")).variant is not None

    assert inside == 1


@given(experiments(), subjects(), st.sampled_from([{"pause": "carts broken"}, {"status": "paused"}]))
def test_pause_takes_everyone_out_but_the_forced_and_resume_restores_everyone(
    experiment: Experiment, subject: Subject, pause: dict[str, Any]
) -> None:
    before = running(experiment)
    while_paused = Evaluator.build(replace(before, **pause), NOW).decide(subject)
    first, resumed = (Evaluator.build(record, NOW).decide(subject) for record in (before, replace(before)))

    assert while_paused.reason in {"FORCED", "PAUSED"}
    assert (while_paused.reason == "FORCED") == (first.reason == "FORCED")
    assert (resumed.reason, resumed.unit, resumed.variant, resumed.bucket) == (
        first.reason,
        first.unit,
        first.variant,
        first.bucket,
    )


@given(worlds(), subjects())
def test_the_same_snapshot_gives_the_same_answer_on_every_pod(snapshot: Snapshot, subject: Subject) -> None:
    here = build_plans(snapshot, NOW)
    there = build_plans(decode(encode(snapshot)), NOW)
    later = build_plans(snapshot, NOW, reuse=build_plans(snapshot, NOW + 1))

    answer = here.placements["pdp"].assign(subject)
    assert there.placements["pdp"].assign(subject) == answer
    assert later.placements["pdp"].assign(subject) == answer
    assert here.placements["pdp"].assign(subject) == answer


def asked_in_buckets(experiment: Experiment, subject: Subject) -> str:
    """Return the reason or the variant by the contract's text, with nothing compiled and no unit forced."""
    closed = Evaluator.build(experiment, NOW).closed
    if closed is not None:
        return closed
    kinds = {"user": subject.user_id, "session": subject.session_id}
    unit_id = (subject.unit or ("", None))[1] if experiment.unit == "user_or_session" else kinds[experiment.unit]
    if unit_id is None:
        return "NO_UNIT"
    if not build(experiment.eligibility).admits(subject):
        return "NOT_ELIGIBLE"
    if experiment.slots is not None:
        start, stop = experiment.slots
        if not start <= bucket(experiment.layer or "", "layer", unit_id) < stop:
            return "OUTSIDE_SLOTS"
    begun = [step.traffic_bp for step in experiment.steps if step.from_us <= NOW]
    if bucket(experiment.salt, "traffic", unit_id) >= (begun[-1] if begun else 0):
        return "NOT_IN_TRAFFIC"
    here = bucket(experiment.salt, "variant", unit_id)
    return next(variant.id for variant in experiment.variants if variant.start <= here < variant.stop)


@given(experiments(), subjects())
def test_the_compiled_questions_answer_as_the_contract_does_in_buckets(
    experiment: Experiment, subject: Subject
) -> None:
    split = Evaluator.build(experiment, NOW).split(subject)
    assert (split if isinstance(split, str) else split.variant.id) == asked_in_buckets(experiment, subject)


@given(worlds(), subjects())
def test_a_plan_gives_the_arms_of_its_experiments_asked_one_by_one(snapshot: Snapshot, subject: Subject) -> None:
    plan = build_plans(snapshot, NOW).placements["pdp"]
    assert list(plan.arms(subject)) == [
        decision.arm for one in plan.evaluators if (decision := one.decide(subject)).arm is not None
    ]


@given(worlds(), subjects())
def test_each_leaf_is_that_of_a_forced_experiment_else_of_the_smaller_id_else_the_placements(
    snapshot: Snapshot, subject: Subject
) -> None:
    plan = build_plans(snapshot, NOW).placements["pdp"]
    explained = explain(plan, subject)
    config = dict(leaves(explained.answer.config))
    for leaf, base in leaves(plan.placement.parameters):
        given_by = [(not arm.forced, arm.experiment, dict(leaves(arm.variant.parameters["pdp"])), arm.variant.id)
                    for arm in plan.arms(subject)]  # fmt: skip
        setters = [one for one in given_by if leaf in one[2]]
        _, name, own, variant = min(setters, key=lambda one: one[:2]) if setters else (False, "", {leaf: base}, "")
        assert config[leaf] == own[leaf]
        assert explained.provenance[leaf_name(leaf)] == (f"{name}/{variant}" if setters else "placement")


@given(worlds(), subjects())
def test_an_explanation_gives_the_answer_of_assign_and_steps_that_agree_with_it(
    snapshot: Snapshot, subject: Subject
) -> None:
    plan = build_plans(snapshot, NOW).placements["pdp"]
    explanation = explain(plan, subject)

    answer = plan.assign(subject)
    assert explanation.answer == answer
    assert list(explanation.provenance) == [leaf_name(leaf) for leaf, _ in leaves(answer.config)]
    given_to = {given.experiment: f"{given.experiment}/{given.variant}" for given in answer.assignments}
    assert set(explanation.provenance.values()) <= {"placement", *given_to.values()}

    for evaluator in plan.evaluators:
        steps = [step for step in explanation.steps if step.experiment == evaluator.experiment.id]
        decision = evaluator.decide(subject)
        # The last question is the one that decided, and each step's own figures say what it claims.
        assert steps[-1].step == ANSWERED_BY[decision.reason]
        assert {step.reason for step in steps} - {None} == {decision.reason}
        assert all(step.ok for step in steps if step.step != ANSWERED_BY[decision.reason])
        assert all(step.ok for step in steps) == (evaluator.experiment.id in given_to)
        for step in steps:
            if step.bucket is not None and step.range is not None:
                assert step.ok == (step.range[0] <= step.bucket < step.range[1])
