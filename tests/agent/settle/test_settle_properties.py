"""Properties of last good over arbitrary documents, good and bad, in arbitrary order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.snapshot import decode, encode
from abside_agent.document.reading import File, Reading
from abside_agent.rules.conflicts import conflicts
from abside_agent.rules.fit import Ground, fit
from abside_agent.settle.check import check
from abside_agent.settle.settle import Settled, settle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot import Snapshot

Section = dict[str, dict[str, Any]]
World = list[tuple[str, str, Any, int]]  # section, id, entry, the file that contains it

KNOBS = ("a", "b", "c")
IDS = ("e1", "e2", "e3", "e4")
FILES = 3
thorough = settings(max_examples=cases(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
rarely = st.integers(0, 11).map(lambda number: number == 7)


def mostly(usual: Any, *odd: Any) -> st.SearchStrategy[Any]:
    """Draw the usual value, and now and then an odd one."""
    return st.integers(0, 9).map(lambda number: odd[number] if number < len(odd) else usual)


@st.composite
def experiments(draw: st.DrawFn, taken: dict[str, Any]) -> dict[str, Any]:
    placement = draw(st.sampled_from(["p1", "p2"]))
    knobs = draw(st.lists(st.sampled_from(KNOBS), min_size=1, max_size=2, unique=True))
    entry: dict[str, Any] = {
        "name": "n",
        "hypothesis": "h",
        "status": draw(mostly("running", "draft", "paused", "ended")),
        "placements": [placement],
        "unit": draw(mostly("user", "session")),
        "traffic": draw(st.sampled_from(["10%", "20%", "30%"])),
        "variants": {
            "control": {"weight": "50%"},
            "t": {
                "weight": draw(mostly("50%", "49%")),
                "parameters": {placement: {knob: draw(mostly(1, 2, "x")) for knob in knobs}},
            },
        },
    }
    if draw(st.booleans()):
        slots = st.sampled_from(["0%-20%", "20%-40%", "40%-60%", "60%-80%", "10%-50%"])
        entry |= {
            "layer": "l",
            "slots": draw(slots.filter(lambda one: one not in taken) if draw(st.booleans()) else slots),
        }
        taken[entry["slots"]] = True
    if draw(st.booleans()):
        entry["eligibility"] = [{"attribute": "c", "op": "eq", "value": draw(mostly("DE", 1))}]
    return entry


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Documents as entries, each in one of a few files; most are good, and now and then something is not."""
    file = st.integers(0, FILES - 1)
    world: World = []
    taken: dict[str, Any] = {}
    for name in ("p1", "p2"):
        declared = {knob: draw(mostly(1, 1.5, "x")) for knob in KNOBS if not draw(rarely)}
        if not draw(rarely):
            world.append(("placements", name, {"parameters": declared}, draw(file)))
    if not draw(rarely):
        world.append(("layers", "l", {}, draw(file)))
    if not draw(rarely):
        world.append(("attributes", "c", {"type": draw(mostly("string", "number", "sting"))}, draw(file)))
    for name in IDS:
        if draw(st.booleans()):
            world.append(("experiments", draw(mostly(name, "e1", "p1")), draw(experiments(taken)), draw(file)))
    if draw(rarely):
        world.append(("unknown", "section", {}, draw(file)))
    return world


def files_of(world: Iterable[tuple[str, str, Any, int]]) -> list[File]:
    """Write a world as files; JSON is YAML."""
    files: dict[int, Section] = {}
    for section, name, entry, number in world:
        files.setdefault(number, {}).setdefault(section, {}).setdefault(name, entry)
    return [File(f"{number}.yaml", orjson.dumps(sections)) for number, sections in files.items()]


def unique(world: World) -> World:
    """Leave out entries that would silently overwrite another of the same file."""
    seen: set[tuple[str, str, int]] = set()
    return [e for e in world if (e[0], e[1], e[3]) not in seen and not seen.add((e[0], e[1], e[3]))]  # type: ignore[func-returns-value]


