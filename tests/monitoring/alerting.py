"""The rules of k8s/monitoring, and what they do over samples: when each alert fires, and with which labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # noqa: TID251 what Prometheus reads, not a PM's
from tests.monitoring.evaluating import NAME, Labels, Store, evaluate
from tests.monitoring.promql import Selector, Tree, parse, seconds, walk
from tests.monitoring.series import STEP_SECONDS, labels_of, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "k8s" / "monitoring"
SCENARIOS = Path(__file__).parent / "scenarios"
USUAL = {"namespace": "recs", "pod": "rec-1"}  # labels of a series that does not name its own
JOBS = {"collector": "abside-collector", "admission": "abside-admission"}  # by the file of the rules


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert of a file of rules."""

    file: str
    alert: str
    text: str
    tree: Tree
    for_seconds: int
    severity: str
    annotations: dict[str, str]

    @property
    def selectors(self) -> list[Selector]:
        return [one for one in walk(self.tree) if isinstance(one, Selector)]

    @property
    def shown_labels(self) -> set[str]:
        """The labels that its summary shows."""
        return set(re.findall(r"\$labels\.(\w+)", self.annotations["summary"]))


@dataclass(frozen=True, slots=True)
class Scenario:
    """Samples under one rule. `fires_at` is the first minute at which the alert fires; None: it never does."""

    rule: Rule
    series: dict[str, str]
    fires_at: int | None
    labels: dict[str, str]  # which the alert that fires has

    def __str__(self) -> str:
        return f"{self.rule.alert}-{'silent' if self.fires_at is None else f'{self.fires_at}m'}"

    @property
    def store(self) -> Store:
        return store_of(self.series)

    @property
    def minutes(self) -> int:
        """The last minute that has a sample."""
        return int(max(points[-1][0] for points in self.store.series.values()) // STEP_SECONDS)


def rules() -> list[Rule]:
    """Read every file of rules."""
    found = []
    for path in sorted((MONITORING / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            found += [_rule(path.stem, one) for one in group["rules"]]
    return found


def _rule(file: str, one: dict[str, Any]) -> Rule:
    assert one.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}, one
    lasts = seconds(one["for"]) if "for" in one else 0
    tree = parse(one["expr"])
    return Rule(file, one["alert"], one["expr"], tree, lasts, one["labels"]["severity"], one["annotations"])


def scenarios() -> Iterator[Scenario]:
    """Read every scenario: `alert: [{series: …, fires: minute or never, labels: …}, …]`."""
    by_name = {rule.alert: rule for rule in rules()}
    for path in sorted(SCENARIOS.glob("*.yaml")):
        texts = yaml.load(path.read_text(), yaml.BaseLoader)  # noqa: S506 it only makes text: `0x20` is no number here
        for alert, several in texts.items():
            rule = by_name[alert]
            for one in several:
                fires = one["fires"]
                series = {_completed(name, rule.file): str(values) for name, values in one["series"].items()}
                labels = one.get("labels", {"namespace": "recs"})
                yield Scenario(rule, series, None if fires == "never" else seconds(fires) // 60, labels)


def _completed(name: str, file: str) -> str:
    """Write out the labels that every series has from its scrape."""
    labels = {"job": JOBS.get(file, "abside-sidecar"), **USUAL, **dict(labels_of(name))}
    inside = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()) if label != NAME)
    return f"{labels[NAME]}{{{inside}}}"


def firing(rule: Rule, store: Store, minutes: int) -> dict[int, set[Labels]]:
    """Evaluate a rule every minute, as Prometheus does; return the labels that fire, by minute."""
    since: dict[Labels, int] = {}
    found: dict[int, set[Labels]] = {}
    for minute in range(minutes + 1):
        value = evaluate(rule.tree, store, minute * STEP_SECONDS)
        assert isinstance(value, dict), f"{rule.alert} is a number"
        active = {frozenset(one for one in labels if one[0] != NAME) for labels in value}
        since = {labels: since.get(labels, minute) for labels in active}
        now = {labels for labels, began in since.items() if (minute - began) * STEP_SECONDS >= rule.for_seconds}
        if now:
            found[minute] = now
    return found


def metrics_of(selectors: Mapping[str, Any] | list[Selector]) -> set[str]:
    """Return the metrics that selectors name."""
    return {one.metric for one in selectors if isinstance(one, Selector)}
