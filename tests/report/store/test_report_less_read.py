"""What is not read: files of days that cannot matter, events of other people. No figure changes by that."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, Footer, write_file
from abside.report.ask import Ask
from abside.report.page.export import to_json
from abside.report.report import Report, build, period_of
from abside.report.store.engine import Engine
from abside.report.store.period import FileFacts, Period
from abside.report.store.source import open_source
from abside.report.tally import few
from abside.report.tally.units import Unmatched
from abside.snapshot import Snapshot

DAY = timedelta(days=1)
BEGUN = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 75


def received(till: Any, chance: random.Random) -> Path:
    """Put what was written down into the files of the days of its receipt, some of it up to a week late."""
    by_day: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for number, event in enumerate(till.events):
        late = chance.choice((0, 0, 0, 1, 6)) * 86_400 * 1_000_000
        recv_us = event["ts"] + 1_000_000 + late
        day = datetime.fromtimestamp(recv_us / 1e6, UTC).date().isoformat()
        by_day[day] += rows_of(event, batch_id=f"b{number}", recv_us=recv_us)
    for day, rows in by_day.items():
        (till.folder / f"dt={day}").mkdir(parents=True)
        table = pa.Table.from_batches([record_batch(rows)], SCHEMA)
        write_file(till.folder / f"dt={day}" / "b.parquet", [table], Footer(("b",)))
    folder: Path = till.folder
    return folder


def life(till: Any, chance: random.Random) -> None:
    """Shoppers over DAYS days: visits of some hours, logins in the middle of them, some who come back weeks later."""
    opened = (BEGUN - datetime(2026, 11, 2, 9, tzinfo=UTC)) / timedelta(minutes=1)
    till.config(opened)
    for number in range(60):
        variant = chance.choice(("control", "treatment"))
        for visit in range(chance.choice((1, 1, 2, 3))):
            at = opened + chance.random() * DAYS * 1440
            ids: dict[str, Any] = {"session_id": f"s{number}-{visit}"}
            for step in range(chance.randint(1, 6)):
                if chance.random() < 0.4:
                    ids["user_id"] = f"u{number}"
                kind = chance.choice(("exposure", "exposure", "impression", "click", "add_to_cart", "purchase"))
                when = at + step * chance.choice((1, 60, 600))
                if kind == "exposure":
                    other = chance.choice(("control", "treatment"))
                    named = {"exposure_id": f"x{number}-{visit}-{step}", "experiment": chance.choice(("e", "e", "f"))}
                    till.expose(when, variant if chance.random() < 0.9 else other, **named, **ids)
                elif kind == "impression":
                    till.add(kind, when, placement="pdp", items=["i1"], **ids)
                else:
                    till.add(kind, when, item_id="i1", exposure_id=f"x{number}-{visit}-0", **ids)
    till.add("account", opened + 1440 * DAYS, boot="b", accepted={"exposure": 4}, lost={"exposure": 1})


def figures(report: Report) -> dict[str, Any]:
    """Everything that is printed of units; not what is counted of the whole store. NaN is equal to itself."""
    (page,) = report.pages
    scope = replace(page.scope, seen=tuple(sorted(page.scope.seen, key=repr)))
    whole = replace(page, unmatched=Unmatched(), scope=scope)
    found = {name: getattr(whole, name) for name in page.__slots__}
    return {name: repr(sorted(one.items()) if isinstance(one, dict) else one) for name, one in found.items()}


@pytest.mark.parametrize("seed", range(3))
def test_figures_of_a_period_are_the_same_when_every_file_is_read(
    till: Any, engine: Engine, documents: Callable[..., Snapshot], seed: int
) -> None:
    chance = random.Random(seed)
    life(till, chance)
    store = received(till, chance)
    since = BEGUN + DAY * chance.uniform(30, 50) if seed != 1 else None
    until = BEGUN + DAY * chance.uniform(50, 55) if seed != 2 else None
    ask, snapshot = Ask(("e",), since=since, until=until), documents(analysis={"planned_units": 50})
    pruned = open_source(engine, store, period_of(snapshot, ask))
    some = build(engine, pruned, snapshot, ask)
    whole = build(engine, open_source(engine, store), snapshot, ask)
    assert pruned.whole < len(pruned.files) == whole.whole
    assert figures(some) == figures(whole)
    assert sum(arm.units for arm in some.pages[0].arms) > 2
    assert some.ledger == whole.ledger
    assert b'"files_read_whole": ' in to_json(some, "d")


def facts(received_on: int, happened_on: int | None = None) -> FileFacts:
    """A file of one day, of which the first event happened on another."""
    day = BEGUN + DAY * received_on
    first = None if happened_on is None else BEGUN + DAY * happened_on
    return FileFacts(1, (day, day + DAY), None if first is None else (first, day))


def test_a_file_is_left_out_when_its_day_is_too_far_from_the_period() -> None:
    period = Period(BEGUN + 40 * DAY, BEGUN + 50 * DAY)
    read = [day for day in range(100) if period.needs(facts(day, day))]
    assert (read[0], read[-1]) == (31, 58)
    assert period.needs(FileFacts(1, None, None))
    assert period.needs(facts(90, happened_on=None))  # it does not say when it begins
    assert period.needs(facts(90, happened_on=45))  # a sidecar's spool waited for weeks
    assert all(Period().needs(facts(day, day)) for day in (0, 99))


def crowd(till: Any) -> None:
    """Ten thousand events of people who were never exposed, some of whose clicks name somebody else's exposure."""
    for number in range(10_000):
        named = f"x{number % 60}-0-{number % 3}" if number % 100 == 0 else None
        till.add("click", 60 * (number % 500), user_id=f"other{number % 700}", item_id="i2", exposure_id=named)
    till.add("client_fallback", 90, session_id="s1-0", properties={"placement": "pdp", "count": 2})


def test_figures_of_few_people_are_the_same_when_everybody_is_read(
    till: Any, engine: Engine, documents: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    life(till, chance)
    crowd(till)
    store = received(till, chance)
    reports = []
    for share, most, has_places in ((0.01, few.MAX_PLACES, True), (0.01, 0, True), (0.01, 0, False), (-1, 0, True)):
        monkeypatch.setattr(few, "FEW", share)
        monkeypatch.setattr(few, "MAX_PLACES", most)
        monkeypatch.setattr(engine, "has_places", has_places)
        reports.append(build(engine, open_source(engine, store), documents(), Ask(("e",))))
    by_place, joined, by_id, whole = reports
    assert figures(by_place) == figures(joined) == figures(by_id) == figures(whole)
    assert by_place.overview == whole.overview
    some, all_of_it = by_place.pages[0].unmatched, whole.pages[0].unmatched
    assert (some.with_copies, all_of_it.with_copies) == (True, False)
    assert some.outcomes >= all_of_it.outcomes > 10_000
    assert (some.before, some.after) == (all_of_it.before, all_of_it.after)


def test_people_are_few_by_the_exposures_of_what_was_asked_for() -> None:
    phases = {"e": {1: 6, 2: 4}, "f": {1: 600}}
    assert few.are_few(phases, ("e",), 1_000)
    assert not few.are_few(phases, ("e",), 999)
    assert not few.are_few(phases, ("e", "f"), 1_000)
    assert not few.are_few(phases, (), 1_000_000)
