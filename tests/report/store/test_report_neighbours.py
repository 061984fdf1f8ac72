"""One event that is wrong never costs the report, nor the figures of its neighbours."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abside.collector.store import SCHEMA
from abside.report.report import Report
from abside.snapshot import Snapshot

# Each with what else is wrong in its store: a report of each by itself takes a second.
ODD: list[list[Any]] = [
    [None, True, 7, -1, 2**63],
    [1.5, "text", "1e400", []],
    [{}, [7], ["e"], [{"experiment": 7}], {"e": "e"}],
]
STATE = ("status", "phase", "control", "traffic_bp", "weights_bp", "pause", "experiment")


def good(till: Any) -> None:
    till.config(0)
    for number in range(4):
        till.expose(1 + number, "control" if number % 2 else "treatment", user_id=f"u{number}")
    till.add("account", 30, boot="b", accepted={"exposure": 4}, lost={"exposure": 1}, clean_end=True)
    till.serve(0, "c0", {"model": "v1"})


def wrong_events(till: Any, value: Any, boot: str) -> None:
    for name in ("experiments", "placements"):
        till.add("config", 2, revision="r0", **{name: value})
    for name in STATE:
        till.config(2, **{name: value})
    till.add("config", 2, revision="r0", placements=[{"placement": "pdp", "config_id": "c0", "config": value}])
    for name in ("boot", "accepted", "lost", "exposures"):
        till.add("account", 3, **{"boot": boot, "note": "e", name: value})
    till.add("account", 3, boot=boot, lost={"exposure": value}, accepted={"click": value})
    told = {"experiment": "e", "variant": "control", "accepted": value, "lost": value}
    till.add("account", 3, boot=boot, exposures=[told, {**told, "variant": value}])
    for name in ("placement", "count"):
        till.add("client_fallback", 3, user_id="u1", properties={"placement": "pdp", "count": 1, name: value})


@pytest.mark.parametrize("values", ODD, ids=repr)
def test_statements_of_any_shape_cost_none_of_the_others(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot], values: list[Any]
) -> None:
    good(till)
    for number, value in enumerate(values):
        wrong_events(till, value, f"wrong-{number}")
    report = report_on(till.close(), documents())
    (page,) = report.pages
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 2, "treatment": 2}
    assert page.scope.history[0].what == "started: 100 % of traffic, phase 1"
    assert report.ledger.accepted["exposure"] >= 4
    assert report.ledger.lost["exposure"] >= 1


def test_a_detail_that_is_no_json_costs_none_of_the_others(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    good(till)
    store = till.close()
    till.config(2)
    till.add("account", 3, boot="b2", accepted={"click": 1})
    till.add("client_fallback", 3, user_id="u1", properties={"placement": "pdp"})
    till.close()
    (file,) = sorted(store.glob("dt=*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)[-1:]
    table = pq.read_table(file, schema=SCHEMA)
    for name in ("detail", "properties"):
        broken = [text and text[:-1] + '"experiments" "placements" "e"' for text in table[name].to_pylist()]
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(broken, pa.string()))
    pq.write_table(table, file)
    report = report_on(store, documents())
    assert [arm.units for arm in report.pages[0].arms] == [2, 2]
    assert report.ledger.accepted["exposure"] == 4


def test_what_nobody_can_read_is_counted_and_said(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    good(till)
    till.config(2, traffic_bp="all")
    till.add("account", 3, boot="b2", accepted={"click": "many"})
    report = report_on(till.close(), documents())
    assert any(
        "1 statements of sidecars about this experiment have no readable shape" in note
        for note in report.pages[0].notes
    )
    assert (report.ledger.sidecars, report.ledger.unread) == (2, 1)
