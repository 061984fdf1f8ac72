"""Clocks that differ: what they would do to figures, and what is made of them."""

from collections.abc import Callable
from typing import Any

import pytest

from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report
from abside.report.store.clocks import BATCHES
from abside.snapshot import Snapshot

PageOf = Callable[..., ExperimentPage]
HOUR_US = 3_600_000_000


def total(page: ExperimentPage, column: str) -> dict[str, int]:
    return {arm.variant: arm.sums[column] for arm in page.arms}


def shoppers(till: Any, ahead_us: int, *, named: bool = True) -> None:
    """Forty shoppers, each with a cart; half of the exposures by a pod whose clock is wrong, the carts by another."""
    for number in range(40):
        begun = len(till.events)
        till.expose(number, "treatment" if number % 2 else "control", user_id=f"u{number}")
        till.by("rec-1" if number % 4 < 2 else "rec-2", ahead_us if number % 4 < 2 else 0, since=begun)
        begun = len(till.events)
        till.add("add_to_cart", number + 1, user_id=f"u{number}", item_id="i")
        till.by("rec-2", since=begun)
    if not named:
        for event in till.events:
            event["~"] = ("b", event["~"][1])


@pytest.mark.parametrize("named", [True, False])
def test_a_pod_an_hour_ahead_loses_no_cart_and_is_named(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot], named: bool
) -> None:
    shoppers(till, HOUR_US, named=named)
    report = report_on(till.close(), documents())
    (page,) = report.pages
    assert total(page, "carted") == {"control": 20, "treatment": 20}
    assert page.unmatched.before == 0
    (clock,) = report.clocks
    assert (clock.sidecar, clock.ahead_seconds, clock.rows) == ("rec-1" if named else "", 3600, 20)


def test_clocks_that_agree_are_left_alone(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    shoppers(till, 500_000)
    report = report_on(till.close(), documents())
    assert report.clocks == ()
    assert total(report.pages[0], "carted") == {"control": 20, "treatment": 20}


def test_one_event_of_the_far_future_ends_no_window(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    begun = len(till.events)
    till.add("click", 1, user_id="u3")
    till.by("rec-9", 400 * 24 * HOUR_US, since=begun)
    page = page_of(till.close(), analysis={"window_seconds": 3600})
    assert [arm.mature for arm in page.arms] == [0, 0]


def test_a_callers_own_time_is_not_shifted_by_its_sidecars_clock(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    for number in range(4):
        event = till.add("add_to_cart", 200, user_id=f"u{number}", item_id="i")
        begun = len(till.events) - 1
        till.by("gateway", HOUR_US, since=begun)
        event["ts"] -= 199 * 60_000_000 + HOUR_US  # the browser kept it: minute 1, by its own clock
    page = page_of(till.close(), analysis={"window_seconds": 3600})
    assert total(page, "carted") == {"control": 1, "treatment": 1}


def batches(till: Any, delays_us: list[int], *, apart_seconds: float = 60) -> None:
    """A pod's batches, a minute apart, one exposure each."""
    for number, delay_us in enumerate(delays_us):
        till.expose(number * apart_seconds / 60, "treatment" if number % 2 else "control", user_id=f"u{number}")
        event = till.events[-1]
        event["~"] = (f"rec-1.{number:020d}-{'0' * 16}", event["ts"] + delay_us)
    till.add("click", 0, user_id="u1")


def test_a_clock_behind_is_told_from_a_backlog(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    batches(till, [HOUR_US + number % 3 * 1_000_000 for number in range(BATCHES)])
    (clock,) = report_on(till.close(), documents()).clocks
    assert (clock.sidecar, clock.ahead_seconds, clock.rows) == ("rec-1", -3600, BATCHES)


def test_a_backlog_is_no_clock(till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]) -> None:
    batches(till, [HOUR_US + number * 60_000_000 for number in range(BATCHES)])
    assert report_on(till.close(), documents()).clocks == ()


def test_a_backlog_of_a_sidecar_that_lived_for_a_minute_is_no_clock(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    """It was killed while the upstream was away, and its events came all at once, minutes later."""
    batches(till, [HOUR_US - number * 2_000_000 for number in range(BATCHES)], apart_seconds=2)
    report = report_on(till.close(), documents())
    assert report.clocks == ()
    assert report.pages[0].arms[0].first.minute == 0
