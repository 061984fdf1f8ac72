"""The primary as it would have been seen at the end of each day: units and outcomes until then, from one pass.

What changes from one day to the next is summed in the engine: of each unit its column after the day less before it, of
squares and products likewise. Added up from the first day on, that is the moments of every look, exactly. By when
things happened: what arrived late counts on the day it happened.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import ibis

from abside.report.tally.moments import EXACT, pairs_of, terms_of
from abside.report.tally.sessions import sessions_by_day
from abside.report.tally.slices import MAX_DAYS, by_day, together
from abside.report.tally.terms import MAX_UNIT, column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.metric import Metric, Term
    from abside.report.store.engine import Engine, Row, Table
    from abside.report.tally.moments import ArmFigures
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice, Counted

Looks = dict[str, list["ArmFigures"]]  # of each day its arms, as seen at its end


def seen_by_day(
    engine: Engine, outcomes: Outcomes, choice: Choice, counted: Counted, metric: Metric, last_ts: datetime
) -> Looks:
    """Return the arms at the end of each day (UTC), from the first exposure on. Raises EngineFailed."""
    begun = by_day(engine, counted.units, [], last_ts)
    changed = _changed(engine, outcomes, choice, counted, metric)
    changes = {(row["day"], row["variant"]): row for row in _added(engine, counted, metric, changed)}
    variants = sorted({arm.variant for arms in begun.values() for arm in arms})
    so_far: dict[str, ArmFigures] = {}
    looks: Looks = {}
    for day in sorted({*begun, *(day for day, _ in changes)})[:MAX_DAYS]:
        for variant in variants:
            _look(so_far, variant, begun.get(day, []), changes.get((day, variant)), metric)
        looks[day] = list(so_far.values())
    return looks


def _look(
    so_far: dict[str, ArmFigures], variant: str, begun: Sequence[ArmFigures], change: Row | None, metric: Metric
) -> None:
    """Add a day to one arm."""
    for arm in begun:
        if arm.variant == variant:
            before, nothing = so_far.get(variant), dict.fromkeys(terms_of([metric]), 0)
            fresh = replace(arm, sums=nothing, nonzero=nothing, products=dict.fromkeys(pairs_of([metric]), 0))
            so_far[variant] = fresh if before is None else together(before, fresh)
    if change is not None:
        arm = so_far[variant]
        so_far[variant] = replace(
            arm,
            sums={name: total + int(change[f"sum_{name}"]) for name, total in arm.sums.items()},
            nonzero={name: count + int(change[f"some_{name}"]) for name, count in arm.nonzero.items()},
            products={
                pair: total + int(change[f"both_{index}"]) for index, (pair, total) in enumerate(arm.products.items())
            },
        )


def _added(engine: Engine, counted: Counted, metric: Metric, changed: Table) -> list[Row]:
    """Ask for what each day adds to the sums of each arm."""
    terms, pairs = terms_of([metric]), pairs_of([metric])
    until = ibis.window(group_by="person", order_by="day", preceding=None, following=0)
    grown = changed.mutate(**{f"so_far_{name}": changed[name].sum().over(until) for name in terms})
    ends: dict[str, Any] = {}
    for name, term in terms.items():
        ends[f"new_{name}"] = _whole(term, grown[f"so_far_{name}"])
        ends[f"old_{name}"] = _whole(term, grown[f"so_far_{name}"] - grown[name])
    whole = grown.mutate(**ends).inner_join(counted.units.select("person", "variant"), "person")

    def product(pair: tuple[str, str], when: str) -> Any:
        left, right = (whole[f"{when}_{name}"].cast(EXACT) for name in pair)
        return (left * right).cast(EXACT)

    def did(name: str) -> Any:
        new, old = (whole[f"{when}_{name}"] != 0 for when in ("new", "old"))
        return new.cast("int64") - old.cast("int64")

    found = whole.group_by("day", "variant").agg(
        **{f"sum_{name}": (whole[f"new_{name}"] - whole[f"old_{name}"]).cast(EXACT).sum() for name in terms},
        **{f"some_{name}": did(name).sum() for name in terms},
        **{f"both_{index}": (product(pair, "new") - product(pair, "old")).sum() for index, pair in enumerate(pairs)},
    )
    return engine.rows(f"{metric.name}: what each day adds", found)


def _whole(term: Term, so_far: Any) -> Any:
    """Return a unit's column from what is summed of it until a moment."""
    if term.of in ("did", "carted_shown"):
        return (so_far > 0).cast("int64")
    if term.of == "sum" and term.cap is not None:
        so_far = ibis.least(so_far, int(term.cap * term.scale))
    return so_far.clip(-MAX_UNIT, MAX_UNIT) if term.of == "sum" else so_far


def _changed(engine: Engine, outcomes: Outcomes, choice: Choice, counted: Counted, metric: Metric) -> Table:
    """Keep {person, day, and of each term what it grew by}, a row for each day on which a unit did anything."""
    terms = terms_of([metric])
    parts = []
    hits = counted.hits.mutate(day=counted.hits.ts.date().cast("string"))
    own = {
        name: column(hits, _plain(term), choice.placements, choice.currency)
        for name, term in terms.items()
        if term.of in ("did", "count", "sum")
    }
    if own:
        parts.append(hits.group_by("person", "day").agg(**own))
    if counted.shown_carts is not None and any(term.of == "carted_shown" for term in terms.values()):
        carts = counted.shown_carts.mutate(day=counted.shown_carts.carted_ts.date().cast("string"))
        parts.append(carts.group_by("person", "day").agg(carted_shown=carts.count()))
    if any(term.of == "sessions" for term in terms.values()):
        parts.append(sessions_by_day(engine.kept("exposed"), outcomes.once(choice.unit), counted.units))
    every = [part.select("person", "day", **{name: _of(part, name) for name in terms}) for part in parts]
    whole = reduce(lambda one, other: one.union(other), every)
    found = whole.group_by("person", "day").agg(**{name: whole[name].sum().cast("int64") for name in terms})
    found = found.filter(reduce(or_, (found[name] != 0 for name in terms)))
    return engine.keep(f"{metric.name}: what units did each day", "changed", found)


def _of(part: Table, name: str) -> Any:
    return part[name].cast("int64").fill_null(0) if name in part.columns else ibis.literal(0, "int64")


def _plain(term: Term) -> Term:
    """Return the term without what holds for the whole of a unit: one or none, and a cap."""
    return replace(term, of="count" if term.of == "did" else term.of, cap=None)
