"""What stands in the store before anything is made of it: rows by type, exposures by arm, copies, what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.report.store.engine import Engine, Row, Table
    from abside.report.tally.units import Choice, Tally

MAX_FOUND = 1_000  # experiments and phases looked at: more is garbage in `experiment`
MAX_SEEN = 10_000  # kinds of exposures of an experiment looked at: more is garbage in `variant`, `placement`, …
LATE_SECONDS = 3600  # shipping takes seconds; an hour is an upstream that was away, or a client's queue


@dataclass(frozen=True, slots=True)
class Overview:
    """The store at a glance."""

    rows: dict[str, int]  # by type
    people: dict[str, int]  # of them, those of no bot
    late: dict[str, int]  # of them, received more than LATE_SECONDS after they happened
    first: datetime | None
    last: datetime | None
    phases: dict[str, dict[int, int]]  # experiment → phase → exposure rows; of many, those with the most
    currencies: dict[str, dict[str, int]]  # event type → currency → rows with a value
    experiments: int  # of all names in `experiment`


@dataclass(frozen=True, slots=True)
class Seen:
    """The exposure rows of an experiment that agree in all this."""

    phase: int
    variant: str | None
    placement: str | None
    config_id: str | None
    revision: str | None
    forced: bool
    bot: bool
    rows: int
    late: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class ExcludedCounts:
    """Exposures that no figure is made of."""

    rows: int
    units: int


def overview(engine: Engine, events: Table, names: Sequence[str]) -> Overview:
    """Look at the whole store once. `names` are looked at however few exposures they have. Raises EngineFailed."""
    by_type = events.group_by("type").agg(
        rows=events.count(),
        people=(~events.bot).sum(),
        late=_late(events).sum(),
        first=events.ts.min(),
        last=events.ts.max(),
    )
    types = sorted(engine.rows("rows by type", by_type), key=lambda row: str(row["type"]))
    exposed = events.filter(events.type == "exposure", events.experiment.notnull(), events.phase.notnull())
    found = exposed.group_by("experiment", "phase").agg(rows=exposed.count())
    found = engine.keep("experiments found", "experiments", found)
    names_found = found.select("experiment").distinct()  # counted as rows: some engines count distinct values roughly
    kinds = engine.rows("experiments found, counted", names_found.agg(kinds=names_found.count()))[0]["kinds"]
    is_named = found.experiment.isin(list(names))
    found = found.order_by(is_named.desc(), found.rows.desc(), found.experiment, found.phase).limit(MAX_FOUND)
    phases: dict[str, dict[int, int]] = {}
    rows = engine.rows("experiments found, those shown", found)
    for row in sorted(rows, key=lambda row: (row["experiment"], row["phase"])):
        phases.setdefault(row["experiment"], {})[row["phase"]] = row["rows"]
    return Overview(
        rows={row["type"]: row["rows"] for row in types},
        people={row["type"]: row["people"] for row in types},
        late={row["type"]: row["late"] for row in types if row["late"]},
        first=min((row["first"] for row in types), default=None),
        last=max((row["last"] for row in types), default=None),
        phases=phases,
        currencies=_currencies(engine, events),
        experiments=kinds,
    )


def _currencies(engine: Engine, events: Table) -> dict[str, dict[str, int]]:
    valued = events.filter(events.value.notnull(), events.currency.notnull())
    rows = engine.rows("currencies", valued.group_by("type", "currency").agg(rows=valued.count()))
    found: dict[str, dict[str, int]] = {}
    for row in sorted(rows, key=lambda row: (row["type"], -row["rows"], row["currency"])):
        found.setdefault(row["type"], {})[row["currency"]] = row["rows"]
    return found


def exposures_seen(engine: Engine, events: Table, experiment: str, since: datetime | None = None) -> list[Seen]:
    """List an experiment's exposures, all phases, copies included; those `since` a moment. Raises EngineFailed.

    Beyond MAX_SEEN kinds, the rarest of a phase are one without a name.
    """
    mine = _of(events, experiment).mutate(forced=lambda t: t.forced.fill_null(False))
    if since is not None:
        mine = mine.filter(mine.ts >= since)
    keys = ("phase", "variant", "placement", "config_id", "revision", "forced", "bot")
    found = mine.group_by(*keys).agg(rows=mine.count(), late=_late(mine).sum(), first=mine.ts.min(), last=mine.ts.max())
    order = [found.rows.desc(), *(found[key] for key in keys)]
    rows = engine.rows(f"{experiment}: exposures by arm", found.order_by(order).limit(MAX_SEEN))
    if len(rows) == MAX_SEEN:
        rows += _rarest(engine, experiment, found.mutate(rank=ibis.row_number().over(order_by=order)))
    return [Seen(**row) for row in sorted(rows, key=lambda row: [str(row[key]) for key in keys])]


def _rarest(engine: Engine, experiment: str, ranked: Table) -> list[Row]:
    """Ask for all kinds of exposures beyond MAX_SEEN, those of a phase as one."""
    rest = ranked.filter(ranked["rank"] >= MAX_SEEN)
    found = rest.group_by("phase").agg(
        rows=rest.rows.sum(), late=rest.late.sum(), first=rest["first"].min(), last=rest["last"].max()
    )
    found = found.order_by(found.rows.desc(), found.phase).limit(MAX_FOUND)
    nameless = dict.fromkeys(("variant", "placement", "config_id", "revision"))
    rows = engine.rows(f"{experiment}: exposures by arm, the rarest", found)
    return [{**row, **nameless, "forced": False, "bot": False} for row in rows]


def exposure_copies(engine: Engine, events: Table, experiment: str, phase: int) -> int:
    """Count the rows of a phase that are copies of another: same event, same experiment, same variant."""
    mine = _of(events, experiment)
    mine = mine.filter(mine.phase == phase)
    by_id = mine.group_by("event_id", "variant").agg(copies=mine.count())
    extra = (by_id.copies - 1).sum().fill_null(0).name("extra").as_table()
    return int(engine.rows(f"{experiment}: copies of exposures", extra)[0]["extra"])


def left_out(engine: Engine, tally: Tally, events: Table, choice: Choice) -> dict[str, ExcludedCounts]:
    """Count the exposures of bots and the forced ones, and whose they are."""
    mine = _of(events, choice.experiment)
    forced = mine.forced.fill_null(False)
    mine = mine.filter(mine.phase == choice.phase, mine.bot | forced)
    told = mine.select("user_id", "session_id", why=ibis.ifelse(mine.bot, "bots", "forced"))
    by_unit = tally.outcomes.with_person(told, choice.unit)
    by_unit = by_unit.group_by("why", "person").agg(rows=by_unit.count())
    found = by_unit.group_by("why").agg(rows=by_unit.rows.sum(), units=by_unit.count())
    rows = engine.rows(f"{choice.experiment}: left out", found)
    return {
        row["why"]: ExcludedCounts(row["rows"], row["units"]) for row in sorted(rows, key=lambda row: str(row["why"]))
    }


def _of(events: Table, experiment: str) -> Table:
    return events.filter(events.type == "exposure", events.experiment == experiment)


def _late(events: Table) -> Table:
    return events.recv_ts > events.ts + ibis.interval(seconds=LATE_SECONDS)
