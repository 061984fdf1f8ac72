"""A placement has a bounded number of experiments, in any order of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.event import MAX_ASSIGNMENTS
from abside.snapshot import decode
from abside_agent.rules.placement_limit import MAX_EXPERIMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.agent.conftest import Doc, Pod

    from abside.snapshot import Problem

FULL = [f"e{number:03}" for number in range(MAX_EXPERIMENTS)]


def running(doc: type[Doc], names: Iterable[str], **changes: str) -> str:
    """Return a file of experiments that set nothing, so that only their number can be a problem."""
    arms = "{control: {weight: 50%}, b: {weight: 50%}}"
    return doc.experiments(*(doc.experiment(name, **{"variants": arms, **changes}) for name in names))


def in_force(pod: Pod) -> set[str]:
    return set(decode(pod.published).experiments)


def test_no_exposure_can_list_more_than_a_collector_takes() -> None:
    assert MAX_EXPERIMENTS <= MAX_ASSIGNMENTS


def test_the_one_too_many_is_told_with_its_place_and_a_remedy(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    full = {"g": doc.GROUND, "a": running(doc, FULL)}
    assert [one for one in problems_of(full) if one.severity == "error"] == []
    errors = [one for one in problems_of({**full, "b": running(doc, ["z"])}) if one.severity == "error"]
    assert [(one.code, one.file, one.line, one.path, one.value) for one in errors] == [
        ("TOO_MANY_EXPERIMENTS", "b", 2, "experiments.z.placements[0]", "pdp")
    ]
    assert f"pdp has {MAX_EXPERIMENTS + 1} experiments" in errors[0].message
    assert errors[0].remedy.startswith("end or delete one at pdp first")


def test_ended_ones_and_those_of_other_placements_take_no_room(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    files = {"g": doc.GROUND, "a": running(doc, FULL)}
    files |= {"b": running(doc, ["z"], status="ended"), "c": running(doc, ["y"], placements="[home]")}
    assert [one for one in problems_of(files) if one.severity == "error"] == []


def test_of_new_ones_the_largest_ids_stay_out_whatever_file_they_stand_in(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g": doc.GROUND, "a": running(doc, ["z2", "z1"]), "b": running(doc, FULL)})
    assert in_force(pod) == set(FULL)
    assert pod.last.held == {"experiments.z1": "none", "experiments.z2": "none"}
    assert [problem.code for problem in pod.last.problems] == ["TOO_MANY_EXPERIMENTS"] * 2


def test_who_is_in_force_stays_and_may_still_be_ramped(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g": doc.GROUND, "a": running(doc, FULL[1:]), "z": running(doc, ["z"])})
    full = {"g": doc.GROUND, "a": running(doc, FULL), "z": running(doc, ["z"], traffic="5%")}
    snapshot = pod.sees(full)
    assert snapshot is not None
    assert in_force(pod) == {*FULL[1:], "z"}
    assert snapshot.experiments["z"].steps[0].traffic_bp == 500
    assert pod.last.held == {"experiments.e000": "none"}
    assert pod.sees(full) == snapshot
    pod.sees({**full, "z": running(doc, ["z"], status="ended")})
    assert in_force(pod) == {*FULL, "z"}
    assert pod.last.problems == ()


def test_a_draft_makes_room_for_one_that_runs(pod: Pod, doc: type[Doc]) -> None:
    files = {"g": doc.GROUND, "a": running(doc, FULL[1:]), "d": running(doc, ["a-draft"], status="draft")}
    pod.sees(files)
    assert "a-draft" in in_force(pod)
    pod.sees({**files, "z": running(doc, ["z"])})
    assert in_force(pod) == {*FULL[1:], "z"}


def test_who_moves_to_a_full_placement_stays_where_it_was(pod: Pod, doc: type[Doc]) -> None:
    files = {"g": doc.GROUND, "a": running(doc, FULL), "b": running(doc, ["m"], placements="[home]")}
    pod.sees(files)
    snapshot = pod.sees({**files, "b": running(doc, ["m"], placements="[home, pdp]", traffic="5%")})
    assert snapshot is not None
    assert snapshot.experiments["m"].placements == ("home",)
    assert pod.last.held == {"experiments.m": "last good"}
