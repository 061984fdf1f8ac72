"""Transition rules: what needs a new phase, what the analyst must know, what may always change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from abside_agent.document.parse import parse
from abside_agent.document.reading import File, Reading
from abside_agent.rules.transition import transitions
from abside_agent.settle.settle import settle

if TYPE_CHECKING:
    from tests.agent.conftest import Doc

    from abside.snapshot import Problem, Snapshot

NOW = 1_795_000_000_000_000  # 2026-11-18T12:26:40Z
BASE = {"layer": "ranking", "slots": "0%-50%", "traffic": "20%", "eligibility": "[]"}


def snapshot(text: str) -> Snapshot:
    settled = settle(Reading((File("f.yaml", text.encode()),)), None, NOW)
    assert settled.snapshot is not None
    assert not settled.problems, [str(problem) for problem in settled.problems]
    return settled.snapshot


def told(old: str, new: str) -> list[Problem]:
    return transitions(snapshot(old), snapshot(new), NOW, [parse("f.yaml", new.encode())])


def codes(problems: list[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.code, problem.path) for problem in problems]


def world(doc: type[Doc], **changes: Any) -> str:
    """Write the ground and one experiment, in lines of its own."""
    return doc.GROUND + doc.one("x", **{**BASE, **changes})


FROZEN = [
    ({"variants": "{control: {weight: 60%}, b: {weight: 40%, parameters: {pdp: {model: v2}}}}"}, "variants"),
    ({"variants": "{b: {weight: 50%, parameters: {pdp: {model: v2}}}, control: {weight: 50%}}"}, "variants"),
    ({"variants": "{control: {weight: 50%}, c: {weight: 50%, parameters: {pdp: {model: v2}}}}"}, "variants"),
    ({"unit": "user"}, "unit"),
    ({"eligibility": "[{attribute: country, op: eq, value: DE}]"}, "eligibility"),
    ({"placements": "[pdp, home]"}, "placements"),
    ({"control": "b"}, "control"),
]


@pytest.mark.parametrize(("change", "field"), FROZEN)
@pytest.mark.parametrize("status", ["running", "paused", "ended"])
def test_what_decides_who_gets_what_needs_a_new_phase_once_an_experiment_ran(
    change: dict[str, Any], field: str, status: str, doc: type[Doc]
) -> None:
    old, new = world(doc, status=status), world(doc, status=status, **change)
    first = told(old, new)[0]
    assert (first.severity, first.code, first.path) == ("error", "NEEDS_PHASE", f"experiments.x.{field}")
    assert "phase: 2" in first.remedy
    assert first.file == "f.yaml"
    assert new.splitlines()[first.line - 1].startswith("  x:")
    if field in change and change[field] is not None:
        assert new.splitlines()[first.line - 1][first.column - 1 :].startswith(f"{field}:")
    assert not [p for p in told(old, world(doc, status=status, phase=2, **change)) if p.severity == "error"]


@pytest.mark.parametrize(("change", "_field"), FROZEN)
@pytest.mark.parametrize("before", [{"status": "draft"}, {"start": '"2027-01-01T00:00:00Z"'}])
def test_nothing_is_frozen_before_an_experiment_ran(
    change: dict[str, Any], _field: str, before: dict[str, Any], doc: type[Doc]
) -> None:
    assert told(world(doc, **before), world(doc, **{**before, **change})) == []


@pytest.mark.parametrize(
    "change",
    [
        {"traffic": "100%"},
        {"traffic": "0%"},
        {"traffic": None, "steps": '[{from: "2026-11-01T00:00:00Z", traffic: 5%}]'},
        {"status": "paused"},
        {"status": "ended"},
        {"hypothesis": "None", "owner": "us", "end": '"2027-01-01T00:00:00Z"'},
        {"force": "{b: [qa]}"},
        {"analysis": "{window: 3d}"},
    ],
)
def test_traffic_status_times_and_words_may_always_change(change: dict[str, Any], doc: type[Doc]) -> None:
    assert told(world(doc), world(doc, **change)) == []


def test_a_phase_never_goes_back(doc: type[Doc]) -> None:
    (problem,) = told(world(doc, phase=3), world(doc, phase=2, unit="user"))
    assert (problem.code, problem.path, problem.value) == ("PHASE_LOWERED", "experiments.x.phase", "2")
    assert problem.remedy == "write phase: 3, or 4 to draw all units anew"


def test_changed_parameters_of_a_variant_are_a_warning_unless_the_phase_rises(doc: type[Doc]) -> None:
    old, change = world(doc), {"variants": doc.setting("model", "v3")}
    assert codes(told(old, world(doc, **change))) == [
        ("warning", "PARAMETERS_CHANGED", "experiments.x.variants.b.parameters")
    ]
    assert told(old, world(doc, **change, phase=2)) == []


def test_a_placements_parameter_under_an_experiment_is_a_warning_where_a_variant_shows_it(doc: type[Doc]) -> None:
    old = world(doc)
    new = old.replace("model: v1", "model: v9").replace("model: h1", "model: h9")
    assert codes(told(old, new)) == [("warning", "PARAMETERS_CHANGED", "placements.pdp.parameters.model")]
    both = "{control: {weight: 50%, parameters: {pdp: {model: v1}}}, b: {weight: 50%, parameters: {pdp: {model: v2}}}}"
    assert (
        told(world(doc, variants=both), world(doc, variants=both).replace("{model: v1, weights", "{model: v9, weights"))
        == []
    )
    assert told(world(doc, status="ended"), world(doc, status="ended").replace("model: v1", "model: v9")) == []


def test_a_key_of_a_mapping_is_compared_by_itself(doc: type[Doc]) -> None:
    def at(weights: str) -> str:
        return world(doc, variants=doc.setting("weights", weights))

    both, one = "{margin: 0.3, fresh: 1.0}", "{margin: 0.3}"
    assert told(at(both), at(one)) == [], "fresh is 1.0 either way"
    assert codes(told(at(both), at("{margin: 0.4}"))) == [
        ("warning", "PARAMETERS_CHANGED", "experiments.x.variants.b.parameters")
    ]
    assert codes(told(at("{margin: 0.3, fresh: 2.0}"), at(one))) == [
        ("warning", "PARAMETERS_CHANGED", "experiments.x.variants.b.parameters")
    ]
    changed = at(one).replace("fresh: 1.0", "fresh: 2.0, novelty: 0.1")
    found = told(at(one), changed)
    assert [(problem.path, problem.message.partition(" under")[0]) for problem in found] == [
        ("placements.pdp.parameters.weights.fresh", "weights.fresh of pdp changes"),
        ("placements.pdp.parameters.weights.novelty", "weights.novelty of pdp is new"),
    ]
    all_set = world(
        doc,
        variants="{control: {weight: 50%, parameters: {pdp: {weights: {margin: 0.1}}}}, "
        "b: {weight: 50%, parameters: {pdp: {weights: {margin: 0.3}}}}}",
    )
    assert told(all_set, all_set.replace("margin: 0.0", "margin: 0.9")) == []
    assert [problem.path for problem in told(all_set, all_set.replace("fresh: 1.0", "fresh: 2.0"))] == [
        "placements.pdp.parameters.weights.fresh"
    ]


def test_an_id_that_ran_is_retired_when_it_goes_and_never_comes_back(doc: type[Doc]) -> None:
    other = doc.experiment("y", placements="[home]", variants=doc.setting("model", "h2", "home"))
    ran = world(doc) + other
    gone = doc.GROUND + doc.experiments(other)
    (problem,) = told(ran, gone)
    assert (problem.severity, problem.code, problem.remedy) == ("warning", "NOT_RETIRED", "add x to retired")
    assert told(ran, gone + "retired: [x]\n") == []
    assert told(world(doc, status="draft") + other, gone) == []
    (back,) = told(gone + "retired: [x]\n", ran)
    assert (back.severity, back.code, back.line) == ("error", "RETIRED", ran.splitlines().index("experiments:") + 2)
    (loose,) = told(gone + "retired: [x]\n", gone)
    assert (loose.severity, loose.code) == ("warning", "UNRETIRED")


def test_an_experiment_that_ran_and_goes_back_to_draft_is_a_warning(doc: type[Doc]) -> None:
    assert codes(told(world(doc), world(doc, status="draft"))) == [("warning", "BACK_TO_DRAFT", "experiments.x.status")]


def test_an_integer_for_a_float_in_a_condition_is_a_change_of_its_type_only_where_it_is_one(doc: type[Doc]) -> None:
    ground = doc.GROUND.replace("attributes:\n", "attributes:\n  age: {type: number}\n")

    def at(value: str) -> str:
        return ground + doc.one("x", eligibility=f"[{{attribute: age, op: gt, value: {value}}}]")

    assert told(at("18"), at("18")) == []
    assert codes(told(at("18"), at("19"))) == [("error", "NEEDS_PHASE", "experiments.x.eligibility")]


def test_without_the_files_a_problem_still_names_its_file(doc: type[Doc]) -> None:
    (problem,) = transitions(snapshot(world(doc)), snapshot(world(doc, unit="user")), NOW)
    assert (problem.file, problem.line, problem.code) == ("f.yaml", 0, "NEEDS_PHASE")
