from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import orjson

from abside.assignment.assign import Evaluator, Reason
from abside.assignment.explain import ANSWERED_BY, explain
from abside.assignment.plan import PlacementPlan
from abside.snapshot import Experiment, Placement, Step, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.unit import Subject

NOW = 1_000_000
COUNTRY = {"attribute": "country", "type": "string", "op": "in", "value": ["AT", "DE"]}
TIER = {"attribute": "tier", "type": "string", "op": "ne", "value": "staff"}
# The unit "1" has the buckets layer 452, traffic 6865, variant 7319 under this salt.
SALT = "pdp-rank-2026-11"


def steps(pdp: Placement, subject: Subject, *experiments: Experiment) -> list[dict[str, Any]]:
    plan = PlacementPlan.build(pdp, [Evaluator.build(experiment, NOW) for experiment in experiments])
    shown = [step.to_map() for step in explain(plan, subject).steps]
    assert orjson.loads(orjson.dumps(shown)) == shown
    for step in shown:
        step.pop("experiment")
    return shown


def test_every_reason_is_the_answer_to_one_question() -> None:
    assert set(ANSWERED_BY) == set(get_args(Reason))


def test_a_unit_that_is_in_is_told_every_question_with_buckets_ranges_and_what_was_seen(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    layered = experiment(eligibility=(COUNTRY,), layer=SALT, slots=(0, 5000), steps=(Step(0, 7000),))

    assert steps(pdp, subject("1", attributes={"country": "DE"}), layered) == [
        {"step": "status", "ok": True, "reason": None},
        {"step": "unit", "ok": True, "reason": None},
        {"step": "eligibility", "ok": True, "reason": None, "condition": "country in [AT, DE]", "saw": "DE"},
        {"step": "layer", "ok": True, "reason": None, "bucket": 452, "range": [0, 5000]},
        {"step": "traffic", "ok": True, "reason": None, "bucket": 6865, "range": [0, 7000]},
        {"step": "variant", "ok": True, "reason": "SPLIT", "bucket": 7319, "range": [0, 8000]},
    ]


def test_the_question_that_decided_against_a_unit_is_the_last(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    one = subject("1")
    passed = [{"step": "status", "ok": True, "reason": None}, {"step": "unit", "ok": True, "reason": None}]

    assert steps(pdp, one, experiment(status="draft")) == [{"step": "status", "ok": False, "reason": "DRAFT"}]
    assert steps(pdp, subject(None, "s1"), experiment(unit="user")) == [
        passed[0],
        {"step": "unit", "ok": False, "reason": "NO_UNIT"},
    ]
    assert steps(pdp, one, experiment(layer=SALT, slots=(453, 5000))) == [
        *passed,
        {"step": "layer", "ok": False, "reason": "OUTSIDE_SLOTS", "bucket": 452, "range": [453, 5000]},
    ]
    assert steps(pdp, one, experiment(steps=(Step(0, 6865),))) == [
        *passed,
        {"step": "traffic", "ok": False, "reason": "NOT_IN_TRAFFIC", "bucket": 6865, "range": [0, 6865]},
    ]


def test_every_condition_is_told_also_after_one_that_does_not_hold(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    shown = steps(pdp, subject(attributes={"tier": "gold"}), experiment(eligibility=(COUNTRY, TIER, {"any": [TIER]})))

    no, yes = {"ok": False, "reason": "NOT_ELIGIBLE"}, {"ok": True, "reason": None}
    assert shown[2:] == [
        {"step": "eligibility", **no, "condition": "country in [AT, DE]", "saw": None},
        {"step": "eligibility", **yes, "condition": "tier ne staff", "saw": "gold"},
        {"step": "eligibility", **yes, "condition": "any of (tier ne staff)", "saw": {"tier": "gold"}},
    ]


def test_a_forced_unit_is_told_that_and_nothing_else(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    shown = steps(pdp, subject("qa-1"), experiment(force={"qa-1": "treatment"}, status="paused"))

    assert shown == [{"step": "force", "ok": True, "reason": "FORCED"}]


def test_each_parameter_is_told_where_it_is_from(
    pdp: Placement, experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    def on(identity: str, status: str, parameters: dict[str, Any]) -> Experiment:
        return experiment(id=identity, status=status, variants=(Variant("on", 0, 10_000, {"pdp": parameters}),))

    more = Placement("pdp", {**pdp.parameters, "floor": 0})
    running = on("a", "running", {"model": "a", "item_count": 3})
    draft = on("b", "draft", {"model": "b"})
    plan = PlacementPlan.build(more, [Evaluator.build(each, NOW) for each in (draft, running)])

    assert explain(plan, subject()).provenance == {"model": "a/on", "item_count": "a/on", "floor": "placement"}
    forced = explain(plan, subject(force={"b": "on"}))
    assert forced.provenance == {"model": "b/on", "item_count": "a/on", "floor": "placement"}
    assert forced.answer.config == {"model": "b", "item_count": 3, "floor": 0}


def test_each_key_of_a_mapping_is_told_where_it_is_from_and_a_name_with_a_dot_is_quoted(
    experiment: Callable[..., Experiment], subject: Callable[..., Subject]
) -> None:
    values: dict[str, Any] = {"weights": {"a.b": 1, "a": {"b": 1}, "none": {}}, "order": [{"a": 1}], "": 0}
    home = Placement("pdp", values)
    own: dict[str, Any] = {"weights": {"a": {"b": 2}}, "order": []}
    plan = PlacementPlan.build(
        home, [Evaluator.build(experiment(variants=(Variant("on", 0, 10_000, {"pdp": own}),)), NOW)]
    )

    assert explain(plan, subject()).provenance == {
        'weights."a.b"': "placement",
        "weights.a.b": "pdp-rank-2026-11/on",
        "weights.none": "placement",
        "order": "pdp-rank-2026-11/on",
        '""': "placement",
    }
