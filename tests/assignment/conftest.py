from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from abside.assignment.unit import Subject
from abside.snapshot import Attribute, Experiment, Placement, Variant

if TYPE_CHECKING:
    from collections.abc import Callable

# A shared machine may stall for a second: how long an example takes says nothing about the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

CONTROL = Variant("control", 0, 8000)
TREATMENT = Variant("treatment", 8000, 10_000, {"pdp": {"model": "ranker-v2"}})
PLAIN = Experiment(
    id="pdp-rank-2026-11",
    name="PDP re-ranker",
    hypothesis="More carts",
    status="running",
    placements=("pdp",),
    variants=(CONTROL, TREATMENT),
    control="control",
)


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """An 80/20 experiment on pdp that runs, with whatever is changed about it."""

    def make(**changes: Any) -> Experiment:
        return replace(PLAIN, **changes)

    return make


@pytest.fixture(scope="session")
def subject() -> Callable[..., Subject]:
    """Someone at pdp: the user u1 in the session s1, unless the test names others."""

    def make(user_id: str | None = "u1", session_id: str | None = "s1", **fields: Any) -> Subject:
        return Subject(user_id, session_id, fields.pop("attributes", {}), fields.pop("placement", "pdp"), **fields)

    return make


@pytest.fixture(scope="session")
def pdp() -> Placement:
    return Placement("pdp", {"model": "ranker-v1", "item_count": 12})


@pytest.fixture(scope="session")
def declared() -> dict[str, Attribute]:
    """One attribute of each type, of the type's name."""
    return {
        "string": Attribute("string"),
        "number": Attribute("number"),
        "boolean": Attribute("boolean"),
        "version": Attribute("version"),
        "date": Attribute("date"),
        "list": Attribute("list"),
        "country": Attribute("string"),
    }
