"""Inventory balance: the coefficient by hand, its jackknife by numpy, its coverage at arms of 10:1."""

import math
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from abside.report.page.experiment import ExperimentPage
from abside.report.stats.gini import GROUPS, compared, gini, jackknifed, lorenz


@pytest.mark.parametrize(("counts", "expected"), [([5, 5, 5, 5], 0), ([0, 0, 0, 4], 0.75), ([1, 2, 3, 4], 0.25)])
def test_the_coefficient_by_hand(counts: list[int], expected: float) -> None:
    assert gini(np.array(counts)) == pytest.approx(expected)


def test_nothing_shown_has_none() -> None:
    assert math.isnan(gini(np.array([0, 0])))
    assert jackknifed(np.zeros((GROUPS, 3), dtype=np.int64)) is None
    assert compared("g", "b", None, None).reason == "too few people were shown items"


def test_the_jackknife_is_that_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(1.0, (GROUPS, 30))
    found = jackknifed(counts)
    assert found is not None

    def plain(one: Any) -> float:  # the mean absolute difference of all pairs, by twice the mean
        return float(np.abs(one[:, None] - one[None, :]).mean() / (2 * one.mean()))

    whole = plain(counts.sum(axis=0))
    without = [plain(np.delete(counts, group, axis=0).sum(axis=0)) for group in range(GROUPS)]
    mean = sum(without) / GROUPS
    assert found.plain == pytest.approx(whole, rel=1e-9)
    assert found.corrected == pytest.approx(GROUPS * whole - (GROUPS - 1) * mean, rel=1e-9)
    assert found.variance == pytest.approx((GROUPS - 1) / GROUPS * sum((one - mean) ** 2 for one in without), rel=1e-9)


CATALOGUES = {  # how often each item is shown; of the last two, whole ranges are shown alike or hardly ever
    "uneven": np.random.default_rng(4).dirichlet(np.full(300, 0.8)),
    "alike": np.full(500, 1 / 500),
    "long tail": 1 / np.arange(1, 1_001) / (1 / np.arange(1, 1_001)).sum(),
}


@pytest.mark.parametrize(("catalogue", "larger"), [("uneven", 10), ("alike", 10), ("long tail", 10), ("alike", 60)])
def test_the_interval_covers_no_difference_whatever_the_arms_sizes_and_the_catalogue(
    catalogue: str, larger: int
) -> None:
    rng = np.random.default_rng(4)
    trials, covered, plain_covered = 60, 0, 0
    for _ in range(trials):
        sizes = (60 * larger, 60)
        one, other = (jackknifed(rng.multinomial(lists, CATALOGUES[catalogue], size=GROUPS)) for lists in sizes)
        assert one is not None
        assert other is not None
        found = compared("g", "b", one, other).difference_interval
        assert found is not None
        covered += found[0] <= 0 <= found[1]
        half = (found[1] - found[0]) / 2
        plain_covered += abs(other.plain - one.plain) <= half
    print(
        f"\nGini at arms of {larger}:1, {catalogue}: covers {covered / trials:.1%}, plain {plain_covered / trials:.1%}"
    )
    assert covered / trials >= 0.86  # 0.95 less three standard errors of 60
    assert plain_covered / trials < 0.60


def test_arms_of_one_size_differ_by_their_corrected_coefficients() -> None:
    rng = np.random.default_rng(2)
    one, other = (jackknifed(rng.multinomial(50, CATALOGUES["uneven"], size=GROUPS)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert compared("g", "b", one, other).difference == other.corrected - one.corrected


def test_items_are_counted_over_one_catalogue_once_within_the_window(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.config(0)
    rng = random.Random(1)
    seen: Counter[str] = Counter()
    for number in range(400):
        variant, user = ("treatment" if number % 2 else "control"), f"u{number}"
        till.expose(0, variant, user_id=user)
        # Control sees four items 1:2:3:4; the treatment one of them always.
        item = f"i{rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])}" if variant == "control" else "i0"
        seen[item] += variant == "control"
        till.add("impression", 1, user_id=user, placement="pdp", items=[item])
        till.events.append(dict(till.events[-1]))
        till.add("impression", 1, user_id=user, placement="home", items=["elsewhere"])
        till.add("impression", 300, user_id=user, placement="pdp", items=["too late"])
    guardrails = {"inventory_exposure_gini": {"max_increase_bp": 1_000}}
    page = page_of(till.close(), analysis={"window_seconds": 3_600, "guardrails": guardrails})
    (one,) = (one for one in page.estimates if one.metric == "inventory_exposure_gini")
    assert one.control == pytest.approx(0.25, abs=0.06)
    assert one.value == pytest.approx(0.75)
    assert (one.label, one.margin) == ("outside", "at most +0.1")
    assert f"top 1 % of items: {max(seen.values()) / 200:.1%} of control, 100.0%" in one.reason


def test_it_is_counted_only_where_the_document_names_it(till: Any, page_of: Callable[..., ExperimentPage]) -> None:
    till.expose(0, "control", user_id="u1")
    assert "inventory_exposure_gini" not in {metric.name for metric in page_of(till.close()).metrics}


def test_a_lorenz_curve_is_what_the_least_shown_items_have() -> None:
    alike, one_has_all = lorenz(np.full(40, 3)), lorenz(np.array([0] * 39 + [7]))
    assert alike == pytest.approx([step / 20 for step in range(21)])
    assert one_has_all == pytest.approx([0.0] * 20 + [1.0])
    counts = np.array([5, 1, 3, 11])
    area = sum((a + b) / 2 / 20 for a, b in pairwise(lorenz(np.repeat(counts, 5))))  # a corner at every step
    assert 1 - 2 * area == pytest.approx(gini(counts))
