"""Experiments that are in the events and in no document any more."""

from collections.abc import Callable
from typing import Any

from abside.report.report import Report
from abside.report.store.exposures import MAX_FOUND
from abside.snapshot import Snapshot

ReportOn = Callable[..., Report]
Documents = Callable[..., Snapshot]


def old(till: Any, **state: Any) -> None:
    till.config(0, experiment="gone", control="b", weights_bp={"a": 2_000, "b": 8_000}, **state)
    for number in range(10):
        till.expose(1, "a" if number < 2 else "b", experiment="gone", user_id=f"u{number}", placement="home")
        till.add("click", 2, user_id=f"u{number}", placement="home", item_id="i")
        till.add("impression", 2, user_id=f"u{number}", placement="home", items=["i"])


def test_an_experiment_in_no_document_is_what_its_events_say(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    old(till)
    till.expose(1, "control", user_id="u1")
    store = till.close()
    for asked in ((), ("gone",)):
        report = report_on(store, documents(), asked)
        assert report.refused == ()
        page = report.pages[-1]
        assert (page.experiment.id, page.control, page.experiment.placements) == ("gone", "b", ("home",))
        assert {arm.variant: arm.units for arm in page.arms} == {"b": 8, "a": 2}
        assert page.sample_ratio.p == 1.0
        assert page.values["ctr"] == {"b": 1.0, "a": 1.0}
        assert "in no document" in page.notes[0]


def test_its_unit_is_the_session_where_people_logged_in_are_known_by_it(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    till.config(0, experiment="gone", weights_bp={"control": 10_000})
    for number in range(3):
        till.expose(1, "control", experiment="gone", session_id=f"s{number}", user_id="u1")
        till.events[-1]["assignments"][0] |= {"unit_type": "session", "unit_id": f"s{number}"}
    (page,) = report_on(till.close(), documents()).pages
    assert (page.experiment.unit, page.arms[0].units) == ("session", 3)


def test_one_of_which_nothing_says_the_control_is_refused_by_name_only(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    till.expose(1, "a", experiment="gone", user_id="u1")
    store = till.close()
    assert report_on(store, documents()).pages == ()
    (refused,) = report_on(store, documents(), ("gone",)).refused
    assert "no config event in these events says which variant is its control" in refused.reason


def test_many_names_in_experiment_are_counted_and_cost_no_pages(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    till.config(0)
    till.expose(1, "control", user_id="u1")
    for number in range(MAX_FOUND + 500):
        till.expose(1, f"v{number}", experiment=f"garbage {number}", user_id="u1")
        till.events.append(dict(till.events[-1]))
    report = report_on(till.close(), documents())
    assert [page.experiment.id for page in report.pages] == ["e"]
    assert len(report.overview.phases) == MAX_FOUND
    assert report.overview.experiments == MAX_FOUND + 501
