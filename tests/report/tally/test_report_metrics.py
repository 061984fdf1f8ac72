"""Every built-in metric beside a plain loop over random shoppers and numpy's formulas; no tea-tasting."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from abside.metric import BY_NAME, METRICS, from_json, to_json
from abside.report.page.experiment import ExperimentPage

PageOf = Callable[..., ExperimentPage]
Columns = dict[str, Any]
SHOPPERS, DAY = 600, 1440


def shopper(till: Any, rng: random.Random, number: int) -> tuple[str, dict[str, float]]:
    """Write down one shopper's sessions; give the variant and what a loop counts of them."""
    user, variant = f"u{number}", rng.choice(["control", "control", "treatment"])
    seen = dict.fromkeys(
        ["sessions", "bounces", "revenue", "bought", "carted", "items", "load", "timed", "slow", "clicks", "lists"], 0.0
    )
    for visit in range(rng.choice([1, 1, 2, 3])):
        start = visit * DAY + rng.random() * 600
        session = f"s{number}-{visit}"
        views = rng.choice([0, 1, 1, 2, 4])
        acted = False
        if visit == 0 or rng.random() < 0.8:
            till.expose(start, variant, user_id=user, session_id=session)
            seen["sessions"] += 1
            exposed = True
        else:
            exposed = False
        for view in range(views):
            load = rng.choice([None, rng.lognormvariate(7.3, 0.6)])
            timed = {} if load is None else {"page_load_ms": load}
            before = view == 0 and visit > 0  # a landing page, before the exposure of its session
            at = start - 1 if before else start + view
            till.add("page_view", at, user_id=user, session_id=session, page_type="pdp", **timed)
            if load is not None:
                seen["timed"] += 1
                seen["load"] += load
                seen["slow"] += load > 2500
        if rng.random() < 0.7:
            till.add("impression", start, user_id=user, session_id=session, placement="pdp", items=["i"])
            seen["lists"] += 1
        if rng.random() < 0.2:
            till.add("click", start + 1, user_id=user, session_id=session, placement="pdp", item_id="i")
            seen["clicks"] += 1
            acted = True
        if rng.random() < 0.3:
            quantity = rng.choice([1, 2, 5])
            till.add("add_to_cart", start + 2, user_id=user, session_id=session, item_id="i", quantity=quantity)
            seen["carted"], acted = 1, True
            seen["items"] += quantity
        if rng.random() < 0.2:
            value = round(rng.lognormvariate(3.5, 1), 2)
            till.add("purchase", start + 3, user_id=user, session_id=session, value=value, currency="EUR")
            seen["bought"], acted = 1, True
            seen["revenue"] += value
        seen["bounces"] += exposed and views <= 1 and not acted
    return variant, seen


@pytest.fixture(scope="module")
def rng() -> random.Random:
    return random.Random(11)


@pytest.fixture
def world(till: Any, page_of: PageOf, rng: random.Random) -> tuple[dict[str, Columns], ExperimentPage]:
    till.config(-1)
    rows = [shopper(till, rng, number) for number in range(SHOPPERS)]
    columns = {
        arm: {name: np.array([seen[name] for variant, seen in rows if variant == arm]) for name in rows[0][1]}
        for arm in ("control", "treatment")
    }
    return columns, page_of(till.close())


MEANS = {"revenue_per_user": "revenue"}
RATIOS = {
    "ctr": ("clicks", "lists"),
    "revenue_per_session": ("revenue", "sessions"),
    "bounce_rate": ("bounces", "sessions"),
    "slow_page_share": ("slow", "timed"),
    "page_load_mean": ("load", "timed"),
    "items_per_cart": ("items", "carted"),
}


def welch(values: list[float], spreads: list[float], counts: list[int]) -> tuple[float, float, float]:
    """p, and the half-width of the interval of the difference; then that of the log of the ratio."""

    def quantile(parts: list[float]) -> tuple[float, float]:
        freedom = sum(parts) ** 2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        return freedom, float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(sum(parts))

    freedom, half = quantile(spreads)
    p = 2 * scipy.stats.t.sf(abs(values[1] - values[0]) / math.sqrt(sum(spreads)), freedom)
    _, log_half = quantile([spread / value**2 for spread, value in zip(spreads, values, strict=True)])
    return float(p), half, log_half


def test_every_mean_and_ratio_is_that_of_a_loop_and_its_interval_welchs(
    world: tuple[dict[str, Columns], ExperimentPage],
) -> None:
    columns, page = world
    for metric in (*MEANS, *RATIOS):
        values, spreads, counts = [], [], []
        for arm in ("control", "treatment"):
            plain = columns[arm]
            if metric in MEANS:
                above, below = plain[MEANS[metric]], np.ones(len(plain["revenue"]))
            else:
                above, below = (plain[name] for name in RATIOS[metric])
            value = above.sum() / below.sum()
            residuals = (above - value * below) / below.mean()
            values.append(float(value))
            spreads.append(float(residuals.var(ddof=1)) / len(residuals))
            counts.append(len(residuals))
            assert page.values[metric][arm] == pytest.approx(float(value), rel=1e-9), metric
        (found,) = (one for one in page.estimates if one.metric == metric)
        p, half, log_half = welch(values, spreads, counts)
        difference, ratio = values[1] - values[0], values[1] / values[0]
        assert found.p == pytest.approx(p, abs=1e-6), metric
        expected = (difference - half, difference + half)
        assert found.difference_interval == pytest.approx(expected, rel=1e-6, abs=1e-6), metric
        lifts = (ratio * math.exp(-log_half) - 1, ratio * math.exp(log_half) - 1)
        assert found.lift_interval == pytest.approx(lifts, rel=1e-6, abs=1e-6), metric


def test_the_list_of_metrics_survives_the_snapshot_and_has_no_name_twice() -> None:
    assert [from_json(to_json(metric)) for metric in METRICS] == list(METRICS)
    assert len(BY_NAME) == len(METRICS)
