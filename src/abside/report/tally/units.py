"""Events → units → per-arm moments, inside the engine. What comes out is a few rows a variant, whatever the crowd.

A unit is a person (people.py) of one phase of one experiment: its first exposure gives its variant and opens its
window, `first_ts ≤ ts < first_ts + window`. Bots and forced exposures are left out row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from abside.report.store.people import stitch, with_person, with_session

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from abside.report.store.engine import Engine, Table
    from abside.snapshot import UnitKind

SHOWN_SECONDS = 86_400  # an item was "shown there" when it was within the last day before the cart
OUTCOMES = ("impression", "click", "add_to_cart", "purchase")
# What is counted of each unit; metrics.py says what is made of it.
COUNTED = ("carted", "carted_shown", "bought", "clicks", "impressions")


@dataclass(frozen=True, slots=True)
class Choice:
    """What one page is about: one phase of one experiment, and its window. `since`: first exposures after it."""

    experiment: str
    phase: int
    unit: UnitKind
    placements: tuple[str, ...]
    window_seconds: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant's units: how many, and of each counted column the sum and the sums of products, as exact integers."""

    variant: str
    units: int
    crossed: int  # met another variant later
    mature: int  # their window was over when the last event happened
    first: datetime
    last: datetime  # of their first exposures
    sums: dict[str, int]
    products: dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Counted:
    """The arms of one choice. `units` is the engine's table of them, until the next choice is counted."""

    arms: tuple[Arm, ...]
    before_since: int  # units left out because of the choice's `since`
    units: Table


