"""Last good of documents as a whole, and pauses over every kind of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Doc, Pod


# As a whole


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "NO_FILE"),
        ({"g.yaml": ""}, "EMPTY_FILE"),
        ({"new.yaml": "# nothing"}, "EMPTY"),
        ({"new.yaml": "experiments: {}"}, "NO_PLACEMENT"),
        ({"new.yaml": "placements: {p: {}}"}, "NO_EXPERIMENT"),
        ({"new.yaml": "placements: {p: {}}\nexperiments: {}\nlayers: {l: {}}"}, "NO_EXPERIMENT"),
    ],
)
def test_missing_or_empty_is_never_no_experiments(
    files: dict[str, str], code: str, pod: Pod, doc: type[Doc], make_pod: type[Pod]
) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND + doc.one("x")})
    after = pod.publishes(files)
    assert after.head.revision == before.head.revision
    assert (after.placements, after.experiments) == (before.placements, before.experiments)
    assert after.head.degraded
    assert code in pod.codes
    assert after == pod.publishes(files), "and it stays so"
    fresh = make_pod()
    fresh.sees(files)
    assert (fresh.published == b"") == (code != "NO_EXPERIMENT")


def test_the_first_documents_may_have_no_experiment_yet(pod: Pod, doc: type[Doc]) -> None:
    snapshot = pod.publishes({"g.yaml": doc.GROUND})
    assert snapshot.experiments == {}
    assert not snapshot.head.degraded


def test_an_ended_experiment_may_be_the_only_one_left(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", status="ended")})
    assert after.experiments["x"].status == "ended"
    assert not after.head.degraded


def test_a_directory_that_vanishes_or_empties_keeps_what_it_contributed(pod: Pod, doc: type[Doc], lost: type) -> None:
    files = {"a/g.yaml": doc.GROUND, "b/x.yaml": doc.one("x"), "a/y.yaml": doc.one("y", status="draft")}
    before = pod.publishes(files)
    left = {"a/g.yaml": doc.GROUND, "a/y.yaml": doc.one("y", status="draft", traffic="9%")}
    for refusal, code in (("No such file or directory", "DIRECTORY"), ("", "EMPTY_DIRECTORY")):
        after = pod.publishes(left, lost=(lost("/etc/b", "b/", refusal),))
        assert after.experiments["x"] == before.experiments["x"]
        assert after.experiments["y"].steps[0].traffic_bp == 900
        assert after.head.degraded
        assert pod.codes == {code}


def test_a_directory_that_never_had_a_file_is_worth_a_warning_only(pod: Pod, doc: type[Doc], lost: type) -> None:
    snapshot = pod.publishes({"a/g.yaml": doc.GROUND}, lost=(lost("/etc/b", "b/"),))
    assert [problem.severity for problem in snapshot.head.problems] == ["warning"]
    assert not snapshot.head.degraded


def test_the_problems_of_a_snapshot_are_bounded_and_say_how_many_more(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment(f"e{number}", status="runing") for number in range(150)]
    snapshot = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)})
    assert len(snapshot.head.problems) == 101
    assert snapshot.head.problems[-1].message == "50 more problems are not shown here"
    assert len(pod.last.problems) == 150


# Pauses


def test_a_pause_wins_over_status_and_deleting_its_key_resumes(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}
    before = pod.publishes(files)
    paused = pod.publishes(files, {"x": "carts broken"})
    assert paused.experiments["x"].pause == "carts broken"
    assert paused.head.revision != before.head.revision
    assert not paused.head.degraded
    assert pod.publishes(files) == before


def test_all_pauses_every_experiment_and_a_reason_of_its_own_wins(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.experiments(doc.experiment("x"), doc.experiment("y", status="draft"))}
    snapshot = pod.publishes(files, {"all": "fire", "y": ""})
    assert {name: record.pause for name, record in snapshot.experiments.items()} == {
        "x": "fire",
        "y": "no reason given",
    }


def test_a_pause_works_over_every_kind_of_last_good(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    for files in (
        {},
        {"g.yaml": "\t", "x.yaml": "\t"},
        {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=doc.BAD_WEIGHTS)},
        {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("x")},
    ):
        assert pod.publishes(files, {"x": "stop"}).experiments["x"].pause == "stop"
        assert pod.publishes(files, {}).experiments["x"].pause is None


def test_a_paused_experiment_counts_as_unchanged_in_a_conflict(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a")}
    pod.sees(files, {"a": "stop"})
    after = pod.publishes({**files, "b.yaml": doc.one("b")})
    assert list(after.experiments) == ["a"]
    assert pod.last.held == {"experiments.b": "none"}


def test_a_pause_of_an_unknown_id_is_said_and_changes_nothing_else(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("reranker")}
    snapshot = pod.publishes(files, {"rerankr": "stop"})
    (problem,) = snapshot.head.problems
    assert (problem.code, problem.severity, problem.file) == ("PAUSED_UNKNOWN", "warning", "paused/rerankr")
    assert problem.remedy == "did you mean reranker?"
    assert snapshot.head.degraded
    assert pod.last.is_degraded
    assert not pod.publishes(files, {"reranker": "stop"}).head.degraded


def test_a_pause_of_an_experiment_that_is_held_out_is_not_called_unknown(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=doc.BAD_WEIGHTS)}, {"x": "stop"})
    assert pod.codes == {"WEIGHTS"}


def test_pauses_stay_while_their_directory_cannot_be_seen(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}
    pod.sees(files, {"x": "stop"})
    assert pod.publishes(files, {}, keeps=("paused",)).experiments["x"].pause == "stop"
    assert pod.publishes(files, {}).experiments["x"].pause is None
