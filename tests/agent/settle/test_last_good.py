from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Doc, Pod

    from abside.snapshot import Snapshot

BAD_WEIGHTS = "{control: {weight: 50%}, b: {weight: 49%}}"


def published(snapshot: Snapshot | None) -> Snapshot:
    assert snapshot is not None
    return snapshot


# Per experiment


def test_a_bad_experiment_keeps_its_last_good_version_and_the_others_go_on(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment("x"), doc.experiment("y", status="draft")]
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)}))
    lines = [doc.experiment("x", variants=BAD_WEIGHTS), doc.experiment("y", status="draft", traffic="5%")]
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)}))
    assert after.experiments["x"] == before.experiments["x"]
    assert after.experiments["y"].steps[0].traffic_bp == 500
    assert after.head.degraded
    assert [problem.code for problem in after.head.problems] == ["WEIGHTS"]
    assert pod.last.held == {"experiments.x": "last good"}


def test_a_bad_experiment_that_was_never_good_stays_out(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment("x", variants=BAD_WEIGHTS), doc.experiment("y")]
    snapshot = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)}))
    assert list(snapshot.experiments) == ["y"]
    assert snapshot.head.degraded
    assert pod.last.held == {"experiments.x": "none"}


def test_a_mended_experiment_ends_the_degradation(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=BAD_WEIGHTS)})
    mended = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="7%")}
    after = published(pod.sees(mended))
    assert not after.head.degraded
    assert after.head.problems == ()
    assert after == published(make_pod().sees(mended))


def test_an_experiment_taken_out_of_its_file_is_gone(pod: Pod, doc: type[Doc]) -> None:
    both = [doc.experiment("x"), doc.experiment("y", variants=doc.setting("count"))]
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*both)})
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(both[1])}))
    assert list(after.experiments) == ["y"]
    assert not after.head.degraded


def test_a_retired_id_keeps_running_only_where_it_already_ran(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="1%") + doc.experiment("y", status="draft")}
    files["r.yaml"] = "retired: [x]"
    after = published(pod.sees(files))
    assert after.experiments["x"].steps[0].traffic_bp == 10_000
    assert after.head.retired == {"x": "r.yaml"}
    assert list(published(make_pod().sees(files)).experiments) == ["y"]


def test_a_metric_that_the_report_cannot_compute_is_an_error_and_holds_nothing_back(pod: Pod, doc: type[Doc]) -> None:
    snapshot = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", analysis="{primary: ctrr}")}))
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
    before = published(pod.sees({"f.yaml": contributed, "y.yaml": doc.one("y", status="draft")}))
    after = published(pod.sees({"f.yaml": broken, "y.yaml": doc.one("y", status="draft", traffic="3%")}))
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
    after = published(pod.sees(files))
    assert (after.experiments["a"].status, after.experiments["b"].status) == ("running", "paused")


def test_a_new_file_that_cannot_be_read_contributes_nothing(pod: Pod, doc: type[Doc]) -> None:
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "z.yaml": "\tz"}))
    assert list(after.experiments) == ["x"]
    assert after.head.degraded


def test_a_deleted_file_takes_its_experiments_with_it(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("y", variants=doc.setting("count"))}
    pod.sees(files)
    del files["x.yaml"]
    after = published(pod.sees(files))
    assert list(after.experiments) == ["y"]
    assert not after.head.degraded


