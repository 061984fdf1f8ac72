"""Clocks that are wrong: nothing is dropped for one, nothing is stored twice, and a person is asked."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from abside.collector.keep.calendar import doubtful, known_since, receipt_day
from abside.collector.keep.upkeep import Upkeep
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import day_folders, scan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import Clock, Start, Views

NOON_US = 1_790_078_400_000_000  # 2026-09-22T12:00:00Z
DAY_US = 86_400 * 1_000_000
YEARS_US = 3653 * DAY_US
LONG_AGO = date(2000, 1, 1)
TODAY = date(2026, 9, 22)


def write_days(store: Path, *ages: int) -> None:
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        for age in ages:
            recv_us = NOON_US - age * DAY_US
            rows = rows_of({"event_id": f"age{age}", "type": "click", "ts": 1}, batch_id=f"age{age}", recv_us=recv_us)
            writer.write([ReceivedBatch(f"age{age}", recv_us, (record_batch(rows),))])


def days(store: Path) -> list[str]:
    return [folder.name.removeprefix("dt=") for folder in day_folders(store)]


def upkept(store: Path, clock: Clock, keep_days: int = 5) -> Upkeep:
    with closing(Writer.open(store, known_since=LONG_AGO)) as writer:
        upkeep = Upkeep(writer, clock, known_days=7, keep_days=keep_days)
        upkeep.once()
        return upkeep


@pytest.mark.parametrize("ahead_us", [9 * DAY_US, YEARS_US, 7973 * 365 * DAY_US])
def test_a_clock_ahead_drops_nothing_and_is_said(store: Path, clock: Clock, ahead_us: int) -> None:
    write_days(store, 0, 1, 2, 3, 4, 5)
    clock.us += ahead_us
    upkeep = upkept(store, clock)
    assert len(days(store)) == 6
    assert "the newest day of the store is 2026-09-22" in (upkeep.clock_problem or "")
    clock.us = NOON_US
    assert upkept(store, clock).clock_problem is None


async def test_a_collector_that_woke_up_ten_years_ahead_keeps_the_store_and_asks(
    start: Start, store: Path, clock: Clock, views: Views
) -> None:
    write_days(store, *range(30))
    clock.us += YEARS_US
    async with start(clock, keep_days=5) as sender:
        assert (await sender.send("new", views("new"))).status == 200
        assert (await sender.send("age3", views("age3"))).status == 208  # what was known is known
    async with start(clock, keep_days=5) as sender:
        assert (await sender.send("age3", views("age3"))).status == 208
        assert (await sender.send("new", views("new"))).status == 208
    for ahead in range(1, 8):  # however long it stays ahead
        clock.us += DAY_US
        async with start(clock, keep_days=5) as sender:
            assert (await sender.send(f"later{ahead}", views("later"))).status == 200
            async with asyncio.timeout(60):
                while "CLOCK_JUMP" not in (await sender.status())["errors"].get("clock", ""):  # noqa: ASYNC110 by HTTP
                    await asyncio.sleep(0.01)
    assert len([day for day in days(store) if day.startswith("2026")]) >= 6
    assert (store / "CLOCK_JUMP").exists()


def test_a_jump_waits_for_a_person_and_goes_by_what_that_one_says(store: Path, clock: Clock) -> None:
    write_days(store, 0, *range(20, 30))
    upkeep = upkept(store, clock)
    assert len(days(store)) == 11
    assert "CLOCK_JUMP waits for a person" in (upkeep.clock_problem or "")
    asked = (store / "CLOCK_JUMP").read_text()
    assert asked.startswith("2026-09-22\n")
    assert "mv CLOCK_JUMP CLOCK_JUMP.confirmed" in asked
    write_days(store, 4, 3, 2, 1)  # days in a row: it is still a person's to say
    upkept(store, clock)
    assert len(days(store)) == 15
    (store / "CLOCK_JUMP").rename(store / "CLOCK_JUMP.confirmed")
    assert upkept(store, clock).clock_problem is None
    assert days(store) == [f"2026-09-{day}" for day in range(18, 23)]


def test_days_of_a_wrong_clock_that_were_moved_out_are_forgotten(store: Path, clock: Clock) -> None:
    write_days(store, *range(12), -3653)
    upkept(store, clock)
    assert len(days(store)) == 13
    (store / f"dt={days(store)[-1]}").rename(store / "wrong")
    (store / "CLOCK_JUMP").unlink()
    assert upkept(store, clock).clock_problem is None
    assert days(store) == [f"2026-09-{day}" for day in range(17, 23)]


@pytest.mark.parametrize("content", [b"", b"tomorrow", b"\xff" * 9, b"2026-13-40", b"x" * 9000])
def test_a_confirmation_that_is_no_date_drops_nothing(store: Path, clock: Clock, content: bytes) -> None:
    write_days(store, 0, *range(20, 30))
    (store / "CLOCK_JUMP.confirmed").write_bytes(content)
    assert "nothing is dropped" in (upkept(store, clock).clock_problem or "")
    assert len(days(store)) == 11


def test_after_idle_weeks_ages_count_from_the_last_day_that_came(store: Path, clock: Clock) -> None:
    write_days(store, *range(21, 29))
    upkeep = upkept(store, clock)
    assert len(days(store)) == 6  # five beside the newest that the store holds
    assert "ages count from that one" in (upkeep.clock_problem or "")


def test_no_one_jump_drops_all_there_was_however_few_days_are_kept(store: Path, clock: Clock) -> None:
    write_days(store, 3, 4, 5, 6, 0)  # three days ahead of what is kept for two
    upkept(store, clock, keep_days=2)
    assert len(days(store)) == 5


async def test_a_clock_that_goes_back_loses_and_doubles_nothing(
    start: Start, store: Path, clock: Clock, views: Views
) -> None:
    write_days(store, *range(12))
    for behind_us in (10 * DAY_US, YEARS_US, NOON_US):
        clock.us = NOON_US - behind_us
        name = f"behind{behind_us}"
        async with start(clock, keep_days=30) as sender:
            assert (await sender.send(name, views(name))).status == 200
            assert (await sender.send("age9", views("age9"))).status in (200, 208)
        clock.us = NOON_US
        async with start(clock, keep_days=30) as sender:
            assert (await sender.send(name, views(name))).status == 208
    there = scan(store).to_table(columns=["event_id"]).column(0).to_pylist()
    assert sorted(event_id for event_id in there if event_id.startswith("behind")) == sorted(
        f"behind{behind_us}-0" for behind_us in (10 * DAY_US, YEARS_US, NOON_US)
    )
    upkept(store, clock, keep_days=3)
    left = scan(store).to_table(columns=["event_id"]).column(0).to_pylist()
    assert sum(event_id.startswith("behind") for event_id in left) == 3


def span(first: date, count: int) -> list[date]:
    return [first + timedelta(number) for number in range(count)]


def test_ids_are_known_of_the_newest_days_that_exist() -> None:
    month = span(date(2026, 9, 1), 22)
    assert known_since(month, 7) == date(2026, 9, 15)
    assert known_since(month[:5], 7) == date.min
    assert known_since([], 7) == date.min
    assert known_since([*month, date(2036, 9, 22)], 7) == date(2026, 9, 15)
    assert known_since([*month, *span(date(2036, 1, 1), 5)], 7) == date(2026, 9, 20)


def test_a_day_of_receipt_is_the_clocks_unless_it_goes_back() -> None:
    month = span(date(2026, 9, 1), 22)
    jumped = date(2036, 9, 22)
    assert receipt_day([], TODAY) == TODAY
    assert receipt_day(month, TODAY) == TODAY
    assert receipt_day(month, date(2026, 9, 21)) == date(2026, 9, 21)  # a second before midnight, once more
    assert receipt_day(month, date(2026, 9, 10)) == TODAY
    assert receipt_day(month, date(1970, 1, 1)) == TODAY
    assert receipt_day(month, date(2026, 11, 1)) == date(2026, 11, 1)
    assert receipt_day([*month, jumped], date(2026, 9, 23)) == date(2026, 9, 23)
    assert receipt_day([*month, jumped], date(1970, 1, 1)) == TODAY
    assert receipt_day([*month, jumped], date(2036, 9, 23)) == date(2036, 9, 23)
    assert receipt_day([TODAY], date(1970, 1, 1)) == TODAY


def test_days_far_behind_a_gap_are_doubted_until_they_are_confirmed() -> None:
    month = span(date(2026, 9, 1), 22)
    late = date(2026, 10, 20)
    assert doubtful(month, keep_days=7, confirmed=date.min) is None
    assert doubtful([], keep_days=7, confirmed=date.min) is None
    assert doubtful([*month, late], keep_days=30, confirmed=date.min) == late
    assert doubtful([*month, late], keep_days=30, confirmed=late) is None
    assert doubtful([*month, *span(late, 4)], keep_days=30, confirmed=date.min) is None
    assert doubtful([*month, *span(late, 4), date(2036, 1, 1)], keep_days=30, confirmed=late) == date(2036, 1, 1)
