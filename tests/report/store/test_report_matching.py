"""Whose an outcome is, where it happened and when: by its ids, and by the exposure it names."""

from collections.abc import Callable
from typing import Any

import pytest

from abside.report.page.experiment import ExperimentPage

PageOf = Callable[..., ExperimentPage]


def total(page: ExperimentPage, column: str) -> dict[str, int]:
    return {arm.variant: arm.sums[column] for arm in page.arms}


def test_a_ctr_is_whole_when_lists_and_clicks_are_posted_before_their_late_token(till: Any, page_of: PageOf) -> None:
    for number in range(20):
        user, variant = f"u{number}", "treatment" if number % 2 else "control"
        shown = f"x{number}"
        till.add("impression", number, user_id=user, exposure_id=shown, placement="pdp", items=["i1"])
        if number < 4:
            till.add("click", number + 0.5, user_id=user, exposure_id=shown, placement="pdp", item_id="i1")
        till.expose(number + 0.9, variant, user_id=user, exposure_id=shown)
        till.add("impression", number + 5, user_id=user, exposure_id=f"later{number}", placement="pdp", items=["i1"])
    page = page_of(till.close())
    assert total(page, "impressions") == {"control": 20, "treatment": 20}
    assert total(page, "clicks") == {"control": 2, "treatment": 2}
    assert page.values["ctr"] == {"control": pytest.approx(0.1), "treatment": pytest.approx(0.1)}
    assert (page.unmatched.before, page.unmatched.of_nobody) == (0, 0)


def test_an_outcome_a_minute_before_its_own_exposure_is_of_it_and_an_earlier_one_is_not(
    till: Any, page_of: PageOf
) -> None:
    till.expose(10, "control", user_id="u1", exposure_id="x1")
    till.expose(10, "treatment", user_id="u2", exposure_id="x2")
    till.add("add_to_cart", 9, user_id="u1", exposure_id="x1", item_id="i")
    till.add("add_to_cart", 8.99, user_id="u2", exposure_id="x2", item_id="i")
    till.add("purchase", 9.5, user_id="u2")  # names no exposure: a clock, or another page
    page = page_of(till.close())
    assert total(page, "carted") == {"control": 1, "treatment": 0}
    assert total(page, "bought") == {"control": 0, "treatment": 0}
    assert (page.unmatched.outcomes, page.unmatched.before, page.unmatched.just_before) == (3, 2, 1)


def test_an_outcome_without_a_placement_is_where_its_exposure_was(till: Any, page_of: PageOf) -> None:
    for user, variant in (("u1", "control"), ("u2", "treatment")):
        till.expose(0, variant, user_id=user, exposure_id=f"x{user}")
        till.expose(1, variant, user_id=user, exposure_id=f"home{user}", placement="home", experiment="other")
        till.add("impression", 2, user_id=user, exposure_id=f"x{user}", items=["i1"])
        till.add("click", 2, user_id=user, exposure_id=f"x{user}", item_id="i1")
        till.add("click", 2, user_id=user, exposure_id=f"home{user}", item_id="i1")
        till.add("click", 2, user_id=user, exposure_id=f"lost{user}", item_id="i1")
        till.add("add_to_cart", 3, user_id=user, item_id="i1")
    page = page_of(till.close())
    assert total(page, "impressions") == total(page, "clicks") == {"control": 1, "treatment": 1}
    assert total(page, "carted_shown") == {"control": 1, "treatment": 1}


def test_an_outcome_of_a_stranger_is_of_whom_its_exposure_was(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1", exposure_id="x1")
    till.expose(0, "treatment", user_id="u2", exposure_id="x2")
    till.add("add_to_cart", 1, session_id="a cart service's own", exposure_id="x2", item_id="i")
    till.add("purchase", 1, user_id="u1", exposure_id="x2")  # u1 is a unit: its own ids count
    till.add("purchase", 1, session_id="nobody", exposure_id="never logged")
    page = page_of(till.close())
    assert total(page, "carted") == {"control": 0, "treatment": 1}
    assert total(page, "bought") == {"control": 1, "treatment": 0}
    assert (page.unmatched.outcomes, page.unmatched.of_nobody) == (3, 1)


def test_by_session_the_exposure_named_says_which_session(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", session_id="s1", exposure_id="x1")
    till.expose(0, "treatment", session_id="s2", exposure_id="x2")
    till.add("click", 1, user_id="u2", exposure_id="x2", item_id="i")
    page = page_of(till.close(), unit="session")
    assert total(page, "clicks") == {"control": 0, "treatment": 1}


def test_what_counts_for_nobody_is_said(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    for minute in (-5, -0.5, 1, 59, 60, 61):
        till.add("click", minute, user_id="u1", placement="pdp", item_id="i")
    till.add("click", 1, user_id="never exposed", placement="pdp", item_id="i")
    found = page_of(till.close(), analysis={"window_seconds": 3600}).unmatched
    assert (found.outcomes, found.of_nobody, found.before, found.just_before, found.after) == (7, 1, 2, 1, 2)


def test_one_id_of_two_types_or_two_people_is_two_outcomes(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    till.add("add_to_cart", 1, user_id="u1", event_id="1001", item_id="i")
    till.add("purchase", 2, user_id="u2", event_id="1001")
    till.add("purchase", 3, user_id="u1", event_id="1001")
    till.add("purchase", 4, user_id="u1", event_id="1001")  # the one copy
    page = page_of(till.close())
    assert total(page, "carted") == {"control": 1, "treatment": 0}
    assert total(page, "bought") == {"control": 1, "treatment": 1}


def test_a_fallback_numbered_by_two_clients_alike_is_two(till: Any, page_of: PageOf) -> None:
    for user, variant in (("u1", "control"), ("u2", "treatment")):
        till.expose(0, variant, user_id=user)
        till.add("client_fallback", 1, user_id=user, event_id="1", properties={"placement": "pdp", "count": 1})
    assert page_of(till.close()).fallbacks.units == {"control": 1, "treatment": 1}


def test_one_unit_with_much_of_an_arms_exposures_is_named(till: Any, page_of: PageOf) -> None:
    for number in range(100):
        till.expose(0, "control", user_id=f"c{number}")
        till.expose(0, "treatment", user_id=f"t{number}")
    for _ in range(20):
        till.expose(1, "treatment", user_id="t7")
    page = page_of(till.close())
    (note,) = (note for note in page.notes if note.startswith("one unit"))
    assert note == (
        "one unit has 18% of the exposures of treatment, 10% of all: a robot, or an id that a crowd shares. In "
        "units.parquet of --export it has the most exposures; an id that stands for nobody is named with --shared-ids"
    )


def test_in_an_arm_of_few_units_one_with_much_of_all_exposures_is_named(till: Any, page_of: PageOf) -> None:
    for number in range(100):
        till.expose(0, "control", user_id=f"c{number}")
    till.expose(0, "treatment", user_id="t0")
    for _ in range(6):
        till.expose(1, "treatment", user_id="t1")
    (note,) = (note for note in page_of(till.close()).notes if note.startswith("one unit"))
    assert note.startswith("one unit has 86% of the exposures of treatment, 6% of all: ")