class Tally:
    """Counts one store. What several experiments share (people, outcomes) is made once, when first asked for."""

    def __init__(self, engine: Engine, events: Table, last_ts: datetime) -> None:
        self._engine = engine
        self._events = events
        self._last_ts = last_ts
        self._stitched: Table | None = None
        self._outcomes: dict[bool, Table] = {}
        self.repeated_outcomes = 0  # rows that are copies of another; counted with the first outcomes

    def count(self, choice: Choice) -> Counted:
        """Count one phase of one experiment. Raises EngineFailed."""
        engine = self._engine
        everyone = self._units(choice)
        early = 0
        units = everyone
        if choice.since is not None:
            units = everyone.filter(everyone.first_ts > choice.since)
            before = everyone.filter(everyone.first_ts <= choice.since)
            early = engine.rows("units first exposed before the change", before.agg(units=before.count()))[0]["units"]
        figures = self._figures(choice, units)
        rows = engine.rows(f"{choice.experiment}: moments by variant", _moments(figures, self._last_ts))
        return Counted(tuple(_arm(row) for row in sorted(rows, key=lambda row: str(row["variant"]))), early, units)

    def with_person(self, events: Table, unit: UnitKind) -> Table:
        """Add `person` to events, as the experiment's unit has it."""
        if unit == "session":
            return with_session(events)
        if self._stitched is None:
            self._stitched = stitch(self._engine, self._events)
        return with_person(events, self._stitched)

    def _units(self, choice: Choice) -> Table:
        """Keep one row a unit: {person, first_ts, until, variant, crossed}."""
        events = self._events
        mine = events.filter(
            events.type == "exposure",
            events.experiment == choice.experiment,
            events.phase == choice.phase,
            events.variant.notnull(),
            ~events.forced.fill_null(False),
            ~events.bot,
        )
        told = self.with_person(mine.select("ts", "user_id", "session_id", "variant"), choice.unit)
        told = told.filter(told.person.notnull())
        grouped = told.group_by("person").agg(
            first_ts=told.ts.min(),
            variant=told.variant.argmin(told.ts),
            crossed=told.variant.min() != told.variant.max(),
        )
        until = grouped.first_ts + ibis.interval(seconds=choice.window_seconds)
        return self._engine.keep(f"{choice.experiment}: units", "units", grouped.mutate(until=until))

    def _figures(self, choice: Choice, units: Table) -> Table:
        """Give the units with their COUNTED columns."""
        outcomes = self._outcomes_of(choice.unit)
        windows = units.select("person", "first_ts", "until")
        met = outcomes.inner_join(windows, "person")
        hits = met.filter(met.ts >= met.first_ts, met.ts < met.until)
        here = hits.placement.isin(choice.placements)
        by_unit = hits.group_by("person").agg(
            carted=(hits.type == "add_to_cart").any(),
            bought=(hits.type == "purchase").any(),
            clicks=((hits.type == "click") & here).sum(),
            impressions=((hits.type == "impression") & here).sum(),
        )
        by_unit = self._engine.keep(f"{choice.experiment}: outcomes by unit", "by_unit", by_unit)
        carts = hits.filter(hits.type == "add_to_cart", hits.item_id.notnull())
        carts = carts.select("person", "item_id", carted_ts=carts.ts)
        shown = self._carted_shown(choice, self._engine.keep(f"{choice.experiment}: carts", "carts", carts))
        whole = units.left_join(by_unit, "person").drop("person_right")
        whole = whole.left_join(shown, "person").drop("person_right")
        return whole.mutate(**{name: whole[name].cast("int64").fill_null(0) for name in COUNTED})

    def _carted_shown(self, choice: Choice, carts: Table) -> Table:
        """Give the persons who put an item into the cart that was shown to them at the placements the day before."""
        events = self._events
        lists = events.filter(
            events.type == "impression",
            events.placement.isin(choice.placements),
            events["items"].notnull(),
            ~events.bot,
        )
        seen = self.with_person(lists.select("ts", "user_id", "session_id", "items"), choice.unit)
        seen = seen.semi_join(carts.view(), "person").select("person", "ts", "items")
        seen = seen.select("person", shown_ts=seen.ts, item_id=seen["items"].unnest())
        both = seen.inner_join(carts, ["person", "item_id"])
        since = both.carted_ts - ibis.interval(seconds=SHOWN_SECONDS)
        found = both.filter(both.shown_ts <= both.carted_ts, both.shown_ts >= since).select("person").distinct()
        return found.mutate(carted_shown=ibis.literal(1))

    def _outcomes_of(self, unit: UnitKind) -> Table:
        """Keep every outcome once: {person, type, ts, placement, item_id}. Of several copies the earliest counts."""
        by_session = unit == "session"
        if by_session not in self._outcomes:
            events = self._events
            mine = events.filter(events.type.isin(OUTCOMES), ~events.bot)
            told = self.with_person(
                mine.select("event_id", "type", "ts", "user_id", "session_id", "placement", "item_id"), unit
            )
            repeated = self._repeated(mine)
            columns = ("person", "type", "ts", "placement", "item_id")
            once = told.anti_join(repeated, "event_id").select(*columns)
            copies = told.semi_join(repeated, "event_id")
            first = {name: copies[name].argmin(copies.ts) for name in columns if name != "ts"}
            one_of_each = copies.group_by("event_id").agg(ts=copies.ts.min(), **first).select(*columns)
            name = "session_outcomes" if by_session else "outcomes"
            self._outcomes[by_session] = self._engine.keep("outcomes, each once", name, once.union(one_of_each))
        return self._outcomes[by_session]

    def _repeated(self, outcomes: Table) -> Table:
        """Keep the ids that occur more than once; they are few, so that the many need no grouping by all columns."""
        copies = outcomes.group_by("event_id").agg(copies=outcomes.count())
        repeated = self._engine.keep("ids that occur twice", "repeated", copies.filter(copies.copies > 1))
        extra = (repeated.copies - 1).sum().fill_null(0).name("extra").as_table()
        self.repeated_outcomes = self._engine.rows("copies of outcomes", extra)[0]["extra"]
        return repeated


def _moments(figures: Table, last_ts: datetime) -> Table:
    sums = {f"sum_{name}": figures[name].sum() for name in COUNTED}
    products = {f"sum_{left}_{right}": (figures[left] * figures[right]).sum() for left, right in PRODUCTS}
    return figures.group_by("variant").agg(
        units=figures.count(),
        crossed=figures.crossed.sum(),
        mature=(figures.until <= last_ts).sum(),
        first=figures.first_ts.min(),
        last=figures.first_ts.max(),
        **sums,
        **products,
    )


def _arm(row: dict[str, object]) -> Arm:
    plain = {name: row[name] for name in ("variant", "units", "crossed", "mature", "first", "last")}
    sums = {name: row[f"sum_{name}"] for name in COUNTED}
    products = {pair: row["sum_{}_{}".format(*pair)] for pair in PRODUCTS}
    return Arm(**plain, sums=sums, products=products)  # type: ignore[arg-type]  # the columns of _moments


def _pairs() -> Iterable[tuple[str, str]]:
    yield from ((name, name) for name in COUNTED)
    yield ("clicks", "impressions")


PRODUCTS = tuple(_pairs())
