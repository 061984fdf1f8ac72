from collections.abc import Callable
from typing import Any

from abside.report.page.experiment import ExperimentPage

PageOf = Callable[..., ExperimentPage]
DAY = 24 * 60  # minutes


def arms(page: ExperimentPage) -> dict[str, int]:
    return {arm.variant: arm.units for arm in page.arms}


def total(page: ExperimentPage, column: str) -> dict[str, int]:
    return {arm.variant: arm.sums[column] for arm in page.arms}


def test_a_person_who_logs_in_counts_once_where_they_began(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", session_id="s1")
    till.expose(1, "treatment", session_id="s1", user_id="u1")
    till.expose(2, "treatment", user_id="u2", session_id="s2")
    till.add("add_to_cart", 3, user_id="u1", session_id="s9", item_id="i")
    page = page_of(till.close())
    assert arms(page) == {"control": 1, "treatment": 1}
    assert {arm.variant: arm.crossed for arm in page.arms} == {"control": 1, "treatment": 0}
    assert total(page, "carted") == {"control": 1, "treatment": 0}


def test_a_session_of_two_users_is_its_first_ones_while_nobody_is_logged_in(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", session_id="shared")
    till.expose(1, "control", session_id="shared", user_id="first")
    till.expose(2, "treatment", session_id="shared", user_id="second")
    till.add("add_to_cart", 3, session_id="shared", item_id="i")
    page = page_of(till.close())
    assert arms(page) == {"control": 1, "treatment": 1}
    assert total(page, "carted") == {"control": 1, "treatment": 0}


def test_a_session_that_is_named_like_a_user_is_someone_else(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="7")
    till.expose(1, "control", session_id="7")
    till.expose(1, "treatment", user_id="8")
    assert arms(page_of(till.close())) == {"control": 2, "treatment": 1}


def test_an_experiment_on_sessions_counts_sessions_whoever_is_logged_in(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", session_id="s1", user_id="u")
    till.expose(1, "treatment", session_id="s2", user_id="u")
    till.add("add_to_cart", 2, session_id="s2", user_id="u", item_id="i")
    page = page_of(till.close(), unit="session")
    assert arms(page) == {"control": 1, "treatment": 1}
    assert total(page, "carted") == {"control": 0, "treatment": 1}
    assert [arm.crossed for arm in page.arms] == [0, 0]


def test_an_outcome_counts_from_the_first_exposure_until_the_window_ends(till: Any, page_of: PageOf) -> None:
    for user, minute in {"before": 9.9, "at": 10, "last": 10 + 60 - 0.001, "after": 70}.items():
        till.expose(10, "control", user_id=user)
        till.add("purchase", minute, user_id=user)
    till.expose(10, "treatment", user_id="other")
    page = page_of(till.close(), analysis={"window_seconds": 3600})
    assert page.window_seconds == 3600
    assert total(page, "bought") == {"control": 2, "treatment": 0}


def test_an_item_in_the_cart_was_shown_there_within_the_day_before(till: Any, page_of: PageOf) -> None:
    def shopper(user: str, *, shown: float, placement: str = "pdp", item: str = "i1") -> None:
        till.expose(0, "control", user_id=user)
        till.add("impression", shown, user_id=user, placement=placement, items=["i0", "i1"])
        till.add("add_to_cart", 2 * DAY, user_id=user, item_id=item)

    shopper("a day before", shown=DAY)
    shopper("just now", shown=2 * DAY)
    shopper("too long ago", shown=DAY - 0.01)
    shopper("afterwards", shown=2 * DAY + 0.01)
    shopper("elsewhere", shown=2 * DAY - 1, placement="home")
    shopper("another item", shown=2 * DAY - 1, item="i2")
    till.expose(0, "treatment", user_id="other")
    page = page_of(till.close())
    assert total(page, "carted")["control"] == 6
    assert total(page, "carted_shown")["control"] == 2


def test_clicks_and_impressions_count_at_the_experiments_placements_only(till: Any, page_of: PageOf) -> None:
    for user, variant in {"u1": "control", "u2": "treatment"}.items():
        till.expose(0, variant, user_id=user)
        for placement in ("pdp", "home", "cart"):
            till.add("impression", 1, user_id=user, placement=placement, items=["i"])
            till.add("click", 2, user_id=user, placement=placement, item_id="i")
    page = page_of(till.close(), placements=("pdp", "cart"))
    assert total(page, "clicks") == total(page, "impressions") == {"control": 2, "treatment": 2}


def test_of_two_copies_the_earlier_one_counts_and_once(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.events.append(dict(till.events[-1]))
    till.expose(0, "treatment", user_id="u2")
    for minute in (5, 4, 6):
        till.add("click", minute, user_id="u1", placement="pdp", event_id="mine")
    till.add("click", 7, user_id="u1", placement="home", event_id="moved")
    till.add("click", 8, user_id="u2", placement="pdp", event_id="moved")  # of another shopper: no copy
    till.add("purchase", 59, user_id="u1", event_id="order")
    till.add("purchase", -1, user_id="u1", event_id="order")  # sent again, told to have been before the exposure
    page = page_of(till.close(), analysis={"window_seconds": 3600})
    assert total(page, "clicks") == {"control": 1, "treatment": 1}
    assert total(page, "bought") == {"control": 0, "treatment": 0}
    assert (page.exposures, page.copies) == (3, 1)
    assert page.arrived == {"control": 2, "treatment": 1}  # a copy was accepted twice too


def test_bots_and_forced_exposures_are_left_out_and_counted(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    till.expose(0, "treatment", user_id="qa", forced=True)
    till.expose(1, "treatment", user_id="qa", forced=True)
    till.expose(0, "control", session_id="crawler", bot=True)
    till.add("add_to_cart", 1, user_id="u1", item_id="i", bot=True)
    page = page_of(till.close())
    assert arms(page) == {"control": 1, "treatment": 1}
    assert {why: (one.rows, one.units) for why, one in page.left_out.items()} == {"bots": (1, 1), "forced": (2, 1)}
    assert total(page, "carted") == {"control": 0, "treatment": 0}


def test_phases_are_never_pooled_and_the_latest_is_shown(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1", phase=1)
    till.expose(1, "treatment", user_id="u1", phase=2)
    till.expose(1, "control", user_id="u2", phase=2)
    till.expose(1, "treatment", user_id="u3", phase=2)
    store = till.close()
    latest = page_of(store)
    assert (latest.phase, arms(latest)) == (2, {"control": 1, "treatment": 2})
    assert [arm.crossed for arm in latest.arms] == [0, 0]
    first = page_of(store, 1)
    assert (first.phase, arms(first)) == (1, {"control": 1})


def test_only_the_experiment_asked_for_is_counted(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    till.expose(0, "treatment", user_id="u1", experiment="other")
    page = page_of(till.close())
    assert arms(page) == {"control": 1, "treatment": 1}
    assert [arm.crossed for arm in page.arms] == [0, 0]


def test_what_comes_an_hour_late_is_counted_and_still_counts(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.close(late_us=3_600_000_001)
    till.expose(0, "treatment", user_id="u2")
    page = page_of(till.close(late_us=3_600_000_000))
    assert arms(page) == {"control": 1, "treatment": 1}
    assert page.late == 1
