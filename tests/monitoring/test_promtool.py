"""Prometheus itself reads the rules and runs the same scenarios, where its `promtool` is: `make promtool`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID251 what promtool reads is not a PM's
from tests.monitoring.alerting import MONITORING, Scenario, firing, scenarios
from tests.monitoring.evaluating import NAME, evaluate
from tests.monitoring.promql import parse
from tests.monitoring.series import store_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 CI sets it
FILES = [str(path) for path in sorted((MONITORING / "rules").glob("*.yaml"))]
SERIES = {  # one of each form, over which both count the same
    'm_total{pod="a",le="0.1"}': "0+6x9 3+6x10",
    'm_total{pod="b",le="0.1"}': "0 _ 5 5 9x16",
    'h_bucket{le="0.1"}': "0+5x20",
    'h_bucket{le="1"}': "0+9x20",
    'h_bucket{le="+Inf"}': "0+10x20",
    'g{pod="a",zone="x"}': "5x20",
    'g{pod="b",zone="x"}': "1 2 -3 4 9x16",
    'info{pod="a",version="1"}': "1x20",
}
EXPRESSIONS = (
    "m_total",
    'm_total{pod!="a"}',
    'm_total{pod=~"a|b",nothing!~".+"}',
    "rate(m_total[5m])",
    "increase(m_total[7m])",
    "changes(g[10m])",
    "max_over_time(g[20m]) - min_over_time(g[20m])",
    "sum by (zone) (g) / count by (zone) (g) > 2",
    "avg by (zone) (g)",
    "topk(1, g)",
    "g unless info",
    "g and on (pod) info",
    "g or info",
    "g * on (pod) group_left (version) info",
    "abs(1 - g) * 2 + 1",
    "histogram_quantile(0.95, sum by (le) (rate(h_bucket[5m])))",
    "histogram_quantile(0.99, h_bucket)",
    'absent(nothing{pod="a"})',
    "absent(g)",
    "time() - g",
    "g / (g - g)",
)


@pytest.fixture(scope="module")
def promtool() -> str:
    places = f"{sys.prefix}/promtool/usr/bin{os.pathsep}{os.environ['PATH']}"  # noqa: TID251 it is where tools are found
    found = shutil.which("promtool", path=places)
    if found is None:
        say = pytest.fail if IN_CI else pytest.skip
        say("no promtool: make promtool, on Debian")
    return found


@pytest.fixture
def run(promtool: str, tmp_path: Path) -> Callable[[list[dict[str, Any]]], None]:
    def run_tests(tests: list[dict[str, Any]]) -> None:
        path = tmp_path / "tests.yaml"
        path.write_text(yaml.safe_dump({"rule_files": FILES, "evaluation_interval": "1m", "tests": tests}))
        done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return run_tests


def test_it_accepts_every_file_of_rules(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", *FILES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_scenario_ends_as_it_does_here(promtool: str, run: Callable[[list[dict[str, Any]]], None]) -> None:
    known = [replace(one, series=apart(one, number)) for number, one in enumerate(scenarios())]
    asked = {number: questions(one, number, is_old(promtool)) for number, one in enumerate(known)}
    alone = [number for number, one in enumerate(known) if "absent" in one.rule.text]
    together = [number for number in asked if number not in alone]
    run(
        [
            {
                "interval": "1m",
                "input_series": [line for number in group for line in given(known[number].series)],
                "promql_expr_test": [line for number in group for line in asked[number]],
            }
            for group in (together, *([number] for number in alone))
        ]
    )


def apart(scenario: Scenario, number: int) -> dict[str, str]:
    """Move a scenario to a namespace of its own: Prometheus needs half a second for each world it starts anew."""
    return {name.replace('namespace="recs"', f'namespace="s{number}"'): text for name, text in scenario.series.items()}


def is_old(promtool: str) -> bool:
    done = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True)
    return "version 2." in done.stdout + done.stderr


def questions(scenario: Scenario, number: int, is_closed: bool) -> list[dict[str, Any]]:
    """Ask in the minute in which the alert fires, and for all the time before."""
    place = "" if "absent" in scenario.rule.text else f',namespace="s{number}"'
    alert = f'ALERTS{{alertname="{scenario.rule.alert}",alertstate="firing"{place}}}'
    found = firing(scenario.rule, store_of(scenario.series, is_closed=is_closed), scenario.minutes)
    first = min(found, default=scenario.minutes + 1)
    asked: list[dict[str, Any]] = []
    if first:
        before = {"expr": f"count(max_over_time({alert}[{first}m]))", "eval_time": f"{first - 1}m", "exp_samples": []}
        asked.append(before)
    if found:
        exactly = [{"labels": "{}", "value": len(found[first])}]
        asked.append({"expr": f"count({alert})", "eval_time": f"{first}m", "exp_samples": exactly})
    return asked


def given(series: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


@pytest.mark.parametrize("minute", [3, 14])
def test_every_form_of_an_expression_is_what_it_is_here(
    promtool: str, run: Callable[[list[dict[str, Any]]], None], minute: int
) -> None:
    store, asked = store_of(SERIES, is_closed=is_old(promtool)), []
    for text in EXPRESSIONS:
        vector = evaluate(parse(text), store, minute * 60)
        assert isinstance(vector, dict)
        is_exact = NAME in {label for labels in vector for label, _ in labels}
        wanted = [{"labels": written(dict(labels)), "value": round(value, 6)} for labels, value in vector.items()]
        expression = text if is_exact else f"round({text}, 0.000001)"
        asked.append({"expr": expression, "eval_time": f"{minute}m", "exp_samples": wanted})
    run([{"interval": "1m", "input_series": given(SERIES), "promql_expr_test": asked}])


def written(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items() if name != NAME)
    return f"{labels.get(NAME, '')}{{{inside}}}"
