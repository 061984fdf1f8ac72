"""Last good, by experiment and by file: what is wrong keeps its version in force, and the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Doc, Pod


# Per experiment


def test_a_bad_experiment_keeps_its_last_good_version_and_the_others_go_on(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment("x"), doc.experiment("y", status="draft")]
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)})
    lines = [doc.experiment("x", variants=doc.BAD_WEIGHTS), doc.experiment("y", status="draft", traffic="5%")]
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)})
    assert after.experiments["x"] == before.experiments["x"]
    assert after.experiments["y"].steps[0].traffic_bp == 500
    assert after.head.degraded
    assert [problem.code for problem in after.head.problems] == ["WEIGHTS"]
    assert pod.last.held == {"experiments.x": "last good"}


def test_a_bad_experiment_that_was_never_good_stays_out(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment("x", variants=doc.BAD_WEIGHTS), doc.experiment("y")]
    snapshot = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)})
    assert list(snapshot.experiments) == ["y"]
    assert snapshot.head.degraded
    assert pod.last.held == {"experiments.x": "none"}


def test_a_mended_experiment_ends_the_degradation(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=doc.BAD_WEIGHTS)})
    mended = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="7%")}
    after = pod.publishes(mended)
    assert not after.head.degraded
    assert after.head.problems == ()
    assert after == make_pod().publishes(mended)


def test_an_experiment_taken_out_of_its_file_is_gone(pod: Pod, doc: type[Doc]) -> None:
    both = [doc.experiment("x"), doc.experiment("y", variants=doc.setting("count"))]
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*both)})
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(both[1])})
    assert list(after.experiments) == ["y"]
    assert not after.head.degraded


def test_a_retired_id_keeps_running_only_where_it_already_ran(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="1%") + doc.experiment("y", status="draft")}
    files["r.yaml"] = "retired: [x]"
    after = pod.publishes(files)
    assert after.experiments["x"].steps[0].traffic_bp == 10_000
    assert after.head.retired == {"x": "r.yaml"}
    assert list(make_pod().publishes(files).experiments) == ["y"]


def test_a_metric_that_the_report_cannot_compute_is_an_error_and_holds_nothing_back(pod: Pod, doc: type[Doc]) -> None:
    snapshot = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", analysis="{primary: ctrr}")})
    assert pod.codes == {"UNKNOWN_METRIC"}
    assert snapshot.head.degraded
    assert list(snapshot.experiments) == ["x"]
    assert len(snapshot.head.problems) == 1


# Per file


@pytest.mark.parametrize(
    "broken",
    ["a:\n\tx: 1", "experimnets: {}", "- a", b"\xff\xfe", "", "# nothing", "experiments: []", "a: b\n" * 300_000],
)
def test_a_file_that_cannot_be_taken_keeps_all_it_last_contributed_and_the_others_go_on(
    broken: str | bytes, pod: Pod, doc: type[Doc]
) -> None:
    contributed = doc.GROUND + doc.one("x") + "retired: [old]\n"
    before = pod.publishes({"f.yaml": contributed, "y.yaml": doc.one("y", status="draft")})
    after = pod.publishes({"f.yaml": broken, "y.yaml": doc.one("y", status="draft", traffic="3%")})
    assert after.placements == before.placements
    assert after.layers == before.layers
    assert after.head.attributes == before.head.attributes
    assert after.head.retired == {"old": "f.yaml"}
    assert after.experiments["x"] == before.experiments["x"]
    assert after.experiments["y"].steps[0].traffic_bp == 300
    assert after.head.degraded
    assert all(problem.file == "f.yaml" for problem in after.head.problems if problem.severity == "error")


def test_one_pms_typo_does_not_block_anothers_pause(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a"), "b.yaml": doc.one("b", variants=doc.setting("count"))}
    pod.sees(files)
    files |= {"a.yaml": "experiments: {", "b.yaml": files["b.yaml"].replace("running", "paused")}
    after = pod.publishes(files)
    assert (after.experiments["a"].status, after.experiments["b"].status) == ("running", "paused")


def test_a_new_file_that_cannot_be_read_contributes_nothing(pod: Pod, doc: type[Doc]) -> None:
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "z.yaml": "\tz"})
    assert list(after.experiments) == ["x"]
    assert after.head.degraded


def test_a_deleted_file_takes_its_experiments_with_it(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("y", variants=doc.setting("count"))}
    pod.sees(files)
    del files["x.yaml"]
    after = pod.publishes(files)
    assert list(after.experiments) == ["y"]
    assert not after.head.degraded


def test_what_moved_to_another_file_is_found_there_when_that_breaks(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    moved = pod.publishes({"g.yaml": doc.GROUND, "new.yaml": doc.one("x")})
    assert moved.experiments["x"].source == "new.yaml"
    after = pod.publishes({"g.yaml": doc.GROUND, "new.yaml": "\t"})
    assert list(after.experiments) == ["x"]


def test_what_moved_into_a_file_that_cannot_be_taken_keeps_its_last_good_version(pod: Pod, doc: type[Doc]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    moved = doc.one("x", traffic="2%") + "experimnets: {}\n"
    after = pod.publishes({"g.yaml": doc.GROUND, "new.yaml": moved})
    assert after.experiments == before.experiments
    assert pod.last.held == {"experiments.x": "last good"}


def test_what_a_broken_file_holds_cannot_be_taken_over_by_another(pod: Pod, doc: type[Doc]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": "\t", "y.yaml": doc.one("x", traffic="1%")})
    assert after.experiments == before.experiments
    assert pod.codes == {"TAB", "DUPLICATE_ID"}


def test_an_id_in_two_files_keeps_its_version_in_force(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    twice = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="1%"), "y.yaml": doc.one("x", traffic="2%")}
    after = pod.publishes(twice)
    assert after.experiments == before.experiments
    assert [problem.file for problem in after.head.problems] == ["x.yaml", "y.yaml"]
    assert make_pod().publishes(twice).experiments == {}
