"""Conflicts among many experiments: the same as by comparing every pair, in far fewer steps."""

from __future__ import annotations

import sys
from collections import defaultdict
from functools import partial
from itertools import combinations
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abside.snapshot import Experiment, Variant
from abside_agent.document.reading import File, Reading
from abside_agent.rules.apart import LIVE
from abside_agent.rules.conflicts import MOST_OTHERS, conflicts
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.spawn import run
from abside_agent.settle.check import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from tests.agent.conftest import Doc

# A shared machine may stall for a second: how long an example takes says nothing about the code.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
INSTANTS = st.none() | st.integers(0, 6)


def experiment(name: str, parameters: tuple[str, ...] = ("model",), **fields: Any) -> Experiment:
    values: dict[str, Any] = {}
    for parameter in parameters:  # "weights.a" is a in the mapping weights
        outer, _, inner = parameter.partition(".")
        if inner:
            values.setdefault(outer, {})[inner] = 1
        else:
            values[outer] = 1
    arms = (Variant("control", 0, 5000, {}), Variant("b", 5000, 10_000, {"pdp": values}))
    given = {"status": "running", **fields}
    return Experiment(name, "A test", "It lifts", placements=("pdp",), variants=arms, control="control", **given)


@st.composite
def experiments(draw: st.DrawFn) -> list[Experiment]:
    made = []
    for number in range(draw(st.integers(0, 30))):
        start = draw(st.integers(0, 8))
        layer = draw(st.sampled_from([None, "l", "m"]))
        fields = {
            "status": draw(st.sampled_from(["running", "paused", "draft", "ended"])),
            "layer": layer,
            "slots": None if layer is None else (start, start + draw(st.integers(1, 9))),
            "unit": draw(st.sampled_from(["user_or_session", "user"])),
            "start_us": draw(INSTANTS),
            "end_us": draw(INSTANTS),
        }
        names = draw(st.sampled_from([("model", "weights.a", "weights.b"), ("model", "weights")]))
        parameters = tuple(sorted(draw(st.sets(st.sampled_from(names)))))
        made.append(experiment(f"e{number:02}", parameters, **fields))
    return made


def every_pair(made: list[Experiment]) -> Iterator[tuple[str, Experiment, Experiment]]:
    """Look at every pair, by the rules as the design has them."""
    for a, b in combinations(made, 2):
        both_live = {a.status, b.status} <= LIVE
        if a.layer is not None and a.layer == b.layer and "ended" not in {a.status, b.status} and a.unit != b.unit:
            yield "LAYER_UNIT", a, b
        if not both_live or not at_one_time(a, b):
            continue
        if a.layer is not None and a.layer == b.layer:
            (a_start, a_stop), (b_start, b_stop) = a.slots or (0, 0), b.slots or (0, 0)
            if a_start < b_stop and b_start < a_stop:
                yield "SLOTS_OVERLAP", a, b
        elif any(share(one, other) for one in leaves_of(a) for other in leaves_of(b)):
            yield "PARAMETER_CONFLICT", a, b


def leaves_of(one: Experiment) -> list[str]:
    """List what an experiment sets, from its second variant, two levels deep."""
    values = one.variants[1].parameters["pdp"].items()
    return [f"{name}.{key}." for name, value in values for key in (value if isinstance(value, dict) else [""])]


def share(one: str, other: str) -> bool:
    """Whether two leaves are one, or one lies inside the other."""
    return one.startswith(other.rstrip(".") + ".") or other.startswith(one.rstrip(".") + ".")


def at_one_time(a: Experiment, b: Experiment) -> bool:
    begins = [one.start_us for one in (a, b) if one.start_us is not None]
    ends = [one.end_us for one in (a, b) if one.end_us is not None]
    return not begins or not ends or max(begins) < min(ends)


Known = dict[tuple[str, str, tuple[bool, bool]], set[str]]


def by_experiment(found: Iterator[tuple[str, Experiment, Experiment]], settled: set[str]) -> Known:
    known: Known = defaultdict(set)
    for code, a, b in found:
        for one, other in ((a, b), (b, a)):
            kind = (other.status == "draft" and code == "LAYER_UNIT", other.id in settled)
            known[code, one.id, kind].add(other.id)
    return known


