"""What a metric's values are in, a currency or ms; and the events whose value it sums, and that have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric, Term
    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Overview

MS = "ms"
IN_MS = "page_load_ms"
PRICED = frozenset({"add_to_cart", "purchase"})  # their value is money, with a currency or without one


@dataclass(frozen=True, slots=True)
class Valueless:
    """Of so many events of a type within their units' windows, how many have no `value`."""

    rows: int
    of: int


def value_units(metrics: Sequence[Metric], seen: Overview, currency: str | None) -> dict[str, str]:
    """Return by name what each metric's values are in; those that are shares or numbers are left out.

    `currency`: that of the documents.
    """
    found = {metric.name: _of(metric, seen, currency) for metric in metrics}
    return {name: one for name, one in found.items() if one}


def _of(metric: Metric, seen: Overview, currency: str | None) -> str:
    """Return what a mean is in, and a ratio of it to a count; of two sums it is not told."""
    if metric.kind not in ("mean", "ratio") or (metric.below is not None and metric.below.of == "sum"):
        return ""
    return _summed(metric.above, seen, currency)


def _summed(term: Term, seen: Overview, currency: str | None) -> str:
    if term.of != "sum":
        return ""
    if term.field == IN_MS:
        return MS
    if term.field != "value":
        return ""
    found = seen.currencies.get(term.event, {})
    if currency is not None:
        return currency if currency in found or term.event in PRICED else ""
    return next(iter(found)) if len(found) == 1 else ""


def summed_values(metrics: Sequence[Metric]) -> dict[str, list[str]]:
    """Return the types of events of which a `value` is summed, and the metrics that do so."""
    found: dict[str, list[str]] = {}
    for metric in metrics:
        for event in dict.fromkeys(term.event for term in metric.terms if term.of == "sum" and term.field == "value"):
            found.setdefault(event, []).append(metric.name)
    return found


def without_value(engine: Engine, experiment: str, metrics: Sequence[Metric], hits: Table) -> dict[str, Valueless]:
    """Count the outcomes without a value that a metric sums, by type; types that have none are left out.

    Raises EngineFailed.
    """
    kinds = summed_values(metrics)
    if not kinds:
        return {}
    mine = hits.filter(hits.type.isin(sorted(kinds)))
    found = mine.group_by("type").agg(rows=mine.value.isnull().sum(), of=mine.count())
    rows = engine.rows(f"{experiment}: outcomes without a value", found.filter(found.rows > 0))
    return {row["type"]: Valueless(row["rows"], row["of"]) for row in sorted(rows, key=lambda row: str(row["type"]))}
