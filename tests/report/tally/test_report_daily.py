"""Every metric by day: each look has the very sums of a report on what had happened until that evening."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from abside.metric import METRICS, Metric, Term
from abside.report.store.engine import Engine
from abside.report.store.source import open_source
from abside.report.tally.daily import seen_by_day
from abside.report.tally.moments import ArmFigures, pairs_of, terms_of
from abside.report.tally.units import Choice, Tally

DAY = 24 * 60
FIRST = datetime(2026, 11, 2, tzinfo=UTC)
CAPPED = Metric("basket", "mean", "", "up", Term("own1", "sum", "add_to_cart", "value", cap=30.0))
EVERY = (*(one for one in METRICS if one.kind != "gini"), CAPPED)
CHOICE = Choice("e", 1, "user_or_session", ("pdp",), 3 * 86_400, metrics=EVERY)
Sums = dict[str, tuple[int, dict[str, int], dict[str, int], dict[tuple[str, str], int]]]


def walk(till: Any) -> Path:
    """Sixty shoppers over three days, whose visits may go on after midnight."""
    rng = random.Random(7)
    for number in range(60):
        start = rng.random() * 3 * DAY
        for visit in range(2):
            ids = {"user_id": f"u{number}", "session_id": f"s{number}.{visit}"}
            at = start + visit * rng.random() * 2 * DAY
            till.expose(at, "treatment" if number % 2 else "control", **ids)
            till.add("impression", at + 1, placement="pdp", items=["i1", "i2"], **ids)
            for view in range(rng.randrange(3)):
                till.add("page_view", at + view * rng.random() * 900, page_load_ms=4000 * rng.random(), **ids)
            if rng.random() < 0.5:
                till.add("click", at + rng.random() * 900, placement="pdp", item_id="i1", **ids)
            for _ in range(rng.randrange(3)):
                item = {"item_id": rng.choice(["i1", "i9"]), "value": 19.5, "quantity": 2}
                till.add("add_to_cart", at + rng.random() * 1200, **item, **ids)
            if rng.random() < 0.4:
                till.add("purchase", at + rng.random() * 1500, value=25.25 * rng.random(), **ids)
    folder: Path = till.close()
    return folder


def sums(arms: list[ArmFigures], metric: Metric) -> Sums:
    terms, pairs = terms_of([metric]), pairs_of([metric])
    return {
        arm.variant: (
            arm.units,
            {name: arm.sums[name] for name in terms},
            {name: arm.nonzero[name] for name in terms},
            {pair: arm.products[pair] for pair in pairs},
        )
        for arm in arms
    }


def test_each_look_has_the_sums_of_that_evening_for_every_metric(till: Any, engine: Engine) -> None:
    events = open_source(engine, walk(till)).events
    last = FIRST + timedelta(days=9)
    tally = Tally(engine, events, last, EVERY)
    counted = tally.count(CHOICE)
    looks = {one.name: seen_by_day(engine, tally.outcomes, CHOICE, counted, one, last) for one in EVERY}
    assert all(len(days) > 3 for days in looks.values())
    for day, then in evenings():
        arms = Tally(engine, events.filter(events.ts < then), last, EVERY).count(CHOICE).arms
        for metric in EVERY:
            until = [name for name in looks[metric.name] if name <= day]
            assert sums(looks[metric.name][until[-1]], metric) == sums(list(arms), metric), (metric.name, day)


def evenings() -> Iterator[tuple[str, datetime]]:
    """Yield days and their ends."""
    for number in (0, 1, 3, 8):
        day = FIRST + timedelta(days=number)
        yield day.date().isoformat(), day + timedelta(days=1)
