"""Events → units → per-arm moments, inside the engine. What comes out is a few rows a variant, whatever the crowd.

A unit is a person (people.py) of one phase of one experiment: its first exposure gives its variant and opens its
window, `first_ts ≤ ts < first_ts + window`. Bots and forced exposures are left out row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from abside.metric import METRICS, Metric
from abside.report.tally.moments import ArmFigures, moments, terms_of
from abside.report.tally.outcomes import EARLY_SECONDS, NAMED, OUTCOMES, Outcomes
from abside.report.tally.sessions import sessions_of
from abside.report.tally.slices import OTHERS
from abside.report.tally.terms import column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.report.store.engine import Engine, Table
    from abside.snapshot import UnitKind

SHOWN_SECONDS = 86_400  # an item was "shown there" when it was within the last day before the cart
MAX_VARIANTS = 100  # names of arms; of more, which are garbage in `variant`, the rarest are one

FIRST = ("variant", "placement", "unit_type", "attributes")  # what a unit has of its first exposure


@dataclass(frozen=True, slots=True)
class Choice:
    """What one page is about: one phase of one experiment, its window, and between when first exposures are."""

    experiment: str
    phase: int
    unit: UnitKind
    placements: tuple[str, ...]
    window_seconds: int
    variants: tuple[str, ...] = ()  # expected: kept by name, however many others are found
    since: datetime | None = None
    until: datetime | None = None
    metrics: tuple[Metric, ...] = METRICS
    currency: str | None = None  # None: all values are in one
    with_attributes: bool = False  # of the first exposure, for cuts


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Outcomes of the store, each once, that count for no unit of a choice, and why."""

    outcomes: int = 0  # all of them, those that count too
    of_nobody: int = 0  # of persons who are no unit
    before: int = 0  # their unit's first exposure
    just_before: int = 0  # of those, by less than EARLY_SECONDS: a clock, or a token posted late without its id
    after: int = 0  # the window
    with_copies: bool = False  # of others than the units: copies of theirs were not looked for


@dataclass(frozen=True, slots=True)
class Counted:
    """The arms of one choice. `units` is the engine's table of them, until the next choice is counted."""

    arms: tuple[ArmFigures, ...]
    before_since: int  # units left out because of the choice's `since`
    after_until: int  # and because of its `until`
    unmatched: Unmatched
    units: Table  # with their columns
    met: Table  # their outcomes, each with its unit's {first_ts, until}
    hits: Table  # of these, those within their windows
    shown_carts: Table | None  # {person, item_id, carted_ts} of carts whose item was shown there the day before
    folded: int = 0  # names of variants that are one, OTHERS


