"""Units cut into slices: by the day of their first exposure, by an attribute; and outcomes by the days since."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ibis

from abside.report.store.members import shown_of
from abside.report.tally.moments import moments_by
from abside.report.tally.terms import column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.metric import Metric
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.moments import ArmFigures

Slices = dict[str, list["ArmFigures"]]  # of each slice its arms, in order
TOP = 20  # values of an attribute; the rest is one
OTHERS, NO_VALUE = "(others)", "(no value)"
MAX_DAYS = 400  # of a page; an experiment of more than a year shows its first
DAY_US = 86_400_000_000  # of seconds, some engines count those that begin in between
MAX_SINCE = 28  # days since the first exposure
EVENT_TERMS = frozenset({"did", "count", "sum"})


def by_day(engine: Engine, figures: Table, metrics: Sequence[Metric], last_ts: datetime) -> Slices:
    """Cut by the date (UTC) of the first exposure. Raises EngineFailed."""
    days = figures.mutate(slice=figures.first_ts.date().cast("string"))
    found = moments_by(engine, "by day of first exposure", days, metrics, last_ts)
    return dict(sorted(found.items())[:MAX_DAYS])


def by_value(engine: Engine, figures: Table, name: str, metrics: Sequence[Metric], last_ts: datetime) -> Slices:
    """Cut by an attribute's value at the first exposure: the most frequent ones, and the rest as one."""
    text = shown_of(figures.attributes, name).fill_null(NO_VALUE)
    valued = engine.keep(f"by {name}", "valued", figures.mutate(slice=text).drop("attributes"))
    top = _most(engine, valued, name)
    found = moments_by(engine, f"by {name}, moments", _folded(valued, top), metrics, last_ts)
    return {key: found[key] for key in [*top, OTHERS] if key in found}


def by_column(engine: Engine, figures: Table, name: str, metrics: Sequence[Metric], last_ts: datetime) -> Slices:
    """Cut by a column of the first exposure, its placement or its unit's type, likewise."""
    cut = figures.mutate(slice=figures[name].fill_null(NO_VALUE))
    top = _most(engine, cut, name)
    return dict(sorted(moments_by(engine, f"by {name}", _folded(cut, top), metrics, last_ts).items()))


def _most(engine: Engine, sliced: Table, name: str) -> list[str]:
    """Return the slices with the most units."""
    counts = sliced.group_by("slice").agg(units=sliced.count())
    order = [counts.units.desc(), counts.slice]
    return [str(row["slice"]) for row in engine.rows(f"values of {name}", counts.order_by(order).limit(TOP))]


def _folded(sliced: Table, top: Sequence[str]) -> Table:
    return sliced.mutate(slice=ibis.ifelse(sliced.slice.isin(top), sliced.slice, OTHERS))


def by_days_since(
    engine: Engine,
    hits: Table,
    figures: Table,
    metric: Metric,
    placements: Sequence[str],
    last_ts: datetime,
    currency: str | None,
) -> Slices:
    """Cut the outcomes by the days since their unit's first exposure, over the units seen for as many days.

    Only a metric made of events can be cut so; others give nothing. Raises EngineFailed.
    """
    if any(term.of not in EVENT_TERMS or term.cap is not None for term in metric.terms):
        return {}
    day = (hits.ts.delta(hits.first_ts, unit="microsecond") // DAY_US).cast("int64")
    timed = hits.mutate(day=day).filter(lambda t: t.day < MAX_SINCE)
    terms = {term.column: column(timed, term, placements, currency) for term in metric.terms}
    done = engine.keep("outcomes by day since", "by_since", timed.group_by("person", "day").agg(**terms))
    days = ibis.range(0, MAX_SINCE).unnest().name("number").as_table()
    plain = ("person", "variant", "first_ts", "until", "crossed", "exposures")
    every = figures.select(*plain).cross_join(days)
    end = every.first_ts + (every.number + 1).cast("int64").as_interval("D")
    every = every.filter(end <= last_ts, end <= every.until)
    whole = every.left_join(done, [every.person == done.person, every.number == done.day])
    whole = whole.select(every, **{name: done[name].cast("int64").fill_null(0) for name in terms})
    whole = whole.mutate(slice=whole.number.cast("string"))
    found = moments_by(engine, "by days since the first exposure", whole, [metric], last_ts)
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def together(one: ArmFigures, other: ArmFigures) -> ArmFigures:
    """Return two parts of an arm as one: sums and products add up."""
    return replace(
        one,
        units=one.units + other.units,
        crossed=one.crossed + other.crossed,
        exposures=one.exposures + other.exposures,
        most_exposures=max(one.most_exposures, other.most_exposures),
        mature=one.mature + other.mature,
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        sums={name: total + other.sums[name] for name, total in one.sums.items()},
        nonzero={name: count + other.nonzero[name] for name, count in one.nonzero.items()},
        products={pair: total + other.products[pair] for pair, total in one.products.items()},
    )