@pytest.mark.parametrize("most", [1, 3, MOST_OTHERS])
@UNHURRIED
@given(made=experiments(), data=st.data())
def test_it_finds_what_looking_at_every_pair_finds(most: int, made: list[Experiment], data: st.DataObject) -> None:
    settled = data.draw(st.sets(st.sampled_from([one.id for one in made]))) if made else set()
    pairs = ((one.code, one.first, one.second) for one in conflicts(made, settled, most))
    found, all_of_them = by_experiment(pairs, settled), by_experiment(every_pair(made), settled)
    assert found.keys() == all_of_them.keys()
    for key, others in all_of_them.items():
        assert found[key] <= others, key
        assert len(found[key]) >= min(most, len(others)), key


CROWDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "one parameter": lambda _: {},
    "every key of one mapping": lambda _: {"parameters": tuple(f"weights.{key}" for key in range(20))},
    "a mapping and what is inside it": lambda n: {"parameters": ("weights.a",) if n % 2 else ("weights",)},
    "one layer's slots": lambda _: {"layer": "l", "slots": (0, 10_000)},
    "two units in a layer": lambda n: {"layer": "l", "slots": (n, n + 1), "unit": ("user", "session")[n % 2]},
    "a layer each, one after the other": lambda n: {
        "layer": f"l{n}",
        "slots": (0, 1),
        "start_us": n,
        "end_us": n + 1,
    },
    "stripes that do not meet": lambda n: {
        "layer": "l",
        **({"slots": (n, n + 1)} if n % 2 else {"slots": (5000, 10_000), "start_us": n, "end_us": n + 2}),
    },
}


def steps_of(work: Callable[[], object]) -> int:
    """Count the calls that work takes; seconds would depend on the machine."""
    calls = [0]

    def count(_: FrameType, event: str, __: object) -> None:
        calls[0] += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls[0]


@pytest.mark.parametrize("crowd", CROWDS)
def test_twice_as_many_take_about_twice_the_steps(crowd: str) -> None:
    steps = []
    for count in (400, 800):
        made = [experiment(f"e{number}", **CROWDS[crowd](number)) for number in range(count)]
        assert len(list(conflicts(made))) <= 2 * MOST_OTHERS * count
        steps.append(steps_of(partial(list, conflicts(made))))
    assert steps[1] <= 2.5 * steps[0]


def unknown_layers(doc: type[Doc], count: int) -> list[File]:
    layers = "layers:\n" + "".join(f"  layer{number}: {{}}\n" for number in range(count))
    lines = [doc.experiment(f"e{number}", layer=f"lair{number}", slots="0%-50%") for number in range(count)]
    return [File("l", layers.encode()), File("x", doc.experiments(*lines).encode())]


def unknown_attributes(doc: type[Doc], count: int) -> list[File]:
    declared = "attributes:\n" + "".join(f"  attribute{number}: {{type: string}}\n" for number in range(count))
    asked = "[{{attribute: attributes{}, op: exists}}]"
    lines = [doc.experiment(f"e{number}", eligibility=asked.format(number)) for number in range(count)]
    return [File("a", declared.encode()), File("x", doc.experiments(*lines).encode())]


def one_id_in_every_file(doc: type[Doc], count: int) -> list[File]:
    return [File(f"{number}", doc.one("x").encode()) for number in range(count)]


@pytest.mark.parametrize("mistake", [unknown_layers, unknown_attributes, one_id_in_every_file])
def test_twice_as_many_mistakes_take_about_twice_the_steps(
    mistake: Callable[[type[Doc], int], list[File]], doc: type[Doc]
) -> None:
    few, many = (steps_of(partial(check, mistake(doc, count))) for count in (120, 240))
    assert many <= 2.5 * few


def test_six_thousand_on_one_parameter_fit_into_the_limits_of_a_child(doc: type[Doc]) -> None:
    files = [File("g.yaml", doc.GROUND.encode())]
    for part in range(2):
        lines = [doc.experiment(f"e{part}-{number}") for number in range(3000)]
        files.append(File(f"{part}.yaml", doc.experiments(*lines).encode()))
    outcome = run(Order(Reading(tuple(files)).pack(), b"", 5, 20, 192 * 2**20), 600, Event())
    assert outcome.counts["experiments"] == 0
    codes = [problem.code for problem in outcome.problems]
    assert set(codes) == {"TOO_MANY_PROBLEMS", "PARAMETER_CONFLICT", "MORE_PROBLEMS"}
    assert len(codes) == 101, "the rest are counted in one line"
