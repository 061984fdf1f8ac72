"""A variant's parameters laid over what its placement declares: what may be named, and what the agent makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abside.snapshot import Experiment, Placement, Variant, laid_over, leaves
from abside_agent.rules.fit import Ground, fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Doc, Pod

    from abside.snapshot import Problem

# A shared machine may stall for a second: how long an example takes says nothing about the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.sampled_from(["a", "b", "a.b", "é [0]", ""])
WHOLE: st.SearchStrategy[Any] = st.integers(0, 3) | st.sampled_from([0.5, "text", True, [], [{"a": 1}]])
DECLARED: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    KEYS, st.recursive(WHOLE, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8), max_size=3
)


def fitted(own: dict[str, Any], declared: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    arms = (Variant("control", 0, 5000), Variant("b", 5000, 10_000, {"pdp": own}))
    experiment = Experiment("x", "X", "H", "running", ("pdp",), arms, "control")
    ground = Ground({"pdp": Placement("pdp", declared)}, {}, {})
    made, misfits = fit(experiment, ground, in_force=False)
    return made.variants[1].parameters["pdp"], [misfit.code for misfit in misfits]


@UNHURRIED
@given(DECLARED, st.data())
def test_any_of_the_declared_leaves_may_be_named_and_the_others_stay(
    declared: dict[str, Any], data: st.DataObject
) -> None:
    values = dict(leaves(declared))
    named = data.draw(st.sets(st.sampled_from(sorted(values)))) if values else set()
    own: dict[str, Any] = {}
    for leaf in named:
        value: Any = values[leaf]
        for key in reversed(leaf):
            value = {key: value}
        own = laid_over(own, value)
    made, codes = fitted(own, declared)
    assert codes == []
    assert made == own
    assert laid_over(declared, made) == declared


DEEP = {"w": {"by": {"tier": {"gold": 1.0, "new": 0.5}}, "none": {}}, "rules": [{"if": "a", "then": 1.0}], "n": 0}


@pytest.mark.parametrize(
    ("own", "codes"),
    [
        ({"w": {"by": {"tier": {"gold": 2}}}}, []),
        ({"w": {"none": {}}}, []),
        ({"w": {"none": {"a": 1}}}, ["PARAMETER_KEYS"]),
        ({"w": {"by": {"tier": {}}}}, ["EMPTY_MAPPING"]),
        ({"w": {"by": {}, "none": {}}}, ["EMPTY_MAPPING"]),
        ({"w": {"by": {"tier": {"gold": {"a": 1}}}}}, ["PARAMETER_TYPE"]),
        ({"w": {"by": [1]}}, ["PARAMETER_TYPE"]),
        ({"w": {"by": {"tire": {"gold": 2.0}}}}, ["PARAMETER_KEYS"]),
        ({"w": {"x": 1, "y": 1, "by": {"tier": {"z": 1}}}}, ["PARAMETER_KEYS"] * 3),
        ({"rules": []}, []),
        ({"rules": [{"if": "b", "then": 2}, {"if": "c", "then": 0}]}, []),
        ({"rules": [{"then": 2.0}]}, ["PARAMETER_KEYS"]),  # an entry of a list is replaced whole
        ({"n": 0.3}, ["PARAMETER_TYPE"]),
        ({}, []),
    ],
)
def test_what_may_be_named_at_every_depth(own: dict[str, Any], codes: list[str]) -> None:
    assert fitted(own, DEEP)[1] == codes


def test_a_whole_number_becomes_a_float_where_one_is_declared_at_any_depth() -> None:
    made, _ = fitted({"w": {"by": {"tier": {"gold": 2}}}, "rules": [{"if": "b", "then": 2}]}, DEEP)
    assert repr(made) == "{'w': {'by': {'tier': {'gold': 2.0}}}, 'rules': [{'if': 'b', 'then': 2.0}]}"


SPARE = "delete what only repeats the placement's value: weights.margin in freshness, weights.fresh in margin"


@pytest.mark.parametrize(
    ("margin", "freshness", "remedy"),
    [
        ("{margin: 0.3, fresh: 1}", "{margin: 0, fresh: 0.5}", SPARE),
        ("{margin: 0.3}", "{margin: 0.0, fresh: 0.5}", SPARE.partition(", weights.fresh")[0]),
        ("{margin: 0.3}", "{margin: 0.1, fresh: 1.0}", "write in freshness layer: ranking and slots: "),
        ("{margin: 0.3, fresh: 1}", "{margin: 0.1, fresh: 0.5}", "write in freshness layer: ranking and slots: "),
    ],
)
def test_experiments_that_conflict_in_values_that_only_repeat_the_placements_are_told_to_delete_these(
    margin: str, freshness: str, remedy: str, doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    lines = [doc.experiment(name, variants=doc.setting("weights", own)) for name, own in
             (("margin", margin), ("freshness", freshness))]  # fmt: skip
    found = problems_of(doc.GROUND + doc.experiments(*lines))
    assert [problem.code for problem in found] == ["PARAMETER_CONFLICT"] * 2
    assert all(problem.remedy.startswith(remedy) for problem in found)


def test_a_new_key_at_the_placement_comes_into_force_under_a_running_experiment(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=doc.setting("weights", "{margin: 0.3, fresh: 1}"))}
    before = pod.publishes(files)
    files["g.yaml"] = doc.GROUND.replace("fresh: 1.0", "fresh: 1.0, novelty: 0.1")
    after = pod.publishes(files)
    assert pod.codes == set()
    assert after.experiments == before.experiments
    assert after.placements["pdp"].parameters["weights"] == {"margin": 0.0, "fresh": 1.0, "novelty": 0.1}


def test_a_document_that_names_every_key_has_the_revision_it_had(pod: Pod, doc: type[Doc]) -> None:
    text = doc.GROUND + doc.one("x", variants=doc.setting("weights", "{margin: 0.3, fresh: 1.0}"))
    assert pod.publishes({"f.yaml": text}).head.revision == "3d21dc8a08ee"
