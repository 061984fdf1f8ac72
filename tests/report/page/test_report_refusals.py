from collections.abc import Callable
from typing import Any

import pytest

from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report
from abside.snapshot import Snapshot

PageOf = Callable[..., ExperimentPage]
ReportOn = Callable[..., Report]
Documents = Callable[..., Snapshot]


def refusal(report: Report) -> str:
    (refused,) = report.refused
    assert report.pages == ()
    return f"{refused.experiment} {refused.reason}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pdp-rerank", "pdp-rerank is in no document and in no event; did you mean pdp-reranker?"),
        ("x", "x is in no document and in no event; found: e, pdp-reranker"),
        ("pdp-reranker", "pdp-reranker has no unit in its control 'b'"),
        ("e", "e has no exposure in these events; found: pdp-reranker"),
    ],
)
def test_an_experiment_that_is_not_there_is_refused_by_name(
    till: Any, report_on: ReportOn, documents: Documents, name: str, words: str
) -> None:
    till.config(0, experiment="pdp-reranker", control="b", weights_bp={"a": 5_000, "b": 5_000})
    till.expose(0, "a", user_id="u1", experiment="pdp-reranker")
    assert refusal(report_on(till.close(), documents(), [name])).startswith(words)


def test_a_phase_without_exposures_is_refused_and_the_others_named(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    till.expose(0, "control", user_id="u1", phase=2)
    till.expose(0, "control", user_id="u1", phase=3)
    found = refusal(report_on(till.close(), documents(), phase=7))
    assert found == "e has no exposure of phase 7; phases with exposures: 2, 3"


def test_a_control_without_units_is_refused_and_the_variants_found_are_named(
    till: Any, report_on: ReportOn, documents: Documents
) -> None:
    till.expose(0, "treatment", user_id="u1")
    till.expose(0, "other", user_id="u2")
    found = refusal(report_on(till.close(), documents()))
    assert found == ("e has no unit in its control 'control'; variants found: other (1 units), treatment (1 units)")


def test_exposures_of_bots_and_qa_alone_are_no_units(till: Any, report_on: ReportOn, documents: Documents) -> None:
    till.expose(0, "control", user_id="u1", forced=True)
    till.expose(0, "control", user_id="u1", bot=True)
    till.expose(0, "control")  # without an id
    assert "none of them of a unit" in refusal(report_on(till.close(), documents()))


def test_an_arm_without_data_is_named_and_the_others_are_given(till: Any, page_of: PageOf) -> None:
    till.config(0)
    till.expose(0, "control", user_id="u1")
    page = page_of(till.close())
    assert "treatment has no unit; variants found: control (1 units)" in page.notes
    assert page.estimates == ()
    assert page.values["add_to_cart_rate"] == {"control": None}
    assert page.sample_ratio.units == {"control": 1, "treatment": 0}


def test_a_variant_that_is_none_of_the_experiment_is_in_no_figure(till: Any, page_of: PageOf) -> None:
    till.config(0)
    for number, variant in enumerate(("control", "treatment", "treatmnt")):
        till.expose(0, variant, user_id=f"u{number}")
    page = page_of(till.close())
    assert [arm.variant for arm in page.arms] == ["control", "treatment"]
    assert any(note.startswith("treatmnt has 1 units and is no variant of e") for note in page.notes)


def test_a_thousand_names_that_are_no_variant_are_a_few_lines(till: Any, page_of: PageOf) -> None:
    till.config(0)
    for number in range(1_000):
        till.expose(0, f"v{number}" if number > 1 else ("control", "treatment")[number], user_id=f"u{number}")
    page = page_of(till.close())
    assert [arm.variant for arm in page.arms] == ["control", "treatment"]
    strangers = [note for note in page.notes if "no variant of e" in note]
    assert len(strangers) == 6
    assert strangers[-1] == "993 more names that are no variant of e have 993 units together"


def test_one_unit_an_arm_and_no_conversion_leave_figures_without_intervals(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    for kind in ("impression", "click", "add_to_cart", "purchase"):
        till.add(kind, 0, user_id="never exposed")
    page = page_of(till.close())
    assert [one.reason for one in page.estimates[:2]] == ["control has 1 unit; two are needed"] * 2
    till.expose(0, "control", user_id="u3")
    till.expose(0, "treatment", user_id="u4")
    page = page_of(till.close())
    reasons = {one.metric: one.reason for one in page.estimates}
    assert reasons["conversion_rate"] == "no unit differs from another in either arm"
    assert reasons["ctr"] == "control has no impressions"
    assert page.values["ctr"] == {"control": None, "treatment": None}


def test_a_metric_whose_events_the_store_does_not_hold_has_no_data_and_is_not_zero(till: Any, page_of: PageOf) -> None:
    for number in range(4):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
        till.add("impression", 1, user_id=f"u{number}", placement="pdp", items=["i"])
    till.add("add_to_cart", 1, user_id="u0", item_id="i")
    page = page_of(till.close())
    reasons = {one.metric: one.reason for one in page.estimates}
    assert reasons["conversion_rate"] == "no data: the store holds no purchase"
    assert reasons["ctr"] == "no data: the store holds no click"
    assert page.values["conversion_rate"] == page.values["ctr"] == {"control": None, "treatment": None}
    assert page.values["add_to_cart_rate"] == {"control": 0.5, "treatment": 0.0}


def test_a_primary_that_is_not_on_the_page_is_said(till: Any, page_of: PageOf) -> None:
    till.expose(0, "control", user_id="u1")
    page = page_of(till.close(), analysis={"primary": "scroll_depth", "window_seconds": 60})
    assert "the primary is scroll_depth, which is not among the figures of this page" in page.notes


def test_a_store_without_events_has_no_page(till: Any, report_on: ReportOn, documents: Documents) -> None:
    till.add("page_view", 0, user_id="u1")
    report = report_on(till.close(), documents())
    assert (report.pages, report.refused, report.overview.phases) == ((), (), {})
