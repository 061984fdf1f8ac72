"""The message for experiments that cannot both be in force has the lines that separate them, and they do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Doc

    from abside.snapshot import Problem

Check = "Callable[..., list[Problem]]"
_LINE = re.compile(r"in (\S+) (?:layer: (\S+) and )?slots: ([0-9.]+%-[0-9.]+%)")
WORLDS: dict[str, list[dict[str, Any]]] = {
    "two without a layer": [{}, {}],
    "three without a layer": [{}, {}, {}],
    "five without a layer": [{}] * 5,
    "one in a layer with room": [{"layer": "ranking", "slots": "0%-30%"}, {}],
    "one in a full layer": [{"layer": "ranking", "slots": "0%-100%"}, {}],
    "two in a full layer and one outside": [
        {"layer": "ranking", "slots": "0%-50%"},
        {"layer": "ranking", "slots": "50%-100%"},
        {},
    ],
    "two layers": [{"layer": "ranking", "slots": "0%-50%"}, {"layer": "other", "slots": "0%-50%"}],
    "slots that overlap": [{"layer": "ranking", "slots": "0%-50%"}, {"layer": "ranking", "slots": "20%-60%"}],
    "the same slots": [{"layer": "ranking", "slots": "0%-100%"}] * 3,
}


def files(
    doc: type[Doc], experiments: list[dict[str, Any]], layers: str = "{ranking: {}, other: {}}"
) -> dict[str, str]:
    ground = doc.GROUND.replace("layers:\n  ranking: {}", f"layers: {layers}")
    return {"g.yaml": ground + doc.experiments(*(doc.experiment(f"e{n}", **one) for n, one in enumerate(experiments)))}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("layers", ["{ranking: {}, other: {}}", "{pdp-ranking: {}, ranking: {}, other: {}}"])
def test_whoever_writes_the_lines_of_every_message_is_done(
    name: str, layers: str, doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    worlds = [dict(one) for one in WORLDS[name]]
    found = problems_of(files(doc, worlds, layers))
    assert len(found) >= 2
    for problem in found:
        lines = _LINE.findall(problem.remedy)
        assert lines, problem.remedy
        if "declare layers: {pdp: {}}" in problem.remedy:
            layers = layers.replace("{", "{pdp: {}, ", 1) if "pdp: {}" not in layers else layers
        for one, layer, slots in lines:
            worlds[int(one[1:])] |= {"slots": slots, **({"layer": layer} if layer else {})}
    assert problems_of(files(doc, worlds, layers)) == []


def test_what_already_runs_in_a_layer_keeps_its_slots_where_there_is_room(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    for problem in problems_of(files(doc, WORLDS["one in a layer with room"])):
        assert problem.remedy.startswith("write in e1 layer: ranking and slots: 30%-100%; or")


def test_units_that_differ_and_a_crowd_are_not_put_into_one_layer(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    for problem in problems_of(files(doc, [{"unit": "user"}, {"unit": "session"}])):
        assert problem.remedy.endswith("give them times from start to end that do not meet")
    for problem in problems_of(files(doc, [{}] * 6)):
        assert problem.remedy.startswith("give all of them one layer with disjoint slots")


def test_a_layer_of_another_placement_is_left_alone_and_a_new_one_declared(
    doc: type[Doc], problems_of: Callable[..., list[Problem]]
) -> None:
    at_home = doc.experiment("h", placements="[home]", layer="ranking", slots="0%-50%").replace("pdp:", "home:")
    world = files(doc, [{}, {}], "{ranking: {}}")
    for others, wanted in {
        doc.experiments(at_home): "declare layers: {pdp: {}}, and write in e0 layer: pdp and slots: 0%-50%, in e1",
        "{}": "write in e0 layer: ranking and slots: 0%-50%, in e1",
    }.items():
        found = [one for one in problems_of({**world, "h.yaml": others}) if one.severity == "error"]
        assert [problem.code for problem in found] == ["PARAMETER_CONFLICT"] * 2
        for problem in found:
            assert problem.remedy.startswith(wanted), problem.remedy
