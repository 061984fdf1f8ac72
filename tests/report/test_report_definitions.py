from collections.abc import Callable
from typing import Any

from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report
from abside.snapshot import Snapshot

PageOf = Callable[..., ExperimentPage]


def test_figures_begin_after_the_last_exposure_of_a_variants_old_configuration(till: Any, page_of: PageOf) -> None:
    till.serve(0, "base", {"model": "v1", "items": 12})
    till.serve(0, "old", {"model": "v2", "items": 12})
    till.serve(30, "new", {"model": "v3", "items": 12})
    till.expose(1, "control", user_id="c1", config_id="base")
    till.expose(2, "treatment", user_id="t1", config_id="old")
    till.expose(31, "control", user_id="c2", config_id="base")
    till.expose(31, "treatment", user_id="t2", config_id="new")
    till.expose(32, "treatment", user_id="t3", config_id="old")  # a pod that lagged behind
    till.expose(33, "treatment", user_id="t1", config_id="new")
    till.expose(34, "treatment", user_id="t4", config_id="new")
    till.expose(34, "control", user_id="c3", config_id="base")
    page = page_of(till.close())
    assert f"{page.definitions.since:%H:%M}" == "09:32"
    assert page.definitions.changed == ("treatment at pdp",)
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}
    assert page.before_since == 5
    assert page.exposures == 8


def test_after_two_changes_figures_begin_with_the_third_configuration(till: Any, page_of: PageOf) -> None:
    till.serve(0, "base", {"model": "v1"})
    for minute, name in ((10, "one"), (20, "two"), (30, "three")):
        till.serve(minute, name, {"model": name})
        till.expose(minute + 1, "treatment", user_id=f"t-{name}", config_id=name)
        till.expose(minute + 2, "control", user_id=f"c-{name}", config_id="base")
    page = page_of(till.close())
    assert f"{page.definitions.since:%H:%M}" == "09:21"
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 1}


def test_a_change_that_leaves_nobody_is_the_reason_given(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    till.serve(0, "base", {"model": "v1"})
    till.serve(0, "old", {"model": "v2"})
    till.serve(30, "new", {"model": "v3"})
    till.expose(1, "control", user_id="c1", config_id="base")
    till.expose(2, "treatment", user_id="t1", config_id="old")
    till.expose(31, "treatment", user_id="t1", config_id="new")
    store = till.close()
    (refused,) = report_on(store, documents()).refused
    left = "; 2 units met another configuration of its variants before and are left out"
    assert refused.reason == f"has exposures, and none of them of a unit since its variants changed{left}"
    till.expose(32, "treatment", user_id="t2", config_id="new")
    (refused,) = report_on(till.close(), documents()).refused
    assert refused.reason == f"has no unit in its control 'control'; variants found: treatment (1 units){left}"


def test_a_change_of_what_the_experiment_does_not_set_is_none_of_it(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1", "items": 12})
    till.serve(5, "b", {"model": "v1", "items": 24})
    till.serve(0, "c", {"model": "v2", "items": 12})
    till.expose(1, "control", user_id="c1", config_id="a")
    till.expose(6, "control", user_id="c2", config_id="b")
    till.expose(6, "treatment", user_id="t1", config_id="c")
    page = page_of(till.close())
    assert page.definitions.since is None
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 1}


def test_a_change_of_the_placement_under_the_experiment_is_one(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.serve(5, "b", {"model": "v0"})
    till.serve(0, "c", {"model": "v2"})
    till.expose(1, "control", user_id="c1", config_id="a")
    till.expose(6, "control", user_id="c2", config_id="b")
    till.expose(6, "treatment", user_id="t1", config_id="c")
    page = page_of(till.close())
    assert page.definitions.changed == ("control at pdp",)
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}


def test_forced_exposures_and_other_phases_say_nothing_of_a_definition(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.serve(0, "b", {"model": "v0"})
    till.expose(1, "control", user_id="c0", config_id="b", phase=1)
    till.expose(2, "control", user_id="qa", config_id="b", forced=True, phase=2)
    till.expose(3, "control", user_id="c1", config_id="a", phase=2)
    page = page_of(till.close())
    assert (page.definitions.since, page.definitions.unknown) == (None, 0)


def test_a_configuration_nobody_told_of_is_counted_as_unknown(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.expose(1, "control", user_id="c1", config_id="a")
    till.expose(1, "control", user_id="c2", config_id="lost")
    page = page_of(till.close())
    assert (page.definitions.since, page.definitions.unknown) == (None, 1)
    assert any("in 1 exposures is not known" in note for note in page.notes)
