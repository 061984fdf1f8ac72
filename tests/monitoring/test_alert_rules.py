"""Every alert fires when it must, from the minute on that it must, and at no other time."""

from __future__ import annotations

import pytest
from tests.monitoring.alerting import Scenario, firing, metrics_of, rules, scenarios


@pytest.mark.parametrize("scenario", [*scenarios()], ids=str)
def test_an_alert_fires_from_its_minute_on_and_where_nothing_is_wrong_never(scenario: Scenario) -> None:
    found = firing(scenario.rule, scenario.store, scenario.minutes)
    if scenario.fires_at is None:
        assert found == {}
        return
    assert min(found, default=None) == scenario.fires_at
    (labels,) = found[scenario.fires_at]
    assert scenario.labels.items() <= dict(labels).items()
    assert scenario.rule.shown_labels <= dict(labels).keys(), "its summary shows a label that the expression drops"


def test_every_alert_has_a_scenario_in_which_it_fires_and_one_of_the_same_metrics_in_which_it_does_not() -> None:
    known = list(scenarios())
    for rule in rules():
        own = [one for one in known if one.rule.alert == rule.alert]
        assert any(one.fires_at is not None for one in own), rule.alert
        silent = [one for one in own if one.fires_at is None]
        assert silent, rule.alert
        for one in silent:
            assert {name for labels in one.store.series for label, name in labels if label == "__name__"} >= metrics_of(
                rule.selectors
            )


def test_every_alert_has_a_severity_a_sentence_and_its_place_in_the_runbook() -> None:
    names = [rule.alert for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule.severity in {"critical", "warning"}
        assert rule.annotations.keys() == {"summary", "runbook_url"}
        assert len(rule.annotations["summary"]) <= 120, "one line of a phone"
        assert rule.annotations["runbook_url"] == f"docs/runbook.md#{rule.alert.lower()}"
