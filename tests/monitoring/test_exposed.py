"""Rules and panels speak of what the processes really expose, and a fleet in which nothing is wrong is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.monitoring.alerting import firing, rules
from tests.monitoring.dashboard import rows
from tests.monitoring.evaluating import evaluate
from tests.monitoring.promql import Aggregate, Selector, parse, walk

if TYPE_CHECKING:
    from tests.monitoring.exposed import Exposed

MINUTES = 70  # longer than every range and wait


def test_every_metric_and_label_of_the_rules_is_exposed(exposed: Exposed) -> None:
    wrong = {rule.alert: exposed.wrong(one) for rule in rules() for one in rule.selectors if exposed.wrong(one)}
    assert wrong == {}


def test_every_metric_and_label_of_the_panels_is_exposed(exposed: Exposed) -> None:
    for panel in (panel for several in rows().values() for panel in several):
        for text in panel.expressions:
            trees = list(walk(parse(text)))
            selectors = [one for one in trees if isinstance(one, Selector)]
            assert [exposed.wrong(one) for one in selectors if exposed.wrong(one)] == [], panel.title
            known = {label for one in selectors for label in exposed.labels()[one.metric]} | {"namespace", "pod", "job"}
            grouped = {label for one in trees if isinstance(one, Aggregate) for label in one.labels}
            assert grouped <= known, panel.title


def test_every_panel_shows_something_of_a_fleet(exposed: Exposed) -> None:
    fleet = exposed.fleet(MINUTES)
    for panel in (panel for several in rows().values() for panel in several):
        assert any(evaluate(parse(text), fleet, MINUTES * 60.0) for text in panel.expressions), panel.title


def test_a_fleet_in_which_nothing_is_wrong_is_silent(exposed: Exposed) -> None:
    fleet = exposed.fleet(MINUTES)
    assert {rule.alert: found for rule in rules() if (found := firing(rule, fleet, MINUTES))} == {}
