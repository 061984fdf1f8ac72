"""Documents with every kind of experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from abside.assignment.condition import compile_eligibility
from abside.snapshot import Attribute, Experiment, Layer, Placement, Snapshot, Step, Variant, assemble

if TYPE_CHECKING:
    from abside.snapshot import Parameters

ATTRIBUTES = {"country": Attribute("string", log=True), "visits": Attribute("number", log=True)}
BASE: Parameters = {
    "model": "ranker-v1",
    "weights": {"margin": 0.0, "fresh": 1.0},
    "count": 12,
    "labels": ["a", "ü"],
}


def two_arms(name: str, **changes: Any) -> Experiment:
    own = changes.pop("parameters")
    arms = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, own))
    return replace(Experiment(name, name, "Lifts.", "running", ("pdp",), arms, "control"), **changes)


@pytest.fixture
def every_kind() -> Snapshot:
    """Every kind of experiment: targeted, layered, ramped, of sessions, forcing somebody, paused, on two placements."""
    eligibility, errors = compile_eligibility([{"attribute": "country", "op": "in", "value": ["DE", "AT"]}], ATTRIBUTES)
    assert not errors
    both: dict[str, Any] = {"pdp": {"count": 8}, "home": {"hero": False}}
    return assemble(
        ATTRIBUTES,
        [
            Placement("pdp", BASE),
            Placement("home", {"hero": True}),
            Placement("footer", {"links": 3}),
            Layer("ranking"),
            two_arms("targeted", eligibility=tuple(eligibility), parameters={"pdp": {"model": "ranker-v2"}}),
            two_arms("one", layer="ranking", slots=(0, 4000), parameters={"pdp": {"weights": {"margin": 0.3}}}),
            two_arms("two", layer="ranking", slots=(4000, 9000), parameters={"pdp": {"weights": {"fresh": 0.5}}}),
            two_arms("ramped", steps=(Step(0, 3000),), placements=("pdp", "home"), parameters=both),
            two_arms("visit", unit="session", force={"qa-1": "treatment"}, parameters={"pdp": {"labels": []}}),
            two_arms("stopped", pause="carts broken", parameters={"pdp": {"count": 99}}),
        ],
        written_at_us=1,
    )
