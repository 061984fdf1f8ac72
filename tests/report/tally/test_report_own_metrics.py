"""Own metrics through the documents, and values in several currencies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abside.metric import METRICS, Metric, Term
from abside.report.command import main
from abside.report.page.experiment import ExperimentPage
from abside.report.settings import ReportSettings

PageOf = Callable[..., ExperimentPage]
YAML = """
placements: {pdp: {parameters: {model: v1}}}
experiments:
  e:
    name: E
    hypothesis: Lifts.
    status: running
    placements: [pdp]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: v2}}}}
    analysis: {primary: deep, secondary: [basket, rating, gifts], window: 2d}
metrics:
  deep: {kind: proportion, event: scroll, where: [{attribute: properties.depth, op: gte, value: 0.5}]}
  basket: {kind: mean, event: add_to_cart, of: value, cap: 50}
  rating: {kind: ratio, numerator: {sum: rated.properties.stars}, denominator: {count: rated}}
  gifts: {kind: proportion, event: add_to_cart, where: [{attribute: properties.gift, op: eq, value: true}]}
"""


def test_own_metrics_are_computed_as_they_are_written(
    till: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    till.config(0)
    stars = {"control": 0.0, "treatment": 0.0}
    baskets = {"control": 0.0, "treatment": 0.0}
    for number in range(40):
        variant, user = ("treatment" if number % 2 else "control"), f"u{number}"
        till.expose(number, variant, user_id=user)
        till.add("scroll", number + 1, user_id=user, properties={"depth": number / 40})
        till.add("scroll", number + 1, user_id=user, properties={"depth": "deep"})  # of another type: not known
        till.add("rated", number + 1, user_id=user, properties={"stars": number % 5})
        stars[variant] += number % 5
        for value in (number, number / 4):
            cart = {"item_id": "i", "value": value, "currency": "EUR", "properties": {"gift": number < 10}}
            till.add("add_to_cart", number + 1, user_id=user, **cart)
        baskets[variant] += min(50, number * 1.25)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "e.yaml").write_text(YAML)
    place = tmp_path / "out.json"
    assert main(ReportSettings(events=till.close(), config=(tmp_path / "config",), json=place)) == 0
    (page,) = json.loads(place.read_text())["experiments"]
    assert page["values"]["deep"] == {"control": 0.5, "treatment": 0.5}
    assert page["values"]["gifts"] == {"control": 0.25, "treatment": 0.25}
    assert page["values"]["rating"] == pytest.approx({arm: total / 20 for arm, total in stars.items()})
    assert page["values"]["basket"] == pytest.approx({arm: total / 20 for arm, total in baskets.items()})
    assert "deep (primary)" in capsys.readouterr().out


def buyers(till: Any) -> Path:
    for number in range(8):
        variant, user = ("treatment" if number % 2 else "control"), f"u{number}"
        till.expose(0, variant, user_id=user, session_id=user)
        till.add("purchase", 1, user_id=user, value=10, currency="EUR")
    till.add("purchase", 2, user_id="u0", value=1_000, currency="JPY")
    till.add("purchase", 2, user_id="u1", value=5)
    folder: Path = till.close()
    return folder


def test_values_in_several_currencies_are_refused_and_named(till: Any, page_of: PageOf) -> None:
    page = page_of(buyers(till))
    reasons = {one.metric: one.reason for one in page.estimates}
    expected = "several currencies: EUR (8), JPY (1); write currency: EUR at the top of a document"
    assert reasons["revenue_per_user"] == reasons["revenue_per_session"] == expected
    assert page.values["revenue_per_user"] == {"control": None, "treatment": None}


def test_the_currency_of_the_documents_counts_and_the_others_are_named(
    till: Any, report_on: Callable[..., Any], documents: Callable[..., Any]
) -> None:
    snapshot = documents()
    snapshot.head.report["currency"] = "EUR"
    (page,) = report_on(buyers(till), snapshot).pages
    assert page.values["revenue_per_user"] == {"control": 10.0, "treatment": 11.25}
    assert "values in EUR count, in no figure: 1 in JPY" in page.notes


def test_garbage_values_do_not_stop_the_page(till: Any, page_of: PageOf) -> None:
    for number in range(8):
        variant, user = ("treatment" if number % 2 else "control"), f"u{number}"
        till.expose(0, variant, user_id=user, session_id=user)
        for _ in range(3):
            till.add("purchase", 1, user_id=user, value=9e13, currency="EUR")
    page = page_of(till.close())
    assert page.values["revenue_per_user"] == {"control": 3e10, "treatment": 3e10}


def test_every_form_of_a_condition_is_understood(till: Any, page_of: PageOf) -> None:
    assert {metric.name for metric in METRICS} >= {"ctr"}
    node = {"attribute": "item_id", "type": "string"}
    number = {"attribute": "position", "type": "number"}
    wheres = {
        "eq": ({**node, "op": "eq", "value": "i1"},),
        "ne": ({**node, "op": "ne", "value": "i1", "or_missing": True},),
        "any": ({"any": [{**node, "op": "in", "value": ["i1"]}, {**number, "op": "gt", "value": 2}]},),
        "all": ({"all": [{**node, "op": "starts_with", "value": "i"}, {**number, "op": "lte", "value": 2}]},),
        "none": ({**number, "op": "missing"},),
    }
    terms = [Term(name, "count", "click", where=where) for name, where in wheres.items()]
    metrics = [Metric(f"m.{term.column}", "mean", "", "up", term) for term in terms]
    till.expose(0, "control", user_id="u1")
    till.expose(0, "treatment", user_id="u2")
    for item, position in (("i1", 1), ("i2", 3), (None, 2), ("x", None)):
        till.add("click", 1, user_id="u1", item_id=item, position=position)
    page = page_of(till.close(), own=metrics)
    assert {name: page.values[f"m.{name}"]["control"] for name in wheres} == {
        "eq": 1, "ne": 3, "any": 2, "all": 1, "none": 1
    }  # fmt: skip
