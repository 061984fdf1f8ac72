"""Last good in conflicts: the version in force stays; of two new ones both stay out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Doc, Pod


def test_in_a_conflict_the_version_in_force_stays_and_the_new_one_loses(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "m.yaml": doc.one("m")})
    after = pod.publishes(
        {"g.yaml": doc.GROUND, "m.yaml": doc.one("m"), "a.yaml": doc.one("a"), "z.yaml": doc.one("z")}
    )
    assert list(after.experiments) == ["m"]
    assert pod.last.held == {"experiments.a": "none", "experiments.z": "none"}


def test_in_a_conflict_a_changed_experiment_falls_back_to_its_version_in_force(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a"), "b.yaml": doc.one("b", variants=doc.setting("count"))}
    before = pod.publishes(files)
    both = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v9, count: 1}}}}"
    after = pod.publishes({**files, "a.yaml": doc.one("a", variants=both, traffic="2%")})
    assert after.experiments == before.experiments
    assert pod.last.held == {"experiments.a": "last good"}


def test_of_two_new_ones_in_conflict_both_stay_out(pod: Pod, doc: type[Doc]) -> None:
    after = pod.publishes(
        {
            "g.yaml": doc.GROUND,
            "x.yaml": doc.experiments(doc.experiment("a"), doc.experiment("b"), doc.experiment("c", status="draft")),
        }
    )
    assert list(after.experiments) == ["c"]


def test_two_changed_ones_in_conflict_both_fall_back(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a"), "b.yaml": doc.one("b", variants=doc.setting("count"))}
    before = pod.publishes(files)
    tags = doc.setting("tags", "[z]")
    after = pod.publishes({**files, "a.yaml": doc.one("a", variants=tags), "b.yaml": doc.one("b", variants=tags)})
    assert after.experiments == before.experiments


def test_who_loses_against_one_in_force_no_longer_stands_in_the_way_of_a_new_one(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a")}
    pod.sees(files)
    both = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v9, count: 1}}}}"
    files |= {"b.yaml": doc.one("b", variants=both), "c.yaml": doc.one("c", variants=doc.setting("count"))}
    after = pod.publishes(files)
    assert list(after.experiments) == ["a", "c"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slots": "40%-60%"}, "SLOTS_OVERLAP"),
        ({"slots": "50%-60%", "unit": "session"}, "LAYER_UNIT"),
        ({"layer": None, "slots": None}, "PARAMETER_CONFLICT"),
    ],
)
def test_slots_unit_and_parameters_are_held_to_the_same_rule(
    changes: dict[str, str], code: str, pod: Pod, doc: type[Doc]
) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a", layer="ranking", slots="0%-50%")}
    pod.sees(files)
    files["b.yaml"] = doc.one("b", **{"layer": "ranking", "slots": "50%-100%", **changes})
    assert list(pod.publishes(files).experiments) == ["a"]
    assert pod.codes == {code}


def test_a_draft_in_force_gives_way_to_a_new_running_one_of_another_unit(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a", layer="ranking", slots="0%-50%", status="draft")}
    pod.sees(files)
    files["b.yaml"] = doc.one("b", layer="ranking", slots="50%-100%", unit="session")
    assert list(pod.publishes(files).experiments) == ["b"]
