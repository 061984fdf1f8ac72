"""What stands in the store before anything is made of it: rows by type, exposures by arm, copies, what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis

from abside.collector.store import LATE_SECONDS, FileSummary, TypeSummary
from abside.report.store.engine import moment_of, us_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from abside.report.store.engine import Engine, Row, Table
    from abside.report.store.told import Told
    from abside.report.tally.units import Choice, Tally

MAX_FOUND = 1_000  # experiments and phases looked at: more is garbage in `experiment`
MAX_SEEN = 10_000  # kinds of exposures of an experiment looked at: more is garbage in `variant`, `placement`, …


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


def overview(engine: Engine, events: Table, names: Sequence[str], told: Told | None = None) -> Overview:
    """Look at the whole store once; at what footers have `told` not at all.

    `names` are looked at however few exposures they have. Raises EngineFailed.
    """
    known, rest = (FileSummary(), events) if told is None else (told.summary, told.rest)
    exposures, kinds = _exposures(engine, rest, names)
    if told is not None and kinds > MAX_FOUND:  # not all of them were asked for, and of which footers say more
        return overview(engine, events, names)
    types, currencies = _types(engine, rest), _currencies(engine, rest)
    if told is not None:
        whole = FileSummary(types, exposures, currencies)
        whole.take(known)
        types, currencies = whole.types, whole.currencies
        exposures, kinds = _most(whole.exposures, names), len({name for name, _ in whole.exposures})
    phases: dict[str, dict[int, int]] = {}
    for name, phase in sorted(exposures):
        phases.setdefault(name, {})[phase] = exposures[name, phase]
    by_type: dict[str, dict[str, int]] = {}
    for kind, currency in sorted(currencies, key=lambda key: (key[0], -currencies[key], key[1])):
        by_type.setdefault(kind, {})[currency] = currencies[kind, currency]
    kept = {kind: types[kind] for kind in sorted(types)}
    return Overview(
        rows={kind: one.rows for kind, one in kept.items()},
        people={kind: one.people for kind, one in kept.items()},
        late={kind: one.late for kind, one in kept.items() if one.late},
        first=min((moment_of(one.first_us) for one in kept.values()), default=None),
        last=max((moment_of(one.last_us) for one in kept.values()), default=None),
        phases=phases,
        currencies=by_type,
        experiments=kinds,
    )


def _types(engine: Engine, events: Table | None) -> dict[str, TypeSummary]:
    if events is None:
        return {}
    by_type = events.group_by("type").agg(
        rows=events.count(),
        people=(~events.bot).sum(),
        late=_late(events).sum(),
        first=events.ts.min(),
        last=events.ts.max(),
    )
    return {
        str(row["type"]): TypeSummary(
            row["rows"], row["people"] or 0, row["late"] or 0, us_of(row["first"]), us_of(row["last"])
        )
        for row in engine.rows("rows by type", by_type)
    }


def _exposures(engine: Engine, events: Table | None, names: Sequence[str]) -> tuple[Counter[tuple[str, int]], int]:
    """Count exposures by experiment and phase, of many the MAX_FOUND with the most; and how many names there are."""
    if events is None:
        return Counter(), 0
    exposed = events.filter(events.type == "exposure", events.experiment.notnull(), events.phase.notnull())
    found = exposed.group_by("experiment", "phase").agg(rows=exposed.count())
    found = engine.keep("experiments found", "experiments", found)
    names_found = found.select("experiment").distinct()  # counted as rows: some engines count distinct values roughly
    kinds = engine.rows("experiments found, counted", names_found.agg(kinds=names_found.count()))[0]["kinds"]
    is_named = found.experiment.isin(list(names))
    found = found.order_by(is_named.desc(), found.rows.desc(), found.experiment, found.phase).limit(MAX_FOUND)
    rows = engine.rows("experiments found, those shown", found)
    return Counter({(row["experiment"], row["phase"]): row["rows"] for row in rows}), kinds


def _most(exposures: Mapping[tuple[str, int], int], names: Sequence[str]) -> Counter[tuple[str, int]]:
    """Return the MAX_FOUND experiments and phases with the most exposures, those of `names` first."""
    order = sorted(exposures, key=lambda key: (key[0] not in names, -exposures[key], key))
    return Counter({key: exposures[key] for key in order[:MAX_FOUND]})


def _currencies(engine: Engine, events: Table | None) -> Counter[tuple[str, str]]:
    if events is None:
        return Counter()
    valued = events.filter(events.value.notnull(), events.currency.notnull())
    rows = engine.rows("currencies", valued.group_by("type", "currency").agg(rows=valued.count()))
    return Counter({(row["type"], row["currency"]): row["rows"] for row in rows})


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
