"""Guardrails, secondaries, planned units: what the document asks for stands on the page, by hand-computed figures."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from abside.report.page.experiment import ExperimentPage
from abside.report.stats.adjust import benjamini_hochberg, holm
from abside.report.stats.band import always_valid
from abside.report.stats.margin import GuardrailMargin

PageOf = Callable[..., ExperimentPage]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert benjamini_hochberg([0.04]) == [0.04]


@pytest.mark.parametrize(
    ("margin", "interval", "label"),
    [
        (GuardrailMargin(max_increase=0.02), (-0.01, 0.019), "inside"),
        (GuardrailMargin(max_increase=0.02), (-0.01, 0.021), "crosses"),
        (GuardrailMargin(max_increase=0.02), (0.021, 0.05), "outside"),
        (GuardrailMargin(max_increase=0.02), (-0.9, -0.5), "inside"),
        (GuardrailMargin(max_decrease=0.02), (-0.021, 0.5), "crosses"),
        (GuardrailMargin(max_decrease=0.02), (-0.5, -0.021), "outside"),
        (GuardrailMargin(0.02, 0.02), (-0.02, 0.02), "inside"),
        (GuardrailMargin(0.02, 0.02), (-0.03, 0.03), "crosses"),
    ],
)
def test_a_guardrails_label_is_mechanical(margin: GuardrailMargin, interval: tuple[float, float], label: str) -> None:
    assert margin.label(interval) == label


def test_the_band_is_the_papers_and_wider_than_the_fixed_interval_at_every_look() -> None:
    lift, interval, planned = 0.1, (0.02, 0.1862745098), 10_000  # symmetric in logs: 1.1²/1.02 = 1.18627…
    error = math.log(1.1862745098 / 1.02) / (2 * 1.959964)
    # ρ² = (-2 ln 0.05 + ln(-2 ln 0.05 + 1)) / 10,000 = (5.991465 + 1.944691) / 10,000
    rho2 = 7.936156e-4
    for units in (100, 5_000, 10_000, 100_000):
        inner = 2 * (units * rho2 + 1) / (units**2 * rho2) * math.log(math.sqrt(units * rho2 + 1) / 0.05)
        half = error * math.sqrt(units) * math.sqrt(inner)
        found = always_valid(lift, interval, units=units, planned=planned)
        assert found == pytest.approx((1.1 * math.exp(-half) - 1, 1.1 * math.exp(half) - 1), rel=1e-6)
        assert found is not None
        assert found[0] < interval[0]
        assert found[1] > interval[1]


def test_fourteen_looks_at_nothing_alarm_the_band_seldom_and_the_fixed_interval_often() -> None:
    rng = np.random.default_rng(3)
    looks, a_day, shops = 14, 500, 1_000
    # The log of the ratio at each look: a mean over all units so far, of variance 1 a unit.
    steps = rng.normal(size=(shops, looks)) * math.sqrt(a_day)
    units = a_day * np.arange(1, looks + 1)
    logs = np.cumsum(steps, axis=1) / units
    fixed = band = 0
    for shop in logs:
        alarms = [False, False]
        for value, count in zip(shop, units, strict=True):
            half = 1.959964 / math.sqrt(count)
            interval = math.expm1(value - half), math.expm1(value + half)
            found = always_valid(math.expm1(value), interval, units=int(count), planned=looks * a_day)
            assert found is not None
            alarms[0] |= not interval[0] <= 0 <= interval[1]
            alarms[1] |= not found[0] <= 0 <= found[1]
        fixed, band = fixed + alarms[0], band + alarms[1]
    print(f"\nany of 14 looks alarmed: fixed {fixed / shops:.1%}, always valid {band / shops:.1%}")
    assert fixed / shops > 0.15
    assert band / shops <= 0.05


ANALYSIS = {
    "primary": "conversion_rate",
    "secondary": ["ctr", "add_to_cart_rate"],
    "guardrails": {"page_load_mean": {"max_increase_bp": 500}, "bounce_rate": {"max_increase_bp": 100}},
    "planned_units": 1_000,
    "window_seconds": 86_400,
}


@pytest.fixture
def page(till: Any, page_of: PageOf) -> ExperimentPage:
    """Four hundred shoppers; pages of the treatment take 20 % longer."""
    till.config(0)
    for number in range(400):
        variant, user = ("treatment" if number % 2 else "control"), f"u{number}"
        till.expose(0, variant, user_id=user, session_id=user)
        slower = 1.2 if variant == "treatment" else 1.0
        for _ in range(1 + number // 4 % 3):
            till.add("page_view", 1, user_id=user, session_id=user, page_load_ms=slower * (1_000 + number % 50))
        till.add("impression", 1, user_id=user, placement="pdp", items=["i"])
        for kind, every in (("click", 3), ("add_to_cart", 5), ("purchase", 7)):
            if number % every == 0:
                till.add(kind, 2, user_id=user, session_id=user, placement="pdp", item_id="i")
    return page_of(till.close(), analysis=ANALYSIS)


def test_what_the_document_names_comes_first_with_its_role(page: ExperimentPage) -> None:
    assert [metric.name for metric in page.metrics][:5] == [
        "conversion_rate", "add_to_cart_rate", "ctr", "bounce_rate", "page_load_mean"
    ]  # fmt: skip
    roles = {one.metric: one.role for one in page.estimates}
    assert (roles["conversion_rate"], roles["ctr"], roles["bounce_rate"]) == ("primary", "secondary", "guardrail")
    assert roles["revenue_per_user"] == "other"


def test_a_slower_page_is_outside_its_margin_and_the_label_says_so(page: ExperimentPage) -> None:
    found = {one.metric: one for one in page.estimates}
    assert (found["page_load_mean"].label, found["page_load_mean"].margin) == ("outside", "at most +5 %")
    assert found["bounce_rate"].label == "crosses"
    assert found["ctr"].label == ""


def test_p_is_adjusted_within_its_family_and_the_raw_one_stays(page: ExperimentPage) -> None:
    found = {one.metric: one for one in page.estimates}
    assert found["conversion_rate"].p_adjusted == found["conversion_rate"].p
    secondary = sorted((found[name].p or 0, found[name].p_adjusted or 0) for name in ("ctr", "add_to_cart_rate"))
    (low, low_adjusted), (high, high_adjusted) = secondary
    assert high_adjusted == pytest.approx(high)
    assert low_adjusted == pytest.approx(min(2 * low, high))
    assert found["page_load_mean"].p_adjusted is None


def test_planned_units_give_a_band_and_say_interim_or_final(page: ExperimentPage) -> None:
    (one,) = (one for one in page.estimates if one.metric == "conversion_rate")
    assert one.lift is not None
    assert one.lift_interval is not None
    assert one.band == pytest.approx(always_valid(one.lift, one.lift_interval, units=400, planned=1_000))
    assert page.state == "interim: 400 of 1,000 planned units (40 %), windows over for 0 %"


def test_without_planned_units_there_is_no_band(till: Any, page_of: PageOf) -> None:
    for number in range(40):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
        till.add("add_to_cart" if number % 3 else "click", 1, user_id=f"u{number}", item_id="i")
    page = page_of(till.close())
    assert {one.band for one in page.estimates} == {None}
    assert page.state == "no planned_units: windows over for 0 %"


def test_planned_units_reached_with_every_window_over_are_final(till: Any, page_of: PageOf) -> None:
    for number in range(40):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
    till.add("click", 3_000, user_id="u1")
    page = page_of(till.close(), analysis={**ANALYSIS, "planned_units": 40})
    assert page.state == "final: 40 of 40 planned units (100 %), windows over for 100 %"
