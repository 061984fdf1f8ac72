"""Garbage in `variant` and `placement`: what comes out of the engine is bounded, and nothing of it is lost."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import ibis

from abside.report.page.experiment import ExperimentPage
from abside.report.store.engine import Engine
from abside.report.store.exposures import MAX_SEEN, exposures_seen
from abside.report.tally.slices import OTHERS, TOP, by_column
from abside.report.tally.units import MAX_VARIANTS

NAMES = 300
AT = datetime(2026, 11, 2, tzinfo=UTC).replace(tzinfo=None)


def exposures(names: int) -> Any:
    """Of the experiment `e`, three rows of its control and one of each garbage name."""
    numbers = ibis.range(0, names + 3).unnest().name("number").as_table()
    name = ibis.ifelse(numbers.number < 3, "control", "v" + numbers.number.cast("string"))
    at = ibis.literal(AT)
    return numbers.select(
        type=ibis.literal("exposure"),
        experiment=ibis.literal("e"),
        phase=ibis.literal(1, "int32"),
        variant=name,
        placement=name,
        config_id=ibis.literal("c"),
        revision=ibis.literal("r"),
        forced=ibis.literal(value=False),
        bot=ibis.literal(value=False),
        ts=at,
        recv_ts=at + ibis.interval(hours=2),
    )


def test_of_more_names_of_variants_than_are_looked_at_the_rarest_are_one(engine: Engine) -> None:
    events = engine.keep("many names", "garbage", exposures(MAX_SEEN + 1_000))
    seen = exposures_seen(engine, events, "e")
    assert len(seen) == MAX_SEEN + 1
    assert (sum(one.rows for one in seen), sum(one.late for one in seen)) == (MAX_SEEN + 1_003, MAX_SEEN + 1_003)
    assert [one.rows for one in seen if one.variant == "control"] == [3]
    assert [one.rows for one in seen if one.variant is None] == [1_001]
    assert len(exposures_seen(engine, events.limit(50), "e")) <= 50


def test_hundreds_of_names_are_a_hundred_arms_and_the_variants_are_among_them(
    till: Any, page_of: Callable[..., ExperimentPage]
) -> None:
    till.config(0)
    till.expose(0, "treatment", user_id="a")
    till.expose(0, "control", user_id="b")
    for number in range(NAMES):
        for copy in range(2):  # each has more units than the variants have
            till.expose(0, f"v{number}", user_id=f"u{number}-{copy}", placement=f"p{number}")
    page = page_of(till.close())
    assert {arm.variant: arm.units for arm in page.arms} == {"control": 1, "treatment": 1}
    strangers = [note for note in page.notes if "no variant of e" in note]
    assert len(strangers) == 6
    assert strangers[-1] == f"{NAMES - 5} more names that are no variant of e have {2 * (NAMES - 5)} units together"
    assert (len(page.arrived), sum(page.arrived.values())) == (MAX_VARIANTS + 1, 2 * NAMES + 2)


def test_units_by_placement_are_the_placements_with_the_most_units_and_the_others(engine: Engine) -> None:
    units = exposures(NAMES).mutate(
        person=ibis.literal("p"), first_ts=AT, until=AT, crossed=False, exposures=ibis.literal(1)
    )
    units = engine.keep("units", "garbage", units.mutate(variant=ibis.literal("control")))
    found = by_column(engine, units, "placement", [], AT)
    assert len(found) == TOP + 1
    assert (found["control"][0].units, found[OTHERS][0].units) == (3, NAMES + 1 - TOP)