def test_what_moved_to_another_file_is_found_there_when_that_breaks(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    moved = published(pod.sees({"g.yaml": doc.GROUND, "new.yaml": doc.one("x")}))
    assert moved.experiments["x"].source == "new.yaml"
    after = published(pod.sees({"g.yaml": doc.GROUND, "new.yaml": "\t"}))
    assert list(after.experiments) == ["x"]


def test_what_moved_into_a_file_that_cannot_be_taken_keeps_its_last_good_version(pod: Pod, doc: type[Doc]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    moved = doc.one("x", traffic="2%") + "experimnets: {}\n"
    after = published(pod.sees({"g.yaml": doc.GROUND, "new.yaml": moved}))
    assert after.experiments == before.experiments
    assert pod.last.held == {"experiments.x": "last good"}


def test_what_a_broken_file_holds_cannot_be_taken_over_by_another(pod: Pod, doc: type[Doc]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": "\t", "y.yaml": doc.one("x", traffic="1%")}))
    assert after.experiments == before.experiments
    assert pod.codes == {"TAB", "DUPLICATE_ID"}


def test_an_id_in_two_files_keeps_its_version_in_force(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    twice = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", traffic="1%"), "y.yaml": doc.one("x", traffic="2%")}
    after = published(pod.sees(twice))
    assert after.experiments == before.experiments
    assert [problem.file for problem in after.head.problems] == ["x.yaml", "y.yaml"]
    assert published(make_pod().sees(twice)).experiments == {}


# Placements, layers and attributes


def test_an_experiment_that_no_longer_fits_its_placement_holds_the_placement_back(pod: Pod, doc: type[Doc]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    changed = doc.GROUND.replace("model: v1,", "").replace("count: 12", "count: 20")
    after = published(pod.sees({"g.yaml": changed, "x.yaml": doc.one("x")}))
    assert after.placements == before.placements
    assert after.experiments == before.experiments
    assert pod.codes == {"UNDECLARED_PARAMETER", "HELD_BY_EXPERIMENT"}
    held = next(problem for problem in after.head.problems if problem.code == "HELD_BY_EXPERIMENT")
    assert (held.file, held.line, held.path) == ("g.yaml", 4, "placements.pdp")


def test_a_placement_removed_under_a_running_experiment_stays(pod: Pod, doc: type[Doc]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    without = "\n".join(line for line in doc.GROUND.splitlines() if "pdp" not in line)
    after = published(pod.sees({"g.yaml": without, "x.yaml": doc.one("x")}))
    assert after.placements == before.placements
    assert after.experiments == before.experiments
    assert pod.codes == {"UNKNOWN_PLACEMENT", "HELD_BY_EXPERIMENT"}


def test_a_placement_removed_together_with_its_experiment_is_gone(pod: Pod, doc: type[Doc]) -> None:
    pod.sees(
        {
            "g.yaml": doc.GROUND,
            "x.yaml": doc.one("x") + doc.experiment("h", placements="[home]", variants="{control: {weight: 100%}}"),
        }
    )
    without = "\n".join(line for line in doc.GROUND.splitlines() if "pdp" not in line)
    kept = doc.one("h", placements="[home]", variants="{control: {weight: 100%}}")
    after = published(pod.sees({"g.yaml": without, "x.yaml": kept}))
    assert list(after.placements) == ["home"]
    assert not after.head.degraded


@pytest.mark.parametrize("status", ["draft", "ended"])
def test_a_draft_or_an_ended_experiment_never_holds_a_placement_back(status: str, pod: Pod, doc: type[Doc]) -> None:
    files = {
        "g.yaml": doc.GROUND,
        "x.yaml": doc.one("x", status=status),
        "h.yaml": doc.one("h", variants=doc.setting("count")),
    }
    pod.sees(files)
    files["g.yaml"] = doc.GROUND.replace("model: v1,", "")
    after = published(pod.sees(files))
    assert "model" not in after.placements["pdp"].parameters
    assert list(after.experiments) == ["h"]
    assert after.head.degraded


def test_an_experiment_ended_in_the_edit_that_changes_its_placement_stops(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "h.yaml": doc.one("h", variants=doc.setting("count"))}
    pod.sees(files)
    files |= {"g.yaml": doc.GROUND.replace("model: v1,", ""), "x.yaml": doc.one("x", status="ended")}
    after = published(pod.sees(files))
    assert list(after.experiments) == ["h"]
    assert "model" not in after.placements["pdp"].parameters


def test_a_new_experiment_that_does_not_fit_stays_out_and_the_placement_changes(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "h.yaml": doc.one("h", variants=doc.setting("count"))}
    pod.sees(files)
    files |= {"g.yaml": doc.GROUND.replace("model: v1,", ""), "x.yaml": doc.one("x")}
    after = published(pod.sees(files))
    assert list(after.experiments) == ["h"]
    assert "model" not in after.placements["pdp"].parameters


def test_a_new_version_falls_back_when_its_placement_is_held_for_another(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("y", variants=doc.setting("count"))}
    before = published(pod.sees(files))
    files["g.yaml"] = doc.GROUND.replace("model: v1,", "extra: 1,")
    files["y.yaml"] = doc.one("y", variants=doc.setting("extra"))
    after = published(pod.sees(files))
    assert after.placements == before.placements
    assert after.experiments == before.experiments
    back = next(problem for problem in after.head.problems if problem.code == "GROUND_HELD_BACK")
    assert (back.file, back.path) == ("y.yaml", "experiments.y.variants.b.parameters.pdp.extra")


def test_a_change_of_placement_and_experiment_together_goes_through(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    ground = doc.GROUND.replace("model: v1,", "ranker: v1,")
    after = published(pod.sees({"g.yaml": ground, "x.yaml": doc.one("x", variants=doc.setting("ranker", "a"))}))
    assert "ranker" in after.placements["pdp"].parameters
    assert pod.codes == set()


def test_a_bad_placement_keeps_its_last_good_version(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}))
    bad = {"g.yaml": doc.GROUND.replace("model: v1", "model: null"), "x.yaml": doc.one("x", traffic="4%")}
    after = published(pod.sees(bad))
    assert after.placements == before.placements
    assert after.experiments["x"].steps[0].traffic_bp == 400
    fresh = make_pod()
    assert list(published(fresh.sees(bad)).placements) == ["home"]
    assert fresh.codes == {"NULL", "GROUND_HELD_BACK"}


def test_a_layer_and_an_attribute_stay_while_an_experiment_in_force_needs_them(pod: Pod, doc: type[Doc]) -> None:
    needs = {"layer": "ranking", "slots": "0%-50%", "eligibility": "[{any: [{attribute: country, op: eq, value: DE}]}]"}
    before = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", **needs)}))
    ground = doc.GROUND.replace("type: string", "type: list").replace("layers:\n  ranking: {}\n", "")
    after = published(pod.sees({"g.yaml": ground, "x.yaml": doc.one("x", **needs)}))
    assert after.layers == before.layers
    assert after.head.attributes == before.head.attributes
    assert after.experiments == before.experiments
    assert pod.codes == {"OP_NOT_FOR_TYPE", "UNKNOWN_LAYER", "HELD_BY_EXPERIMENT"}


def test_whole_numbers_become_floats_where_the_placement_says_so_now(pod: Pod, doc: type[Doc]) -> None:
    variants = doc.setting("count")
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=variants)})
    after = published(
        pod.sees({"g.yaml": doc.GROUND.replace("count: 12", "count: 12.0"), "x.yaml": doc.one("x", variants=variants)})
    )
    value = after.experiments["x"].variants[1].parameters["pdp"]["count"]
    assert (type(value), value) == (float, 9.0)
    assert pod.codes == set()


def test_a_placement_in_force_keeps_its_id_against_a_new_experiment_and_the_other_way_round(
    pod: Pod, doc: type[Doc], make_pod: type[Pod]
) -> None:
    clash = doc.one("home")
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "z.yaml": clash}))
    assert (list(after.experiments), "home" in after.placements) == (["x"], True)
    other = make_pod()
    without = "\n".join(line for line in doc.GROUND.splitlines() if "home" not in line)
    other.sees({"g.yaml": without, "z.yaml": clash})
    after = published(other.sees({"g.yaml": doc.GROUND, "z.yaml": clash}))
    assert (list(after.experiments), list(after.placements)) == (["home"], ["pdp"])
    assert other.codes == {"NAMESPACE"}


