"""The primary under other choices, beside numpy."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from abside.report.page.experiment import ExperimentPage

PageOf = Callable[..., ExperimentPage]
DAY = 24 * 60


def test_the_covariate_of_the_days_before_is_that_of_numpy_and_narrows_the_interval(till: Any, page_of: PageOf) -> None:
    rng = random.Random(8)
    till.config(0)
    rows: dict[str, list[tuple[float, float]]] = {"control": [], "treatment": []}
    for number in range(500):
        variant, user = rng.choice(["control", "treatment"]), f"u{number}"
        habit = rng.lognormvariate(3, 0.7)
        before, after = round(habit, 2), round(habit * rng.lognormvariate(0, 0.2), 2)
        till.add("purchase", 10 * DAY, user_id=user, value=before, currency="EUR")
        till.add("purchase", 0, user_id=user, value=99, currency="EUR")  # 20 days before: too early
        till.expose(20 * DAY, variant, user_id=user)
        till.add("purchase", 20 * DAY + 5, user_id=user, value=after, currency="EUR")
        rows[variant].append((after, before))
    page = page_of(till.close(), analysis={"primary": "revenue_per_user"})
    (found,) = page.sensitivity
    (one,) = found.estimates
    assert found.choice == "adjusted by the 14 days before (CUPED); raw values"
    control, treated = (np.array(rows[arm]) for arm in ("control", "treatment"))
    assert (one.control, one.value) == pytest.approx((control[:, 0].mean(), treated[:, 0].mean()), rel=1e-9)
    pooled = np.concatenate([control, treated])
    covariance = np.cov(pooled.T, ddof=1)
    theta = covariance[0, 1] / covariance[1, 1]
    means, spreads, counts = [], [], []
    for arm in (control, treated):
        residuals = arm[:, 0] - theta * (arm[:, 1] - pooled[:, 1].mean())
        means.append(float(residuals.mean()))
        spreads.append(float(residuals.var(ddof=1)) / len(arm))
        counts.append(len(arm))
    freedom = sum(spreads) ** 2 / sum(part**2 / (count - 1) for part, count in zip(spreads, counts, strict=True))
    half = float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(sum(spreads))
    difference = means[1] - means[0]
    assert one.difference_interval == pytest.approx((difference - half, difference + half), rel=1e-6, abs=1e-6)
    (raw,) = (each for each in page.estimates if each.metric == "revenue_per_user")
    assert raw.difference_interval is not None
    assert 2 * half < 0.6 * (raw.difference_interval[1] - raw.difference_interval[0])


def shoppers(till: Any) -> None:
    for number in range(40):
        user, variant = f"u{number}", "treatment" if number % 2 else "control"
        till.expose(0, variant, session_id=f"s{number}")
        if number < 10:  # logs in and meets the other arm
            till.expose(1, "control" if number % 2 else "treatment", session_id=f"s{number}", user_id=user)
        till.add("add_to_cart" if number % 3 else "click", 2, session_id=f"s{number}", item_id="i")


def test_leaving_crossovers_out_is_offered_under_equal_weights_only(till: Any, page_of: PageOf) -> None:
    till.config(0)
    shoppers(till)
    (found,) = page_of(till.close()).sensitivity
    assert (found.choice, found.units) == ("without crossovers", {"control": 15, "treatment": 15})
    till.config(0, weights_bp={"control": 8_000, "treatment": 2_000})
    shoppers(till)
    till.folder = till.folder.with_name("other")
    assert page_of(till.close()).sensitivity == ()


def test_windows_over_only_is_given_where_some_are_not(till: Any, page_of: PageOf) -> None:
    till.config(0, weights_bp={"control": 8_000, "treatment": 2_000})
    for number in range(40):
        variant = "treatment" if number % 2 else "control"
        till.expose(number * 60, variant, user_id=f"u{number}")
        till.add("add_to_cart" if number % 3 else "click", number * 60 + 1, user_id=f"u{number}", item_id="i")
    (found,) = page_of(till.close(), analysis={"window_seconds": 36_000}).sensitivity
    assert (found.choice, sum(found.units.values())) == ("windows over only", 30)
