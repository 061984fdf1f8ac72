"""Page loads → their 75th percentile of each arm, exact to a millisecond: by counting, not by sorting in the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.units import Choice

SHARE = 0.75
MAX_MS = 60_000  # a load of a minute or more counts as one of a minute: a percentile up there says no more


def load_percentiles(engine: Engine, choice: Choice, hits: Table, units: Table) -> dict[str, float]:
    """Return by variant the least whole number of ms that SHARE of the page views took at most. Raises EngineFailed."""
    timed = hits.filter(hits.type == "page_view", hits.page_load_ms.notnull()).select("person", "page_load_ms")
    timed = timed.select("person", ms=timed.page_load_ms.clip(0, MAX_MS).ceil().cast("int64"))
    met = timed.inner_join(units.select("person", "variant"), "person")
    counted = met.group_by("variant", "ms").agg(views=met.count())
    found = engine.columns(f"{choice.experiment}: page views by ms", counted)
    names = np.array(found["variant"])
    return {
        str(variant): _percentile(found["ms"][names == variant], found["views"][names == variant])
        for variant in sorted(set(names.tolist()))
    }


def _percentile(ms: np.ndarray, views: np.ndarray) -> float:
    order = np.argsort(ms)
    reached = np.cumsum(views[order])
    at = int(np.searchsorted(reached, SHARE * reached[-1]))
    return float(ms[order][at])
