from __future__ import annotations

from dataclasses import replace

import pytest

from abside.assignment.schedule import since_us
from abside.snapshot import Experiment, Step

PLAIN = Experiment("a", "n", "h", "running", ("pdp",), (), "control")


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, None),
        ({"start_us": 40}, 40),
        ({"start_us": 60}, None),
        ({"start_us": 40, "steps": (Step(30, 100),)}, 40),
        ({"start_us": 40, "steps": (Step(30, 100), Step(50, 200), Step(51, 300))}, 50),
        ({"start_us": 10, "steps": (Step(30, 100),), "end_us": 45}, 45),
    ],
)
def test_the_schedule_is_as_it_is_since_its_latest_time_that_has_passed(
    changes: dict[str, object], since: int | None
) -> None:
    assert since_us(replace(PLAIN, **changes), 50) == since  # type: ignore[arg-type]