def run(worlds: Iterable[World], pauses: dict[str, str] | None = None) -> tuple[Settled, Snapshot | None]:
    """Let an agent see one world after the other, each time from its file."""
    last: Snapshot | None = None
    settled = Settled(None, ())
    for world in worlds:
        settled = settle(Reading(tuple(files_of(world)), paused={"paused": pauses or {}}), last, 1)
        last = decode(encode(settled.snapshot)) if settled.snapshot is not None else last
    return settled, last


@thorough
@given(st.lists(worlds(), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_files_and_of_keys_does_not_matter(history: list[World], chance: Any) -> None:
    shuffled = []
    for world in map(unique, history):
        other = list(world)
        chance.shuffle(other)
        shuffled.append(other)
    one, snapshot = run(map(unique, history))
    two, again = run(shuffled)
    assert one.held == two.held
    assert {(p.code, p.file, p.path) for p in one.problems} == {(p.code, p.file, p.path) for p in two.problems}
    assert (snapshot and snapshot.experiments) == (again and again.experiments)
    assert (snapshot and snapshot.head.revision) == (again and again.head.revision)


@thorough
@given(st.lists(worlds(), max_size=3), worlds(), st.dictionaries(st.sampled_from([*IDS, "all"]), st.just("why")))
def test_a_fresh_agent_and_an_old_one_publish_the_same_revision_when_nothing_is_held_back(
    history: list[World], world: World, pauses: dict[str, str]
) -> None:
    fresh, snapshot = run([world], pauses)
    old, kept = run([*history, world], pauses)
    if snapshot is not None and not fresh.is_degraded and not any(p.code == "NO_EXPERIMENT" for p in old.problems):
        assert kept is not None
        assert not old.is_degraded
        assert kept.head == snapshot.head
        assert list(kept.records()) == list(snapshot.records())


@thorough
@given(st.lists(worlds(), min_size=1, max_size=4))
def test_whatever_is_published_is_free_of_conflicts_and_stands_on_its_ground(history: list[World]) -> None:
    _, snapshot = run(history)
    if snapshot is None:
        return
    ground = Ground(snapshot.placements, snapshot.layers, snapshot.head.attributes)
    assert list(conflicts(snapshot.experiments.values())) == []
    assert not set(snapshot.experiments) & set(snapshot.placements)
    for experiment in snapshot.experiments.values():
        assert fit(experiment, ground, in_force=True) == (experiment, [])


@thorough
@given(st.lists(worlds(), min_size=1, max_size=3))
def test_seeing_the_same_again_changes_nothing(history: list[World]) -> None:
    _, once = run(history)
    _, twice = run([*history, history[-1]])
    assert once == twice


@thorough
@given(worlds())
def test_check_finds_no_error_exactly_when_a_fresh_agent_holds_nothing_back(world: World) -> None:
    errors = [flaw for flaw in check(files_of(world)).flaws() if flaw.is_error]
    settled, snapshot = run([world])
    if snapshot is not None:
        assert settled.is_degraded == bool(errors)
        assert bool(settled.held) <= bool(errors)
        asked = {(section, name) for section, name, _, _ in world}
        if not errors:
            assert {name for section, name in asked if section == "experiments"} == set(snapshot.experiments)


@thorough
@given(st.lists(worlds(), min_size=1, max_size=3), worlds())
def test_a_running_experiment_never_vanishes_while_the_files_still_have_it(history: list[World], world: World) -> None:
    world = unique(world)  # a file without the entry asks for nothing
    _, before = run(history)
    _, after = run([*history, world])
    if before is None:
        return
    assert after is not None
    asked = {name: entry for section, name, entry, _ in world if section == "experiments"}
    for name, experiment in before.experiments.items():
        stays = name in asked and asked[name]["status"] in {"running", "paused"}
        if experiment.status in {"running", "paused"} and stays:
            assert name in after.experiments