# Conflicts


def test_in_a_conflict_the_version_in_force_stays_and_the_new_one_loses(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "m.yaml": doc.one("m")})
    after = published(
        pod.sees({"g.yaml": doc.GROUND, "m.yaml": doc.one("m"), "a.yaml": doc.one("a"), "z.yaml": doc.one("z")})
    )
    assert list(after.experiments) == ["m"]
    assert pod.last.held == {"experiments.a": "none", "experiments.z": "none"}


def test_in_a_conflict_a_changed_experiment_falls_back_to_its_version_in_force(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a"), "b.yaml": doc.one("b", variants=doc.setting("count"))}
    before = published(pod.sees(files))
    both = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v9, count: 1}}}}"
    after = published(pod.sees({**files, "a.yaml": doc.one("a", variants=both, traffic="2%")}))
    assert after.experiments == before.experiments
    assert pod.last.held == {"experiments.a": "last good"}


def test_of_two_new_ones_in_conflict_both_stay_out(pod: Pod, doc: type[Doc]) -> None:
    after = published(
        pod.sees(
            {
                "g.yaml": doc.GROUND,
                "x.yaml": doc.experiments(
                    doc.experiment("a"), doc.experiment("b"), doc.experiment("c", status="draft")
                ),
            }
        )
    )
    assert list(after.experiments) == ["c"]


