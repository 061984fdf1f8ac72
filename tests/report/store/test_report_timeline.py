import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from abside.report.page.experiment import ExperimentPage
from abside.report.store.timeline import TimelineStep, changes

BASE: dict[str, Any] = {"experiment": "e", "status": "running", "phase": 1, "control": "c", "traffic_bp": 2_000}
BASE |= {"weights_bp": {"c": 8_000, "t": 2_000}, "pause": None}
NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def told(**state: Any) -> str:
    return json.dumps({**BASE, **state})


def history(*steps: tuple[int, str | None, str]) -> list[tuple[int, str]]:
    moments = [(NOON + timedelta(seconds=at), before, after) for at, before, after in steps]
    made = changes(TimelineStep(at, before, after, at) for at, before, after in moments)
    return [(int((one.at - NOON).total_seconds()), one.what) for one in made]


A, B, C = told(), told(traffic_bp=5_000), told(traffic_bp=10_000)


def test_a_ramp_a_pause_a_resume_a_new_phase_and_an_end_are_told_in_words() -> None:
    paused = told(traffic_bp=5_000, status="paused", pause="carts broken")
    second = told(traffic_bp=5_000, phase=2, weights_bp={"c": 5_000, "t": 5_000})
    ended = told(traffic_bp=5_000, phase=2, weights_bp={"c": 5_000, "t": 5_000}, status="ended")
    assert history(
        (0, None, A), (10, A, B), (20, B, paused), (30, paused, B), (40, B, second), (50, second, ended)
    ) == [
        (0, "started: 20 % of traffic, phase 1"),
        (10, "ramped 20 % → 50 %"),
        (20, "paused: carts broken"),
        (30, "resumed"),
        (40, "phase 1 → 2, weights 80/20 → 50/50"),
        (50, "ended"),
    ]


def test_an_experiment_that_began_as_a_draft_is_told_so() -> None:
    draft = told(status="draft", traffic_bp=0)
    assert history((0, None, draft), (5, draft, A)) == [
        (0, "draft: 0 % of traffic, phase 1"),
        (5, "started, ramped 0 % → 20 %"),
    ]


def test_sidecars_that_lag_behind_or_start_with_an_old_file_change_nothing() -> None:
    fast = [(0, None, A), (10, A, B), (20, B, C)]
    slow = [(1, None, A), (21, A, B), (22, B, C)]
    late_pod = [(30, None, A), (31, A, C)]
    assert history(*fast, *slow, *late_pod) == history(*fast)


def test_going_back_to_an_earlier_state_is_told() -> None:
    assert [what for _, what in history((0, None, A), (10, A, B), (20, B, A), (21, B, A))] == [
        "started: 20 % of traffic, phase 1",
        "ramped 20 % → 50 %",
        "ramped 50 % → 20 %",
    ]


def test_a_state_that_some_sidecars_skipped_leads_on() -> None:
    assert history((0, None, A), (10, A, B), (20, A, C)) == history((0, None, A), (10, A, B), (20, B, C))


def test_the_timeline_comes_from_the_config_events_of_all_sidecars(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.config(0, traffic_bp=1_000)
    till.config(30, traffic_bp=1_000)  # told again: nothing changed
    till.config(60, traffic_bp=10_000, weights_bp={"control": 5_000, "treatment": 5_000})
    till.events.append(dict(till.events[-1]))  # the same event twice
    till.config(90, status="paused", pause="carts\nbroken")
    till.expose(1, "control", user_id="u1")
    till.expose(2, "treatment", user_id="u2")
    page = page_of(till.close())
    assert [(f"{change.at:%H:%M}", change.what) for change in page.scope.history] == [
        ("09:00", "started: 10 % of traffic, phase 1"),
        ("10:00", "ramped 10 % → 100 %"),
        ("10:30", "paused: carts\nbroken"),
    ]


def test_each_sidecars_words_are_compared_with_its_own_before(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    for minute, boot, traffic in ((0, "a", 1_000), (1, "b", 1_000), (10, "a", 5_000), (11, "b", 5_000)):
        till.config(minute, traffic_bp=traffic)
        till.events[-1]["event_id"] = f"{boot}-{minute:x}"
    till.config(12, traffic_bp=1_000)  # a third starts with an old file
    till.events[-1]["event_id"] = "c-0"
    till.expose(1, "control", user_id="u1")
    page = page_of(till.close())
    assert [change.what for change in page.scope.history] == ["started: 10 % of traffic, phase 1", "ramped 10 % → 50 %"]


def test_control_and_weights_are_those_in_force_in_the_phase_shown(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.config(0, control="treatment", weights_bp={"control": 2_000, "treatment": 8_000})
    till.expose(1, "control", user_id="u1")
    for number in range(4):
        till.expose(1, "treatment", user_id=f"t{number}")
    page = page_of(till.close())
    assert page.control == "treatment"
    assert [arm.variant for arm in page.arms] == ["treatment", "control"]
    assert page.sample_ratio.expected == {"control": 1.0, "treatment": 4.0}
    assert not any("phase" in note for note in page.notes)


def test_weights_that_changed_within_a_phase_split_it_and_the_latest_part_counts(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    for minute, boot, control in ((0, "a", 9_000), (0, "b", 9_000), (60, "a", 5_000), (63, "b", 5_000)):
        till.config(minute, weights_bp={"control": control, "treatment": 10_000 - control})
        till.events[-1]["event_id"] = f"{boot}-{minute:x}"
    for number in range(100):  # the first part: few carts, 90/10; the second: many, 50/50; no difference in either
        till.expose(1, "control" if number % 10 else "treatment", user_id=f"early{number}")
        till.expose(64, "control" if number % 2 else "treatment", user_id=f"late{number}")
        if number % 20 < 2:
            till.add("add_to_cart", 2, user_id=f"early{number}", item_id="i")
        if number % 10 < 6:
            till.add("add_to_cart", 65, user_id=f"late{number}", item_id="i")
    page = page_of(till.close())
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 50, "treatment": 50}
    assert page.values["add_to_cart_rate"] == {"control": 0.6, "treatment": 0.6}
    assert page.sample_ratio.p == 1.0
    assert (f"{page.scope.since:%H:%M}", page.before_since) == ("10:03", 100)
    assert "90/10 until 2026-11-02 10:03:00Z, 50/50 since" in page.notes[0]


def test_weights_that_changed_before_anybody_was_exposed_leave_nobody_out(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.config(0, status="draft", weights_bp={"control": 9_000, "treatment": 1_000})
    till.config(5)
    till.expose(6, "control", user_id="u1")
    till.expose(6, "treatment", user_id="u2")
    page = page_of(till.close())
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}
    assert not any("weights" in note for note in page.notes)


def test_without_config_events_the_documents_are_taken_and_the_page_says_so(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.expose(1, "control", user_id="u1", phase=1)
    store = till.close()
    page = page_of(store)
    assert page.scope.history == ()
    assert (page.control, page.sample_ratio.expected) == ("control", {"control": 0.5, "treatment": 0.5})
    assert "no config event tells of phase 1" in page.notes[0]
    page = page_of(store, phase=2)
    assert (page.sample_ratio.p, page.sample_ratio.reason) == (None, "no weights are known")
    assert page.notes[0] == "this is phase 1; the documents are at phase 2"
