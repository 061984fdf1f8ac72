"""Outcomes, each once, and whose they are: by their own ids, or by the exposure they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from abside.metric import METRICS, PROPERTIES
from abside.report.store.people import stitch, with_person, with_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric
    from abside.report.store.engine import Engine, Table
    from abside.snapshot import UnitKind

EARLY_SECONDS = 60  # an outcome may be posted this much before the exposure it names: a token posted late, a clock
OUTCOMES = ("impression", "click", "add_to_cart", "purchase")
# What terms are made of, beside. A session_id is kept where a session's bounce needs it: of the many lists it is not.
FIELDS = ("item_id", "position", "quantity", "value", "currency", "page_type", "page_load_ms")
NAMED = ("ts", "user_id", "session_id", "placement", "exposure_id")  # what tells whose an outcome is, where and when


class Outcomes:
    """The outcomes of one store. What several experiments share is made once, when first asked for."""

    def __init__(
        self, engine: Engine, events: Table, metrics: Sequence[Metric] = METRICS, *, with_ids: bool = False
    ) -> None:
        self._engine = engine
        needed = frozenset[str]().union(*(metric.needs for metric in metrics))
        self._kinds = tuple(sorted({*OUTCOMES, "page_view", *needed}))
        is_named = any(PROPERTIES in str(term) for metric in metrics for term in metric.terms)
        self._fields = (*FIELDS, "properties") if is_named else FIELDS
        self._ids = ("exposure_id",) if with_ids else ()  # as rows for somebody else; the event_id stays then too
        self._events = events
        self._stitched: Table | None = None
        self._once: dict[bool, Table] = {}
        self._named: dict[bool, Table | None] = {}
        self.repeated = 0  # rows that are copies of another; counted with the first outcomes

    def with_person(self, events: Table, unit: UnitKind) -> Table:
        """Add `person` to events, as the experiment's unit has it."""
        if unit == "session":
            return with_session(events)
        if self._stitched is None:
            self._stitched = stitch(self._engine, self._events)
        return with_person(events, self._stitched)

    def once(self, unit: UnitKind) -> Table:
        """Keep every outcome once: {person, via, type, ts, placement, session_id, *FIELDS}; of copies the earliest.

        Copies are equal in type, event_id and person: an id that a shop numbers by type, or by shopper, is no copy.
        """
        by_session = unit == "session"
        if by_session not in self._once:
            events = self._events
            mine = events.filter(events.type.isin(self._kinds), ~events.bot)
            names = ("event_id", "type", *self._fields, *NAMED)
            told = self.resolved(mine.select(*names), unit)
            copies = mine.group_by("type", "event_id").agg(copies=mine.count())
            repeated = self._engine.keep("ids that occur twice", "repeated", copies.filter(copies.copies > 1))
            told = told.mutate(session_id=ibis.ifelse(told.type == "impression", None, told.session_id))
            event_id = ("event_id",) if self._ids else ()
            columns = ("person", "via", "type", "ts", "placement", "session_id", *self._fields, *self._ids, *event_id)
            once = told.anti_join(repeated, ["type", "event_id"]).select(*columns)
            twice = told.semi_join(repeated, ["type", "event_id"])
            first = {
                name: twice[name].argmin(twice.ts)
                for name in ("via", "placement", "session_id", *self._fields, *self._ids)
            }
            each = twice.group_by("type", "event_id", "person").agg(ts=twice.ts.min(), copies=twice.count(), **first)
            each = self._engine.keep("copies of outcomes", "copied", each)
            extra = (each.copies - 1).sum().fill_null(0).name("extra").as_table()
            self.repeated = self._engine.rows("copies of outcomes, counted", extra)[0]["extra"]
            name = "session_outcomes" if by_session else "outcomes"
            whole = once.union(each.select(*columns))
            self._once[by_session] = self._engine.keep("outcomes, each once", name, whole)
        return self._once[by_session]

    def resolved(self, told: Table, unit: UnitKind) -> Table:
        """Add `person`, and what an exposure_id says: whose exposure it was (`via`), where, and not after the outcome.

        An outcome that names an exposure happened there, whatever placement it names itself, and not before it.
        """
        told = self.with_person(told, unit)
        named = self._named_exposures(unit)
        if named is None:
            return told.mutate(via=ibis.null("string"))
        shown = named.view()
        found = told.left_join(shown, told.exposure_id == shown.shown_id)
        found = found.select(told, shown.shown_ts, shown.shown_at, shown.via)
        near = found.shown_ts - ibis.interval(seconds=EARLY_SECONDS)
        is_early = (found.ts < found.shown_ts) & (found.ts >= near)
        found = found.mutate(
            ts=ibis.ifelse(is_early, found.shown_ts, found.ts),
            placement=ibis.coalesce(found.shown_at, found.placement),
        )
        return found.drop("shown_ts").drop("shown_at")  # one at a time: Ibis writes several in an order by chance

    def _named_exposures(self, unit: UnitKind) -> Table | None:
        """Keep the exposures that outcomes name: {shown_id, shown_ts, shown_at, via}; None where none is named."""
        by_session = unit == "session"
        if by_session not in self._named:
            events = self._events
            told = events.filter(events.type.isin(self._kinds), events.exposure_id.notnull(), ~events.bot)
            ids = self._engine.keep("exposures named", "named_ids", told.select("exposure_id").distinct())
            self._named[by_session] = None
            if self._engine.rows("exposures named, counted", ids.agg(count=ids.count()))[0]["count"]:
                mine = events.filter(events.type == "exposure", events.exposure_id.notnull(), ~events.bot)
                mine = mine.select("exposure_id", "ts", "placement", "user_id", "session_id")
                mine = self.with_person(mine.semi_join(ids, "exposure_id"), unit)
                found = mine.group_by(shown_id=mine.exposure_id).agg(
                    shown_ts=mine.ts.min(), shown_at=mine.placement.argmin(mine.ts), via=mine.person.argmin(mine.ts)
                )
                name = "session_named" if by_session else "named"
                self._named[by_session] = self._engine.keep("exposures named, each once", name, found)
        return self._named[by_session]

    def owned(self, told: Table, units: Table, *, joined: bool = False) -> Table:
        """Keep what is of a unit: its own person's, or, where that is no unit, of the exposure it names.

        `joined`: with the units' columns too, which takes no second search for the same persons.
        """
        own = _of(told.drop("via"), units, joined=joined)
        if all(one is None for one in self._named.values()):
            return own
        other = told.filter(told.via.notnull()).anti_join(units.view(), "person")
        return own.union(_of(other.mutate(person=other.via).drop("via"), units, joined=joined))


def _of(told: Table, units: Table, *, joined: bool) -> Table:
    """Return what is of a unit's person; a person is one unit."""
    return told.inner_join(units.view(), "person") if joined else told.semi_join(units.view(), "person")
