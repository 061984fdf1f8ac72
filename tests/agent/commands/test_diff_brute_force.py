"""The exact figures of `diff` against brute force: every unit assigned before and after, by the code that assigns.

`python tests/agent/commands/test_diff_brute_force.py` runs the full measure, 200,000 units for each of 30 pairs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from math import sqrt
from random import Random

import pytest

from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside.snapshot import Experiment, Layer, Parameters, Placement, Snapshot, Status, Step, Variant, assemble
from abside_agent.commands.impact.movement import PlacementMove, by_experiment, by_placement

NOW = 1_795_000_000_000_000
PAIRS = 30
UNITS = 10_000  # in the suite; the bound follows from it
KNOBS = ("a", "b", "c")
STATUSES: tuple[Status, ...] = ("running",) * 7 + ("paused", "draft", "ended")
SLOTS = ((0, 2500), (2500, 5000), (5000, 10_000), (1000, 7000))


def within_m(values: dict[str, int]) -> Parameters:
    """Put all but a and d into a mapping m."""
    parameters: Parameters = {name: value for name, value in values.items() if name in "ad"}
    inner: Parameters = {name: value for name, value in values.items() if name not in "ad"}
    return {**parameters, "m": inner} if inner else parameters


def experiment(name: str, rng: Random) -> Experiment:
    shares = rng.choice([(5000, 5000), (8000, 2000), (3333, 3333, 3334), (10_000,), (2500, 2500, 2500, 2500)])
    placements = tuple(rng.sample(["pdp", "home"], rng.choice([1, 1, 2])))
    variants, start = [], 0
    for index, share in enumerate(shares):
        knobs = rng.sample(KNOBS, rng.choice([0, 1, 2])) if index else []
        parameters: dict[str, Parameters] = {
            place: within_m({knob: rng.choice([1, 2, 3]) for knob in knobs}) for place in placements
        }
        variants.append(Variant(f"v{index}", start, start + share, parameters))
        start += share
    layer = rng.choice([None, "l1", "l2"])
    return Experiment(
        id=name,
        name="n",
        hypothesis="h",
        status=rng.choice(STATUSES),
        placements=placements,
        variants=tuple(variants),
        control="v0",
        unit=rng.choice(["user_or_session", "user", "session"]),
        layer=layer,
        slots=rng.choice(SLOTS) if layer else None,
        steps=(Step(0, rng.choice([0, 500, 2000, 5000, 5000, 8000, 10_000])),),
        phase=rng.choice([1, 1, 2]),
    )


def changed(before: Experiment, rng: Random) -> Experiment:
    other = experiment(before.id, rng)
    fields = rng.sample(
        ["status", "steps", "variants", "phase", "unit", "placements", "layer"], rng.choice([0, 1, 1, 2])
    )
    change = {field: getattr(other, field) for field in fields}
    if "layer" in fields:
        change["slots"] = other.slots
    return replace(before, **change)


def pair(seed: int) -> tuple[Snapshot, Snapshot]:
    """Draw two configurations; the second changes some of the first."""
    rng = Random(seed)
    old = [experiment(f"e{number}", rng) for number in range(rng.choice([1, 2, 3, 4]))]
    new = [changed(one, rng) for one in old if rng.random() > 0.1]
    if rng.random() < 0.3:
        new.append(experiment("e9", rng))
    ground = [Layer("l1"), Layer("l2")]
    values = {"a": 0, "b": 0, "c": 0}
    places = [Placement("pdp", within_m({**values, "d": 0})), Placement("home", within_m(values))]
    moved = list(places)
    if rng.random() < 0.3:
        moved[0] = Placement("pdp", within_m({**values, "d": 0, rng.choice(["a", "b", "d"]): 1}))
    return (
        assemble({}, [*places, *ground, *old], written_at_us=NOW),
        assemble({}, [*moved, *ground, *new], written_at_us=NOW),
    )


def brute_force(old: Snapshot, new: Snapshot, placement: str, units: int) -> dict[str, float]:
    """Assign every unit before and after, and count."""
    was, now = (build_plans(one, NOW).placements[placement] for one in (old, new))
    counts = dict.fromkeys(("variant", "configuration", "either", "enrolled", "e_variant", "e_config", "e_either"), 0)
    for number in range(units):
        subject = Subject(f"u{number}", f"s{number}", {}, placement)
        before, after = was.assign(subject), now.assign(subject)
        variant = {(one.experiment, one.variant) for one in before.assignments} != {
            (one.experiment, one.variant) for one in after.assignments
        }
        config = before.config_id != after.config_id
        enrolled = bool(before.assignments)
        counts["variant"] += variant
        counts["configuration"] += config
        counts["either"] += variant or config
        counts["enrolled"] += enrolled
        counts["e_variant"] += enrolled and variant
        counts["e_config"] += enrolled and config
        counts["e_either"] += enrolled and (variant or config)
    return {name: count / units for name, count in counts.items()}


def told(move: PlacementMove) -> dict[str, float]:
    return {
        "variant": move.variant,
        "configuration": move.configuration,
        "either": move.either,
        "enrolled": move.enrolled,
        "e_variant": move.enrolled * (move.enrolled_variant or 0),
        "e_config": move.enrolled * (move.enrolled_configuration or 0),
        "e_either": move.enrolled * (move.enrolled_either or 0),
    }


def differences(seed: int, units: int) -> list[tuple[float, float]]:
    """Yield (difference, standard error of the brute force) of every figure of one pair."""
    old, new = pair(seed)
    found = []
    for move in by_placement(old, new, NOW):
        assert move.sample_units == 0
        counted = brute_force(old, new, move.placement, units)
        for name, share in told(move).items():
            found.append((abs(share - counted[name]), sqrt(max(share * (1 - share), 0) / units)))
    return found


@pytest.mark.parametrize("seed", range(PAIRS))
def test_the_exact_figures_are_those_of_brute_force(seed: int) -> None:
    for difference, error in differences(seed, UNITS):
        assert difference <= 5 * error + 1e-9  # where the share is 0 or 1 not one unit may differ


def test_the_figures_of_a_sample_lie_within_its_error() -> None:
    old, new = pair(4)
    exactly = by_placement(old, new, NOW)
    sampled = by_placement(old, new, NOW, max_cells=0, sample_units=UNITS)
    assert [move.sample_units for move in sampled] == [UNITS, UNITS]
    for exact, drawn in zip(exactly, sampled, strict=True):
        assert abs(exact.either - drawn.either) <= 5 * exact.standard_error(exact.either) + 5 * sqrt(0.25 / UNITS)
        assert drawn.standard_error(0.5) == pytest.approx(0.005)


@pytest.mark.parametrize("seed", range(PAIRS))
def test_who_joins_and_leaves_explains_who_is_in_before_and_after(seed: int) -> None:
    for move in by_experiment(*pair(seed), NOW).values():
        assert move.before + move.joins - move.leaves == pytest.approx(move.after)
        assert 0 <= move.switches <= min(move.before, move.after) + 1e-9


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    every = [one for seed in range(PAIRS) for one in differences(seed, wanted)]
    largest = max(every)
    print(f"{PAIRS} pairs, {wanted:,} units, {len(every)} figures: largest difference {largest[0] * 100:.3f} points")
    print(f"in standard errors at most {max(d / e for d, e in every if e > 0):.2f}")
    print(f"where the share is exactly 0 or 1 at most {max((d for d, e in every if e == 0), default=0.0)}")