class Tally:
    """Counts one store; what several experiments share is in `outcomes`."""

    def __init__(
        self,
        engine: Engine,
        events: Table,
        last_ts: datetime,
        metrics: Sequence[Metric] = METRICS,
        *,
        with_ids: bool = False,
    ) -> None:
        self._engine = engine
        self._events = events
        self.last_ts = last_ts
        self._shown_carts: Table | None = None
        self.outcomes = Outcomes(engine, events, metrics, with_ids=with_ids)

    def count(self, choice: Choice) -> Counted:
        """Count one phase of one experiment. Raises EngineFailed."""
        engine = self._engine
        everyone = units = self._units(choice)
        early = late = 0
        if choice.since is not None:
            units = units.filter(units.first_ts >= choice.since)
            before = everyone.filter(everyone.first_ts < choice.since)
            early = engine.rows("units first exposed before the change", before.agg(units=before.count()))[0]["units"]
        if choice.until is not None:
            units = units.filter(units.first_ts < choice.until)
            after = everyone.filter(everyone.first_ts >= choice.until)
            late = engine.rows("units first exposed too late", after.agg(units=after.count()))[0]["units"]
        units, folded = self._folded(choice, units)
        met = self._met(choice, units)
        hits = met.filter(met.ts >= met.first_ts, met.ts < met.until)
        figures = self._figures(choice, units, hits)
        figures = engine.keep(f"{choice.experiment}: units and what they did", "figures", figures)
        arms = moments(engine, f"{choice.experiment}: moments by variant", figures, choice.metrics, self.last_ts)
        unmatched = self._unmatched(choice, met)
        return Counted(tuple(arms), early, late, unmatched, figures, met, hits, self._shown_carts, folded)

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
        if not choice.with_attributes:
            mine = mine.mutate(attributes=ibis.null("string"))
        told = self.outcomes.with_person(mine.select("ts", "user_id", "session_id", *FIRST), choice.unit)
        told = told.filter(told.person.notnull())
        visits = told.group_by("person", "session_id").agg(
            ts=told.ts.min(),
            exposures=told.count(),
            least=told.variant.min(),
            most=told.variant.max(),
            **{name: told[name].argmin(told.ts) for name in FIRST},
        )
        visits = self._engine.keep(f"{choice.experiment}: exposures by session", "exposed", visits)
        grouped = visits.group_by("person").agg(
            first_ts=visits.ts.min(),
            crossed=visits.least.min() != visits.most.max(),
            exposures=visits.exposures.sum(),
            **{name: visits[name].argmin(visits.ts) for name in FIRST},
        )
        until = grouped.first_ts + ibis.interval(seconds=choice.window_seconds)
        return self._engine.keep(f"{choice.experiment}: units", "units", grouped.mutate(until=until))

    def _folded(self, choice: Choice, units: Table) -> tuple[Table, int]:
        """Keep MAX_VARIANTS names of variants, those expected first, then the most frequent; the rest are OTHERS.

        Return the units, and how many names were folded so.
        """
        counts = units.group_by("variant").agg(units=units.count())
        expected = [counts.variant.isin(choice.variants).desc()] if choice.variants else []
        first = counts.order_by([*expected, counts.units.desc(), counts.variant]).limit(MAX_VARIANTS + 1)
        found = self._engine.rows(f"{choice.experiment}: variants", first)
        if len(found) <= MAX_VARIANTS:
            return units, 0
        names = [row["variant"] for row in found[:MAX_VARIANTS]]
        kinds = self._engine.rows(f"{choice.experiment}: variants, counted", counts.agg(kinds=counts.count()))
        folded = units.mutate(variant=ibis.ifelse(units.variant.isin(names), units.variant, OTHERS))
        folded = self._engine.keep(f"{choice.experiment}: units, rare variants as one", "units_folded", folded)
        return folded, kinds[0]["kinds"] - MAX_VARIANTS

    def _figures(self, choice: Choice, units: Table, hits: Table) -> Table:
        """Return the units with the columns of the choice's metrics."""
        terms = terms_of(choice.metrics)
        counted = {
            name: column(hits, term, choice.placements, choice.currency)
            for name, term in terms.items()
            if term.of not in ("sessions", "carted_shown", "items")
        }
        by_unit = hits.group_by("person").agg(**counted)
        tables = [self._engine.keep(f"{choice.experiment}: outcomes by unit", "by_unit", by_unit)]
        if any(term.of == "carted_shown" for term in terms.values()):
            carts = hits.filter(hits.type == "add_to_cart", hits.item_id.notnull())
            carts = carts.select("person", "item_id", carted_ts=carts.ts)
            carts = self._engine.keep(f"{choice.experiment}: carts", "carts", carts)
            tables.append(self._carted_shown(choice, units, carts))
        if any(term.of == "sessions" for term in terms.values()):
            exposed = self._engine.kept("exposed")
            tables.append(sessions_of(self._engine, exposed, self.outcomes.once(choice.unit), units))
        whole = units
        for table in tables:
            whole = whole.left_join(table, "person").drop("person_right")
        return whole.mutate(**{name: whole[name].cast("int64").fill_null(0) for name in terms})

    def _met(self, choice: Choice, units: Table) -> Table:
        """Keep the outcomes of the units, those outside their windows too."""
        windows = units.select("person", "first_ts", "until")
        met = self.outcomes.owned(self.outcomes.once(choice.unit), windows, joined=True)
        return self._engine.keep(f"{choice.experiment}: outcomes of units", "met", met)

    def _carted_shown(self, choice: Choice, units: Table, carts: Table) -> Table:
        """Return the persons who put an item into the cart that was shown to them at the placements the day before."""
        events = self._events
        lists = events.filter(events.type == "impression", events["items"].notnull(), ~events.bot)
        seen = self.outcomes.resolved(lists.select(*NAMED, "items"), choice.unit)
        seen = seen.filter(seen.placement.isin(choice.placements))
        seen = self.outcomes.owned(seen.select("person", "via", "ts", "items"), units)
        seen = seen.semi_join(carts.view(), "person").select("person", "ts", "items")
        seen = seen.select("person", shown_ts=seen.ts, item_id=seen["items"].unnest())
        both = seen.inner_join(carts, ["person", "item_id"])
        since = both.carted_ts - ibis.interval(seconds=SHOWN_SECONDS)
        found = both.filter(both.shown_ts <= both.carted_ts, both.shown_ts >= since)
        carts = found.select("person", "item_id", "carted_ts").distinct()
        self._shown_carts = self._engine.keep(f"{choice.experiment}: carts of items shown", "shown_carts", carts)
        return self._shown_carts.select("person").distinct().mutate(carted_shown=ibis.literal(1))

    def _unmatched(self, choice: Choice, met: Table) -> Unmatched:
        """Count what belongs to no unit, or not into its window."""
        outcomes = self.outcomes.once(choice.unit)
        outcomes = outcomes.filter(outcomes.type.isin(OUTCOMES))
        met = met.filter(met.type.isin(OUTCOMES))
        is_before = met.ts < met.first_ts
        near = met.first_ts - ibis.interval(seconds=EARLY_SECONDS)
        found = met.agg(
            met=met.count(),
            before=is_before.sum().fill_null(0),
            just_before=(is_before & (met.ts >= near)).sum().fill_null(0),
            after=(met.ts >= met.until).sum().fill_null(0),
        )
        row = self._engine.rows(f"{choice.experiment}: outcomes outside the windows", found)[0]
        whole = self._engine.rows("outcomes, all", outcomes.agg(count=outcomes.count()))[0]["count"]
        return Unmatched(whole, whole - row.pop("met"), **row)
