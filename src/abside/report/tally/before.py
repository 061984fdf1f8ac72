"""What units did before their first exposure: the covariate that no variant can have changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ibis

from abside.report.tally.slices import EVENT_TERMS
from abside.report.tally.terms import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric, Term
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.units import Choice

DAYS_BEFORE = 14


def before_of(metric: Metric) -> Term | None:
    """Return the term of the same kind before the first exposure; None for a metric that has none."""
    if metric.below is not None or metric.kind == "gini" or metric.above.of not in EVENT_TERMS:
        return None
    return replace(metric.above, column=f"before_{metric.above.column}")


def with_before(engine: Engine, choice: Choice, met: Table, figures: Table, terms: Sequence[Term]) -> Table:
    """Add covariates to the units' columns; `met` are their outcomes. Raises EngineFailed."""
    earliest = met.first_ts - ibis.interval(days=DAYS_BEFORE)
    hits = met.filter(met.ts < met.first_ts, met.ts >= earliest)
    columns = {term.column: column(hits, term, choice.placements, choice.currency) for term in terms}
    done = hits.group_by("person").agg(**columns)
    done = engine.keep(f"{choice.experiment}: before the first exposure", "done_before", done)
    whole = figures.left_join(done, "person").drop("person_right")
    return whole.mutate(**{name: whole[name].cast("int64").fill_null(0) for name in columns})
