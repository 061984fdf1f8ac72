"""The 75th percentile of page load, beside a plain sort."""

import math
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from abside.report.page.experiment import ExperimentPage
from abside.report.page.rows import LOAD_P75, figures


def test_the_percentile_is_of_the_page_views_within_the_windows_of_each_arm(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    rng = random.Random(4)
    loads = defaultdict(list)
    for number in range(80):
        variant, user = "treatment" if number % 4 == 0 else "control", f"u{number}"
        till.expose(0, variant, user_id=user)
        till.add("page_view", -5, user_id=user, page_load_ms=1.0)
        till.add("page_view", 6, user_id=user)
        for _ in range(rng.randrange(4)):
            ms = rng.choice([rng.lognormvariate(7, 1), 250.0, 1e9])
            till.add("page_view", 5, user_id=user, page_load_ms=ms)
            loads[variant].append(ms)
    page = page_of(till.close())
    for variant, found in loads.items():
        exact = sorted(found)[math.ceil(0.75 * len(found)) - 1]
        assert page.load_p75[variant] == min(60_000, math.ceil(exact))
    told = [row[:3] for row in figures(page).rows if row[0] == LOAD_P75]
    assert told == [(LOAD_P75, "control", f"{page.load_p75['control']:,.0f} ms")]


def test_without_page_loads_there_is_none(till: Any, page_of: Callable[..., ExperimentPage]) -> None:
    for number in range(8):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
        till.add("page_view", 1, user_id=f"u{number}")
    assert page_of(till.close()).load_p75 == {}