def test_two_changed_ones_in_conflict_both_fall_back(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a"), "b.yaml": doc.one("b", variants=doc.setting("count"))}
    before = published(pod.sees(files))
    tags = doc.setting("tags", "[z]")
    after = published(pod.sees({**files, "a.yaml": doc.one("a", variants=tags), "b.yaml": doc.one("b", variants=tags)}))
    assert after.experiments == before.experiments


def test_who_loses_against_one_in_force_no_longer_stands_in_the_way_of_a_new_one(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a")}
    pod.sees(files)
    both = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {model: v9, count: 1}}}}"
    files |= {"b.yaml": doc.one("b", variants=both), "c.yaml": doc.one("c", variants=doc.setting("count"))}
    after = published(pod.sees(files))
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
    assert list(published(pod.sees(files)).experiments) == ["a"]
    assert pod.codes == {code}


def test_a_draft_in_force_gives_way_to_a_new_running_one_of_another_unit(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a", layer="ranking", slots="0%-50%", status="draft")}
    pod.sees(files)
    files["b.yaml"] = doc.one("b", layer="ranking", slots="50%-100%", unit="session")
    assert list(published(pod.sees(files)).experiments) == ["b"]


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
    before = published(pod.sees({"g.yaml": doc.GROUND + doc.one("x")}))
    after = published(pod.sees(files))
    assert after.head.revision == before.head.revision
    assert (after.placements, after.experiments) == (before.placements, before.experiments)
    assert after.head.degraded
    assert code in pod.codes
    assert after == published(pod.sees(files)), "and it stays so"
    fresh = make_pod()
    fresh.sees(files)
    assert (fresh.published == b"") == (code != "NO_EXPERIMENT")


def test_the_first_documents_may_have_no_experiment_yet(pod: Pod, doc: type[Doc]) -> None:
    snapshot = published(pod.sees({"g.yaml": doc.GROUND}))
    assert snapshot.experiments == {}
    assert not snapshot.head.degraded


def test_an_ended_experiment_may_be_the_only_one_left(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    after = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", status="ended")}))
    assert after.experiments["x"].status == "ended"
    assert not after.head.degraded


def test_a_directory_that_vanishes_or_empties_keeps_what_it_contributed(pod: Pod, doc: type[Doc], lost: type) -> None:
    files = {"a/g.yaml": doc.GROUND, "b/x.yaml": doc.one("x"), "a/y.yaml": doc.one("y", status="draft")}
    before = published(pod.sees(files))
    left = {"a/g.yaml": doc.GROUND, "a/y.yaml": doc.one("y", status="draft", traffic="9%")}
    for refusal, code in (("No such file or directory", "DIRECTORY"), ("", "EMPTY_DIRECTORY")):
        after = published(pod.sees(left, lost=(lost("/etc/b", "b/", refusal),)))
        assert after.experiments["x"] == before.experiments["x"]
        assert after.experiments["y"].steps[0].traffic_bp == 900
        assert after.head.degraded
        assert pod.codes == {code}


def test_a_directory_that_never_had_a_file_is_worth_a_warning_only(pod: Pod, doc: type[Doc], lost: type) -> None:
    snapshot = published(pod.sees({"a/g.yaml": doc.GROUND}, lost=(lost("/etc/b", "b/"),)))
    assert [problem.severity for problem in snapshot.head.problems] == ["warning"]
    assert not snapshot.head.degraded


def test_the_problems_of_a_snapshot_are_bounded_and_say_how_many_more(pod: Pod, doc: type[Doc]) -> None:
    lines = [doc.experiment(f"e{number}", status="runing") for number in range(150)]
    snapshot = published(pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.experiments(*lines)}))
    assert len(snapshot.head.problems) == 101
    assert snapshot.head.problems[-1].message == "50 more problems are not shown here"
    assert len(pod.last.problems) == 150


