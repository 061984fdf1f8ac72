from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from abside.report.ask import Ask
from abside.report.page.experiment import ExperimentPage
from abside.report.report import Report, build
from abside.report.store.engine import Engine
from abside.report.store.source import open_source
from abside.snapshot import Snapshot, Variant

PageOf = Callable[..., ExperimentPage]


def test_figures_begin_when_a_configuration_changed_and_later_exposures_to_the_old_one_are_strays(
    till: Any, page_of: PageOf
) -> None:
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
    assert f"{page.scope.since:%H:%M}" == "09:30"
    assert page.scope.definitions.changed == ("treatment at pdp",)
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 3}
    assert (page.before_since, page.scope.strays) == (2, 1)
    assert page.exposures == 8


def test_after_two_changes_figures_begin_with_the_third_configuration(till: Any, page_of: PageOf) -> None:
    till.serve(0, "base", {"model": "v1"})
    for minute, name in ((10, "one"), (20, "two"), (30, "three")):
        till.serve(minute, name, {"model": name})
        till.expose(minute + 1, "treatment", user_id=f"t-{name}", config_id=name)
        till.expose(minute + 2, "control", user_id=f"c-{name}", config_id="base")
    page = page_of(till.close())
    assert f"{page.scope.definitions.since:%H:%M}" == "09:30"
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}


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
    left = "; 2 units first exposed before are left out"
    assert refused.reason == f"has exposures, and none of them of a unit since its figures begin{left}"
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
    assert page.scope.definitions.since is None
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 1}


def test_a_change_of_another_key_of_the_same_mapping_is_none_of_it(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"weights": {"margin": 0.0, "fresh": 1.0}})
    till.serve(5, "b", {"weights": {"margin": 0.0, "fresh": 0.5}})
    till.serve(0, "c", {"weights": {"margin": 0.3, "fresh": 1.0}})
    till.serve(5, "d", {"weights": {"margin": 0.3, "fresh": 0.5}})
    for minute, user_id, config_id in ((1, "c1", "a"), (6, "c2", "b")):
        till.expose(minute, "control", user_id=user_id, config_id=config_id)
    for minute, user_id, config_id in ((1, "t1", "c"), (6, "t2", "d")):
        till.expose(minute, "treatment", user_id=user_id, config_id=config_id)
    arms = (
        Variant("control", 0, 5_000),
        Variant("treatment", 5_000, 10_000, {"pdp": {"weights": {"margin": 0.3}}}),
    )
    page = page_of(till.close(), variants=arms)
    assert page.scope.definitions.since is None
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 2}


def test_a_change_of_the_placement_under_the_experiment_is_one(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.serve(5, "b", {"model": "v0"})
    till.serve(0, "c", {"model": "v2"})
    till.expose(1, "control", user_id="c1", config_id="a")
    till.expose(6, "control", user_id="c2", config_id="b")
    till.expose(6, "treatment", user_id="t1", config_id="c")
    page = page_of(till.close())
    assert page.scope.definitions.changed == ("control at pdp",)
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}
    assert page.scope.strays == 0


def test_forced_exposures_and_other_phases_say_nothing_of_a_definition(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.serve(0, "b", {"model": "v0"})
    till.expose(1, "control", user_id="c0", config_id="b", phase=1)
    till.expose(2, "control", user_id="qa", config_id="b", forced=True, phase=2)
    till.expose(3, "control", user_id="c1", config_id="a", phase=2)
    page = page_of(till.close())
    assert (page.scope.definitions.since, page.scope.definitions.unknown) == (None, 0)


def test_a_configuration_nobody_told_of_is_counted_as_unknown(till: Any, page_of: PageOf) -> None:
    till.serve(0, "a", {"model": "v1"})
    till.expose(1, "control", user_id="c1", config_id="a")
    till.expose(1, "control", user_id="c2", config_id="lost")
    page = page_of(till.close())
    assert (page.scope.definitions.since, page.scope.definitions.unknown) == (None, 1)
    assert any("in 1 exposures is not known" in note for note in page.notes)


def swap(till: Any, minute: float, boot: str, revision: str, **state: Any) -> None:
    """A sidecar says that this revision is in force with it."""
    till.config(minute, **state)
    till.events[-1] |= {"revision": revision, "event_id": f"{boot}-{len(till.events):x}"}


@pytest.fixture
def changed(till: Any) -> Any:
    """The treatment's model changed at minute 60; the second of two sidecars swapped at 61."""
    for boot in ("a", "b"):
        swap(till, 0, boot, "r1")
    till.serve(0, "base", {"model": "v1"})
    till.serve(1, "old", {"model": "v2"})
    swap(till, 60, "a", "r2")
    till.serve(60, "new", {"model": "v3"})
    swap(till, 61, "b", "r2")
    for number in range(230):
        for offset, old_or_new in ((1, "old"), (62, "new")):
            at, revision = offset + number / 4, "r1" if old_or_new == "old" else "r2"
            till.expose(at, "control", user_id=f"c{offset}-{number}", config_id="base", revision=revision)
            till.expose(at, "treatment", user_id=f"t{offset}-{number}", config_id=old_or_new, revision=revision)
    return till


def test_one_stray_of_an_old_definition_throws_nobody_away(changed: Any, page_of: PageOf) -> None:
    changed.expose(119, "treatment", user_id="t62-3", config_id="old", revision="r1")  # a prefetched token
    swap(changed, 100, "c", "r1")  # a pod that starts with an old file
    page = page_of(changed.close())
    assert f"{page.scope.since:%H:%M}" == "10:01"
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 230, "treatment": 230}
    assert (page.before_since, page.scope.strays) == (460, 1)
    assert any("1 exposures met the old one after" in note for note in page.notes)


def test_a_definition_that_came_back_begins_when_it_came_back(changed: Any, page_of: PageOf) -> None:
    for boot in ("a", "b"):
        swap(changed, 130, boot, "r1")
    changed.expose(131, "control", user_id="c-last", config_id="base", revision="r1")
    changed.expose(131, "treatment", user_id="t-last", config_id="old", revision="r1")
    page = page_of(changed.close())
    assert f"{page.scope.since:%H:%M}" == "11:10"
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}


def test_another_revision_of_the_same_definition_is_no_change(changed: Any, page_of: PageOf) -> None:
    swap(changed, 120, "a", "r3", traffic_bp=5_000)
    swap(changed, 120, "b", "r3", traffic_bp=5_000)
    changed.expose(121, "treatment", user_id="t-last", config_id="new", revision="r3")
    page = page_of(changed.close())
    assert f"{page.scope.since:%H:%M}" == "10:01"
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 230, "treatment": 231}


def test_since_overrides_where_figures_begin(changed: Any, engine: Engine, documents: Callable[..., Snapshot]) -> None:
    since = datetime(2026, 11, 2, 9, 58, tzinfo=UTC)
    ask = Ask(since=since)
    (page,) = build(engine, open_source(engine, changed.close()), documents(), ask).pages
    early = sum(1 + number / 4 >= 58 for number in range(230))
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 230 + early, "treatment": 230 + early}
    assert (page.scope.since, page.scope.is_asked, page.before_since) == (since, True, 460 - 2 * early)
    assert any("figures begin at 2026-11-02 09:58:00Z as asked" in note for note in page.notes)
