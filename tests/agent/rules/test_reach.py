"""Warnings where more or fewer shoppers are reached than somebody would expect; silence where it is meant."""

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

NOW = 1_795_000_000_000_000  # 2026-11-18T11:06:40Z
DE = "[{attribute: country, op: eq, value: DE}]"


def snapshot(text: str) -> Snapshot:
    settled = settle(Reading((File("f.yaml", text.encode()),)), None, NOW)
    assert settled.snapshot is not None
    assert not [problem for problem in settled.problems if problem.severity == "error"]
    return settled.snapshot


def told(old: str, new: str, *codes: str) -> list[Problem]:
    found = transitions(snapshot(old), snapshot(new), NOW, [parse("f.yaml", new.encode())])
    assert not [one for one in found if one.severity == "error"]
    return [one for one in found if one.code in codes]


def world(doc: type[Doc], **fields: Any) -> str:
    return doc.GROUND + doc.one("x", **fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"traffic": "12%", "eligibility": DE}, "tested on 12 % of shoppers: country DE; now everybody gets it"),
        ({"traffic": "12%"}, "tested on 12 % of shoppers; now"),
        ({"layer": "ranking", "slots": "0%-50%", "traffic": "20%"}, "tested on 10 % of shoppers; now"),
        ({"eligibility": DE}, "tested on a part of the shoppers: country DE; now"),
        ({"unit": "user", "status": "paused"}, "tested on a part of the shoppers: with a user id; now"),
        (
            {
                "eligibility": "[{any: [{attribute: country, op: not_in, value: [DE, AT]}, "
                "{attribute: logged_in, op: exists}]}]"
            },
            "tested on a part of the shoppers: country not AT, DE or logged_in exists; now",
        ),
    ],
)
def test_what_was_tested_on_a_part_and_becomes_everybodys_is_a_warning(
    fields: dict[str, Any], said: str, doc: type[Doc]
) -> None:
    old = world(doc, **fields)
    shipped = world(doc, **{**fields, "status": "ended"}).replace("model: v1", "model: v2")
    (problem,) = told(old, shipped, "WIDER_THAN_TESTED")
    assert f"b of x was {said}" in problem.message
    assert problem.path == "placements.pdp.parameters.model"
    assert problem.severity == "warning"
    assert shipped.splitlines()[problem.line - 1][problem.column - 1 :].startswith("model: v2")
    assert told(old, world(doc, **{**fields, "status": "ended"}), "WIDER_THAN_TESTED") == []
    assert told(old, old.replace("model: v1", "model: v9"), "WIDER_THAN_TESTED") == []


def test_what_everybody_was_tested_on_ships_without_a_word(doc: type[Doc]) -> None:
    for fields in ({}, {"traffic": "100%"}, {"layer": "ranking", "slots": "0%-100%"}):
        shipped = world(doc, **{**fields, "status": "ended"}).replace("model: v1", "model: v2")
        assert told(world(doc, **fields), shipped, "WIDER_THAN_TESTED") == []


def test_a_mapping_ships_when_all_of_what_the_variant_sets_is_there(doc: type[Doc]) -> None:
    fields = {"traffic": "5%", "variants": doc.setting("weights", "{margin: 0.3, fresh: 1.0}")}
    old = world(doc, **fields)
    assert told(old, world(doc, **fields).replace("{margin: 0.0", "{margin: 0.2"), "WIDER_THAN_TESTED") == []
    (problem,) = told(old, world(doc, **fields).replace("{margin: 0.0", "{margin: 0.3"), "WIDER_THAN_TESTED")
    assert problem.path == "placements.pdp.parameters.weights.margin"


def steps(*pairs: tuple[str, int]) -> dict[str, Any]:
    written = ", ".join(f'{{from: "{day}T00:00:00Z", traffic: {share}%}}' for day, share in pairs)
    return {"traffic": None, "steps": f"[{written}]"}


@pytest.mark.parametrize(
    ("after", "code", "path", "said"),
    [
        (
            steps(("2027-01-11", 5)),
            "EMPTY_UNTIL",
            "steps[0].from",
            "it runs at 20 %, and before this first step nobody is in",
        ),
        (
            {"start": '"2027-01-01T00:00:00Z"'},
            "EMPTY_UNTIL",
            "start",
            "it runs at 20 %, and with this start nobody is in",
        ),
        ({"traffic": None}, "OPENED", "", "it goes from 20 % to 100 % at once"),
    ],
)
def test_a_running_experiment_that_empties_or_opens_at_once_is_a_warning_whose_remedy_mends_it(
    after: dict[str, Any], code: str, path: str, said: str, doc: type[Doc]
) -> None:
    old = world(doc, traffic="20%")
    (problem,) = told(old, world(doc, **{"traffic": "20%", **after}), "EMPTY_UNTIL", "OPENED")
    assert (problem.code, problem.path) == (code, f"experiments.x.{path}".rstrip("."))
    assert said in problem.message
    mended: dict[str, Any] = {"traffic": "100%"}
    if "steps" in after:
        first = problem.remedy.removeprefix("begin with a step that is in force already: ")
        mended = {"traffic": None, "steps": after["steps"].replace("[", f"[{first}, ")}
    elif "start" in after:
        mended = {"traffic": "20%"}
    assert told(old, world(doc, **mended), "EMPTY_UNTIL", "OPENED") == []


def test_a_ramp_a_pause_and_steps_that_are_in_force_are_no_surprise(doc: type[Doc]) -> None:
    old = world(doc, traffic="20%")
    for after in (
        steps(("2026-11-01", 20), ("2027-01-11", 50)),
        {"traffic": "100%"},
        {"status": "paused", **steps(("2027-01-11", 5))},
    ):
        assert told(old, world(doc, **{"traffic": "20%", **after}), "EMPTY_UNTIL", "OPENED", "REOPENED") == []


@pytest.mark.parametrize("status", ["running", "paused"])
def test_an_ended_experiment_that_runs_again_is_a_warning_unless_its_phase_rises(status: str, doc: type[Doc]) -> None:
    old = world(doc, status="ended")
    (problem,) = told(old, world(doc, status=status), "REOPENED")
    assert (problem.path, problem.severity) == ("experiments.x.status", "warning")
    assert "phase: 2" in problem.remedy
    assert told(old, world(doc, status=status, phase=2), "REOPENED") == []
    over = world(doc, end='"2026-11-01T00:00:00Z"')
    (later,) = told(over, world(doc, end='"2027-11-01T00:00:00Z"'), "REOPENED")
    assert later.path == "experiments.x.end"