# Pauses


def test_a_pause_wins_over_status_and_deleting_its_key_resumes(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}
    before = published(pod.sees(files))
    paused = published(pod.sees(files, {"x": "carts broken"}))
    assert paused.experiments["x"].pause == "carts broken"
    assert paused.head.revision != before.head.revision
    assert not paused.head.degraded
    assert published(pod.sees(files)) == before


def test_all_pauses_every_experiment_and_a_reason_of_its_own_wins(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.experiments(doc.experiment("x"), doc.experiment("y", status="draft"))}
    snapshot = published(pod.sees(files, {"all": "fire", "y": ""}))
    assert {name: record.pause for name, record in snapshot.experiments.items()} == {
        "x": "fire",
        "y": "no reason given",
    }


def test_a_pause_works_over_every_kind_of_last_good(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    for files in (
        {},
        {"g.yaml": "\t", "x.yaml": "\t"},
        {"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=BAD_WEIGHTS)},
        {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("x")},
    ):
        assert published(pod.sees(files, {"x": "stop"})).experiments["x"].pause == "stop"
        assert published(pod.sees(files, {})).experiments["x"].pause is None


def test_a_paused_experiment_counts_as_unchanged_in_a_conflict(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "a.yaml": doc.one("a")}
    pod.sees(files, {"a": "stop"})
    after = published(pod.sees({**files, "b.yaml": doc.one("b")}))
    assert list(after.experiments) == ["a"]
    assert pod.last.held == {"experiments.b": "none"}


def test_a_pause_of_an_unknown_id_is_said_and_changes_nothing_else(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("reranker")}
    snapshot = published(pod.sees(files, {"rerankr": "stop"}))
    (problem,) = snapshot.head.problems
    assert (problem.code, problem.severity, problem.file) == ("PAUSED_UNKNOWN", "warning", "paused/rerankr")
    assert problem.remedy == "did you mean reranker?"
    assert not snapshot.head.degraded


def test_a_pause_of_an_experiment_that_is_held_out_is_not_called_unknown(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=BAD_WEIGHTS)}, {"x": "stop"})
    assert pod.codes == {"WEIGHTS"}


def test_pauses_stay_while_their_directory_cannot_be_seen(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x")}
    pod.sees(files, {"x": "stop"})
    assert published(pod.sees(files, {}, keeps=("paused",))).experiments["x"].pause == "stop"
    assert published(pod.sees(files, {})).experiments["x"].pause is None
