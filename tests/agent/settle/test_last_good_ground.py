"""Last good of placements, layers and attributes: experiments in force keep the ground that they fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.agent.conftest import Doc, Pod


def test_an_experiment_that_no_longer_fits_its_placement_holds_the_placement_back(pod: Pod, doc: type[Doc]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    changed = doc.GROUND.replace("model: v1,", "").replace("count: 12", "count: 20")
    after = pod.publishes({"g.yaml": changed, "x.yaml": doc.one("x")})
    assert after.placements == before.placements
    assert after.experiments == before.experiments
    assert pod.codes == {"UNDECLARED_PARAMETER", "HELD_BY_EXPERIMENT"}
    held = next(problem for problem in after.head.problems if problem.code == "HELD_BY_EXPERIMENT")
    assert (held.file, held.line, held.path) == ("g.yaml", 4, "placements.pdp")


def test_a_placement_removed_under_a_running_experiment_stays(pod: Pod, doc: type[Doc]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    without = "\n".join(line for line in doc.GROUND.splitlines() if "pdp" not in line)
    after = pod.publishes({"g.yaml": without, "x.yaml": doc.one("x")})
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
    after = pod.publishes({"g.yaml": without, "x.yaml": kept})
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
    after = pod.publishes(files)
    assert "model" not in after.placements["pdp"].parameters
    assert list(after.experiments) == ["h"]
    assert after.head.degraded


def test_an_experiment_ended_in_the_edit_that_changes_its_placement_stops(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "h.yaml": doc.one("h", variants=doc.setting("count"))}
    pod.sees(files)
    files |= {"g.yaml": doc.GROUND.replace("model: v1,", ""), "x.yaml": doc.one("x", status="ended")}
    after = pod.publishes(files)
    assert list(after.experiments) == ["h"]
    assert "model" not in after.placements["pdp"].parameters


def test_a_new_experiment_that_does_not_fit_stays_out_and_the_placement_changes(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "h.yaml": doc.one("h", variants=doc.setting("count"))}
    pod.sees(files)
    files |= {"g.yaml": doc.GROUND.replace("model: v1,", ""), "x.yaml": doc.one("x")}
    after = pod.publishes(files)
    assert list(after.experiments) == ["h"]
    assert "model" not in after.placements["pdp"].parameters


def test_a_new_version_falls_back_when_its_placement_is_held_for_another(pod: Pod, doc: type[Doc]) -> None:
    files = {"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "y.yaml": doc.one("y", variants=doc.setting("count"))}
    before = pod.publishes(files)
    files["g.yaml"] = doc.GROUND.replace("model: v1,", "extra: 1,")
    files["y.yaml"] = doc.one("y", variants=doc.setting("extra"))
    after = pod.publishes(files)
    assert after.placements == before.placements
    assert after.experiments == before.experiments
    back = next(problem for problem in after.head.problems if problem.code == "GROUND_HELD_BACK")
    assert (back.file, back.path) == ("y.yaml", "experiments.y.variants.b.parameters.pdp.extra")


def test_a_change_of_placement_and_experiment_together_goes_through(pod: Pod, doc: type[Doc]) -> None:
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    ground = doc.GROUND.replace("model: v1,", "ranker: v1,")
    after = pod.publishes({"g.yaml": ground, "x.yaml": doc.one("x", variants=doc.setting("ranker", "a"))})
    assert "ranker" in after.placements["pdp"].parameters
    assert pod.codes == set()


def test_a_bad_placement_keeps_its_last_good_version(pod: Pod, doc: type[Doc], make_pod: type[Pod]) -> None:
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    bad = {"g.yaml": doc.GROUND.replace("model: v1", "model: null"), "x.yaml": doc.one("x", traffic="4%")}
    after = pod.publishes(bad)
    assert after.placements == before.placements
    assert after.experiments["x"].steps[0].traffic_bp == 400
    fresh = make_pod()
    assert list(fresh.publishes(bad).placements) == ["home"]
    assert fresh.codes == {"NULL", "GROUND_HELD_BACK"}


def test_a_layer_and_an_attribute_stay_while_an_experiment_in_force_needs_them(pod: Pod, doc: type[Doc]) -> None:
    needs = {"layer": "ranking", "slots": "0%-50%", "eligibility": "[{any: [{attribute: country, op: eq, value: DE}]}]"}
    before = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", **needs)})
    ground = doc.GROUND.replace("type: string", "type: list").replace("layers:\n  ranking: {}\n", "")
    after = pod.publishes({"g.yaml": ground, "x.yaml": doc.one("x", **needs)})
    assert after.layers == before.layers
    assert after.head.attributes == before.head.attributes
    assert after.experiments == before.experiments
    assert pod.codes == {"OP_NOT_FOR_TYPE", "UNKNOWN_LAYER", "HELD_BY_EXPERIMENT"}


def test_whole_numbers_become_floats_where_the_placement_says_so_now(pod: Pod, doc: type[Doc]) -> None:
    variants = doc.setting("count")
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x", variants=variants)})
    after = pod.publishes(
        {"g.yaml": doc.GROUND.replace("count: 12", "count: 12.0"), "x.yaml": doc.one("x", variants=variants)}
    )
    value = after.experiments["x"].variants[1].parameters["pdp"]["count"]
    assert (type(value), value) == (float, 9.0)
    assert pod.codes == set()


def test_a_placement_in_force_keeps_its_id_against_a_new_experiment_and_the_other_way_round(
    pod: Pod, doc: type[Doc], make_pod: type[Pod]
) -> None:
    clash = doc.one("home")
    pod.sees({"g.yaml": doc.GROUND, "x.yaml": doc.one("x")})
    after = pod.publishes({"g.yaml": doc.GROUND, "x.yaml": doc.one("x"), "z.yaml": clash})
    assert (list(after.experiments), "home" in after.placements) == (["x"], True)
    other = make_pod()
    without = "\n".join(line for line in doc.GROUND.splitlines() if "home" not in line)
    other.sees({"g.yaml": without, "z.yaml": clash})
    after = other.publishes({"g.yaml": doc.GROUND, "z.yaml": clash})
    assert (list(after.experiments), list(after.placements)) == (["home"], ["pdp"])
    assert other.codes == {"NAMESPACE"}
