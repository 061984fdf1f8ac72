"""What values are in, in every form of the page; and the values that are missing, which it counts."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from abside.metric import BY_NAME, Metric, Term
from abside.report.page.export import to_json
from abside.report.page.html.document import to_html
from abside.report.page.text.document import write_report
from abside.report.page.text.pen import Pen
from abside.report.page.text.tables import to_csv, to_markdown
from abside.report.page.value_units import summed_values, value_units
from abside.report.report import Report
from abside.report.store.exposures import Overview
from abside.snapshot import Snapshot

OWN = Term("own0", "sum", "rated", "value")
RATING = Metric("rating", "mean", "value of ratings", "up", OWN)


@pytest.fixture
def report(till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]) -> Report:
    """Forty shoppers who buy for 10 or 20 €; of every four purchases one has no value."""
    till.config(0)
    for number in range(40):
        user, treated = f"u{number}", number % 2
        till.expose(number, "treatment" if treated else "control", user_id=user, session_id=user)
        till.add("page_view", number, user_id=user, session_id=user, page_load_ms=1_000.0 + number)
        paid = {} if number % 4 == 3 else {"value": 10.0 + 10.0 * treated, "currency": "EUR"}
        till.add("purchase", number + 1, user_id=user, session_id=user, **paid)
    return report_on(till.close(), documents(analysis={"primary": "revenue_per_user"}))


def test_currency_and_ms_stand_beside_values_in_text_html_and_markdown(report: Report) -> None:
    out = io.StringIO()
    write_report(report, Pen(out))
    for told in (out.getvalue(), to_html(report).decode(), to_markdown(report).decode()):
        assert told.count("10.0000 EUR") >= 3  # of control: by user, by session, and on the days
        assert told.count("1,019.0 ms") == 1
        assert "% EUR" not in told


def test_csv_and_json_have_a_field_of_what_values_are_in_and_count_those_that_are_missing(report: Report) -> None:
    rows = list(csv.DictReader(to_csv(report).decode().splitlines()))
    found = {row["metric"]: row["value_unit"] for row in rows if row["value_unit"]}
    money = {"revenue_per_session": "EUR", "revenue_per_user": "EUR"}
    assert found == {**money, "page_load_mean": "ms", "page_load_p75": "ms"}
    (page,) = json.loads(to_json(report, ""))["experiments"]
    assert page["value_units"] == {**money, "page_load_mean": "ms"}
    assert page["without_value"] == {"purchase": {"rows": 10, "of": 40}}
    (note,) = (note for note in page["notes"] if "no value" in note)
    assert note == (
        "10 of 40 purchase events within the windows have no value: "
        "each adds 0 to revenue_per_user, revenue_per_session"
    )


@pytest.mark.parametrize(
    ("metric", "currencies", "currency", "expected"),
    [
        ("revenue_per_user", {"purchase": {"EUR": 5}}, None, "EUR"),
        ("revenue_per_user", {}, "EUR", "EUR"),  # of values without one, as the documents say
        ("revenue_per_user", {}, None, ""),
        ("revenue_per_user", {"purchase": {"EUR": 5, "USD": 1}}, None, ""),  # several: it is not computed
        ("revenue_per_user", {"purchase": {"EUR": 5, "USD": 1}}, "USD", "USD"),
        ("page_load_mean", {}, "EUR", "ms"),
        ("items_per_cart", {}, "EUR", ""),
        ("conversion_rate", {"purchase": {"EUR": 5}}, "EUR", ""),
        ("rating", {"purchase": {"EUR": 5}}, "EUR", ""),  # stars are no money
        ("rating", {"rated": {"EUR": 5}}, "EUR", "EUR"),
    ],
)
def test_a_value_is_in_a_currency_where_its_events_are(
    metric: str, currencies: dict[str, dict[str, int]], currency: str | None, expected: str
) -> None:
    seen = Overview({}, {}, {}, None, None, {}, currencies, 0)
    assert value_units([{**BY_NAME, "rating": RATING}[metric]], seen, currency).get(metric, "") == expected


def test_a_metric_that_sums_values_above_and_below_is_named_once() -> None:
    below = Term("own0_below", "sum", "rated", "value", here=True)
    assert summed_values([Metric("part", "ratio", "", "up", OWN, below)]) == {"rated": ["part"]}
