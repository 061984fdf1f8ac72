"""Own metrics: what a document may ask of the report, and where it is wrong."""

import pytest

from abside.event import FIELDS
from abside.metric import EVENT_FIELDS, METRICS, from_json, to_json
from abside_agent.document.reading import File
from abside_agent.settle.check import check

GOOD = """\
metrics:
  scroll_share: {kind: proportion, event: scroll, where: [{attribute: properties.depth, op: gte, value: 0.5}]}
  basket: {kind: mean, event: add_to_cart, of: value, cap: 500, good: up, text: value put into the cart}
  depth: {kind: mean, event: scroll, of: properties.depth}
  gifts: {kind: mean, event: purchase, of: properties.n, where: [{attribute: properties.gift, op: eq, value: true}]}
  rating: {kind: ratio, numerator: {sum: rated.value, cap_per_unit: 50}, denominator: {count: rated}, good: down}
  pages: {kind: ratio, numerator: {count: page_view}, denominator: {sessions: exposed}}
currency: EUR
"""


def found(text: str) -> list[str]:
    checked = check([File("m.yaml", text.encode())])
    return [
        f"{one.problem.line}:{one.problem.column} {one.problem.path} {one.problem.code}"
        for one in checked.flaws()
        if one.problem.code != "NO_PLACEMENT"
    ]


def test_good_metrics_are_records_that_survive_the_snapshot() -> None:
    checked = check([File("m.yaml", GOOD.encode())])
    assert [one.problem for one in checked.flaws()] == []
    assert list(checked.metrics) == ["scroll_share", "basket", "depth", "gifts", "rating", "pages"]
    assert checked.currency == "EUR"
    assert [from_json(to_json(one)) for one in checked.metrics.values()] == list(checked.metrics.values())
    basket = checked.metrics["basket"]
    assert (basket.kind, basket.above.field, basket.above.cap, basket.good) == ("mean", "value", 500, "up")
    columns = [term.column for metric in checked.metrics.values() for term in metric.terms]
    assert len(set(columns)) == len(columns)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("{kind: proportion}", "2:6 metrics.x.event MISSING_FIELD"),
        ("{kind: mean, event: purchase}", "2:6 metrics.x.of MISSING_FIELD"),
        ("{kind: mean, event: purchase, of: order_id}", "2:39 metrics.x.of METRIC"),  # text
        ("{kind: mean, event: add_to_cart, of: item_id}", "2:42 metrics.x.of METRIC"),
        ("{kind: mean, event: click, of: value}", "2:36 metrics.x.of METRIC"),  # a field the event does not have
        ("{kind: mean, event: exposure, of: count}", "2:26 metrics.x.event METRIC"),
        ("{kind: mean, event: purchase, of: value, cap: 0}", "2:51 metrics.x.cap WRONG_TYPE"),
        ("{kind: mean, event: purchase, of: value, cap: lots}", "2:51 metrics.x.cap WRONG_TYPE"),
        ("{kind: mean, event: purchase, of: value, numerator: {count: click}}", "2:46 metrics.x.numerator METRIC"),
        ("{kind: ratio, numerator: {count: click}}", "2:6 metrics.x.denominator MISSING_FIELD"),  # divides by nothing
        (
            "{kind: ratio, numerator: {count: click}, denominator: {count: click}}",
            "2:59 metrics.x.denominator METRIC",
        ),
        (
            "{kind: ratio, numerator: {metric: x}, denominator: {count: click}}",  # circular
            "2:30 metrics.x.numerator METRIC",
        ),
        (
            "{kind: ratio, numerator: {sum: purchase}, denominator: {sessions: exposed}}",
            "2:36 metrics.x.numerator.sum METRIC",
        ),
        (
            "{kind: ratio, numerator: {count: click}, denominator: {sessions: exposd}}",
            "2:70 metrics.x.denominator.sessions UNKNOWN_VALUE",
        ),
        (
            "{kind: ratio, numerator: {count: click, cap_per_unit: 3}, denominator: {count: impression}}",
            "2:45 metrics.x.numerator.cap_per_unit UNKNOWN_FIELD",
        ),
        ("{kind: gini, of: purchase.value}", "2:22 metrics.x.of METRIC"),
        (
            "{kind: proportion, event: click, where: [{attribute: colour, op: eq, value: red}]}",
            "2:58 metrics.x.where[0].attribute METRIC",
        ),
        (
            "{kind: proportion, event: click, where: [{attribute: position, op: eq, value: first}]}",
            "2:82 metrics.x.where[0].value WRONG_TYPE",
        ),
        (
            "{kind: proportion, event: purchase, where: [{attribute: logged_in, op: exists}]}",
            "2:41 metrics.x.where METRIC",
        ),
        ("{kind: proportion, event: click, shape: round}", "2:39 metrics.x.shape UNKNOWN_FIELD"),
    ],
)
def test_what_the_report_cannot_compute_is_an_error_by_line(metric: str, expected: str) -> None:
    lines = found(f"metrics:\n  x: {metric}\n")
    assert [line.partition(" ")[2] for line in lines] == [expected.partition(" ")[2]]
    assert lines[0].startswith("2:")


def test_a_name_that_is_built_in_is_refused() -> None:
    assert found("metrics:\n  ctr: {kind: proportion, event: click}\n") == ["2:3 metrics.ctr METRIC"]


def test_two_currencies_are_an_error() -> None:
    files = [File("a.yaml", b"currency: EUR\n"), File("b.yaml", b"currency: USD\n")]
    assert [one.problem.code for one in check(files).flaws()] == ["CURRENCY"]
    assert found("currency: euro\n") == ["1:11 currency CURRENCY"]


def test_the_fields_metrics_may_name_are_those_of_the_events() -> None:
    for event, fields in EVENT_FIELDS.items():
        assert set(fields) <= set(FIELDS[event]), event
    for metric in METRICS:
        for term in metric.terms:
            if term.of == "sum":
                assert EVENT_FIELDS[term.event][term.field] == "number"
