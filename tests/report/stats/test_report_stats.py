import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from abside.metric import METRICS, Metric, Term
from abside.report.stats.compare import estimate, value_of
from abside.report.stats.ratio import sample_ratio
from abside.report.tally.moments import ArmFigures, pairs_of, terms_of

CART, CTR = METRICS[0], METRICS[2]
COUNTED, PRODUCTS = tuple(terms_of(METRICS)), pairs_of(METRICS)
MOMENT = datetime(2026, 11, 2, tzinfo=UTC)


def arm(variant: str, *units: tuple[int, int, int]) -> ArmFigures:
    """An arm of units given as (carted, clicks, impressions)."""
    rows = [dict.fromkeys(COUNTED, 0) | {"carted": cart, "clicks": c, "impressions": i} for cart, c, i in units]
    sums = {name: sum(row[name] for row in rows) for name in COUNTED}
    some = {name: sum(row[name] != 0 for row in rows) for name in COUNTED}
    products = {(left, right): sum(row[left] * row[right] for row in rows) for left, right in PRODUCTS}
    return ArmFigures(variant, len(rows), 0, 0, 0, 0, MOMENT, MOMENT, sums, some, products)


SOME = arm("control", *[(1, 1, 4), (0, 0, 2), (0, 2, 3), (1, 0, 5)] * 10)
MORE = arm("treatment", *[(1, 2, 4), (1, 0, 2), (0, 2, 3), (1, 0, 5)] * 10)


@pytest.mark.parametrize("metric", [CART, CTR])
def test_two_arms_that_differ_have_every_figure(metric: Metric) -> None:
    found = estimate(metric, SOME, MORE)
    assert found.reason == ""
    assert found.lift is not None
    assert found.lift_interval is not None
    assert found.p is not None
    assert found.lift_interval[0] < found.lift < found.lift_interval[1]
    assert 0 < found.p < 1
    assert (found.control, found.value) == (value_of(metric, SOME), value_of(metric, MORE))


@pytest.mark.parametrize(
    ("metric", "control", "treated", "reason"),
    [
        (CART, arm("control", (1, 0, 0)), MORE, "control has 1 unit; two are needed"),
        (CART, SOME, arm("treatment"), "treatment has 0 units; two are needed"),
        (CART, arm("control", *[(0, 0, 1)] * 5), arm("treatment", *[(0, 0, 1)] * 5), "no unit differs from another"),
        (CART, arm("control", *[(1, 0, 1)] * 5), arm("treatment", *[(1, 0, 1)] * 5), "no unit differs from another"),
        (CTR, arm("control", *[(0, 0, 0)] * 5), MORE, "control has no impressions"),
        (CTR, SOME, arm("treatment", *[(0, 3, 0)] * 5), "treatment has no impressions"),
        (CTR, arm("control", *[(0, 1, 3), (0, 2, 6)] * 5), arm("treatment", *[(0, 1, 3)] * 5), "no unit differs"),
    ],
)
def test_what_cannot_be_estimated_is_said_in_words_beside_the_raw_values(
    metric: Metric, control: ArmFigures, treated: ArmFigures, reason: str
) -> None:
    found = estimate(metric, control, treated)
    assert found.reason.startswith(reason)
    assert (found.difference, found.difference_interval, found.lift, found.lift_interval, found.p) == (None,) * 5
    assert (found.control, found.value) == (value_of(metric, control), value_of(metric, treated))


@pytest.mark.parametrize("metric", [CART, CTR])
def test_zero_in_one_arm_has_a_difference_and_no_interval_of_a_lift(metric: Metric) -> None:
    nothing = arm("control", *[(0, 0, 4), (0, 0, 2)] * 20)
    found = estimate(metric, nothing, MORE)
    assert found.reason == "control is zero: no interval of a lift"
    assert found.difference_interval is not None
    assert (found.lift, found.lift_interval) == (None, None)
    found = estimate(metric, SOME, arm("treatment", *[(0, 0, 4), (0, 0, 2)] * 20))
    assert found.reason == "treatment is zero: no interval of a lift"
    assert (found.lift, found.lift_interval) == (-1.0, None)
    assert found.p is not None
    assert found.p < 0.05


def test_the_moments_of_huge_arms_lose_nothing_to_rounding() -> None:
    count = 10**9
    sums = dict.fromkeys(COUNTED, 0) | {"clicks": 5 * 10**13 + 1, "impressions": 10**14}
    products = dict.fromkeys(PRODUCTS, 0)
    products |= {("clicks", "clicks"): 25 * 10**17 + 10**6, ("impressions", "impressions"): 10**19 + 7}
    products |= {("clicks", "impressions"): 5 * 10**18 + 5}
    huge = ArmFigures("control", count, 0, 0, 0, 0, MOMENT, MOMENT, sums, sums, products)
    found = estimate(CTR, huge, ArmFigures("treatment", count, 0, 0, 0, 0, MOMENT, MOMENT, sums, sums, products))
    assert found.difference == 0
    assert found.p == 1
    assert found.difference_interval is not None
    assert math.isfinite(found.difference_interval[1])


def test_the_sample_ratio_of_three_arms_is_tested_at_once() -> None:
    found = sample_ratio({"a": 500, "b": 300, "c": 200}, {"a": 5_000, "b": 3_000, "c": 2_000})
    assert (found.p, found.is_mismatch) == (1.0, False)
    found = sample_ratio({"a": 560, "b": 240, "c": 200}, {"a": 5_000, "b": 3_000, "c": 2_000})
    assert found.p == pytest.approx(math.exp(-9.6))  # chi-square 60²/500 + 60²/300 = 19.2, 2 degrees of freedom
    assert found.is_mismatch


def test_a_sample_ratio_between_the_two_bounds_is_watched() -> None:
    found = sample_ratio({"a": 545, "b": 455}, {"a": 5_000, "b": 5_000})  # chi-square 8.1: p = 0.0044
    assert (found.is_mismatch, found.is_watched) == (False, True)
    assert found.p == pytest.approx(math.erfc(math.sqrt(8.1 / 2)))
    found = sample_ratio({"a": 500, "b": 500}, {"a": 5_000, "b": 5_000})
    assert (found.is_mismatch, found.is_watched) == (False, False)


def test_few_units_or_few_that_did_anything_have_a_warning_beside_the_interval() -> None:
    small = arm("control", *[(1, 1, 4), (0, 0, 2)] * 20)
    large = arm("treatment", *[(1, 1, 4), (0, 0, 2)] * 200)
    rare = arm("control", *[(1, 1, 4)] * 9, *[(0, 0, 2)] * 400)
    assert estimate(CART, small, large).warning == "few units: 40 of control, the interval is rough"
    assert estimate(CART, rare, large).warning == "few units: 9 of control are not 0, the interval is rough"
    assert estimate(CTR, rare, large).warning == "few units: 9 of control are not 0, the interval is rough"
    most = arm("control", *[(1, 1, 4)] * 400, (0, 0, 2))
    assert estimate(CART, most, large).warning == "few units: 1 of control are 0, the interval is rough"
    assert estimate(CART, large, large).warning == ""


def test_an_arm_without_units_counts_as_zero_in_the_sample_ratio() -> None:
    found = sample_ratio({"a": 40}, {"a": 5_000, "b": 5_000, "off": 0})
    assert found.units == {"a": 40, "b": 0}
    assert found.is_mismatch


def test_one_arm_or_no_unit_or_no_weights_leave_no_ratio_to_test() -> None:
    assert sample_ratio({"a": 40}, {"a": 10_000}).p is None
    assert sample_ratio({}, {"a": 5_000, "b": 5_000}).p is None
    found = sample_ratio({"a": 1}, None, reason="why")
    assert (found.p, found.reason, found.is_mismatch) == (None, "why", False)


@pytest.mark.parametrize(
    ("below", "words"),
    [
        (Term("own1_below", "sum", "click", "position"), "control has no click.position to divide by"),
        (Term("own1_below", "count", "rated"), "control has no rated to divide by"),
    ],
)
def test_an_own_metric_that_divides_by_nothing_names_what_is_missing(below: Term, words: str) -> None:
    metric = Metric("mine", "ratio", "", "up", CTR.above, below)
    nothing = [replace(one, sums={**one.sums, "own1_below": 0}) for one in (SOME, MORE)]
    assert estimate(metric, *nothing).reason == words
