"""Units with their columns → one arm each: how many, sums and sums of products, as exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from abside.metric import Metric, Term
    from abside.report.store.engine import Engine, Table

ARM_PLAIN = ("variant", "units", "crossed", "exposures", "most_exposures", "mature", "first", "last")
EXACT = "decimal(38,0)"  # squares of millionths outgrow 64 bits


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One variant's units. Columns are counted in their term's scale."""

    variant: str
    units: int
    crossed: int  # met another variant later
    exposures: int  # rows, copies included
    most_exposures: int  # of one unit
    mature: int  # their window was over when the last event happened
    first: datetime
    last: datetime  # of their first exposures
    sums: dict[str, int]
    nonzero: dict[str, int]  # units of which the column is not 0
    products: dict[tuple[str, str], int]


def terms_of(metrics: Iterable[Metric]) -> dict[str, Term]:
    """List what is counted of each unit, by column."""
    return {term.column: term for metric in metrics for term in metric.terms if term.of != "items"}


def pairs_of(metrics: Iterable[Metric]) -> list[tuple[str, str]]:
    """List the columns of which products are summed: each by itself, and those of a ratio."""
    both = [tuple(term.column for term in metric.terms) for metric in metrics if metric.kind == "ratio"]
    return list(dict.fromkeys([*((name, name) for name in terms_of(metrics)), *both]))  # type: ignore[list-item]


def moments(
    engine: Engine, purpose: str, figures: Table, metrics: Sequence[Metric], last_ts: datetime
) -> list[ArmFigures]:
    """Ask for the arms of a table of units. Raises EngineFailed."""
    whole = figures.mutate(slice=ibis.literal(""))
    return moments_by(engine, purpose, whole, metrics, last_ts).get("", [])


def moments_by(
    engine: Engine, purpose: str, figures: Table, metrics: Sequence[Metric], last_ts: datetime
) -> dict[str, list[ArmFigures]]:
    """Ask for the arms of each `slice` of a table of units. Raises EngineFailed."""
    terms, pairs = terms_of(metrics), pairs_of(metrics)

    def product(left: str, right: str) -> Any:
        if terms[left].scale == terms[right].scale == 1:
            return (figures[left] * figures[right]).sum()
        return (figures[left].cast(EXACT) * figures[right].cast(EXACT)).cast(EXACT).sum()

    found = figures.group_by("slice", "variant").agg(
        units=figures.count(),
        crossed=figures.crossed.sum(),
        exposures=figures.exposures.sum(),
        most_exposures=figures.exposures.max(),
        mature=(figures.until <= last_ts).sum(),
        first=figures.first_ts.min(),
        last=figures.first_ts.max(),
        **{f"sum_{name}": figures[name].cast(EXACT).sum() for name in terms},
        **{f"some_{name}": (figures[name] != 0).sum() for name in terms},
        **{f"both_{index}": product(*pair) for index, pair in enumerate(pairs)},
    )
    arms: dict[str, list[ArmFigures]] = {}
    for row in sorted(engine.rows(purpose, found), key=lambda row: str(row["variant"])):
        arms.setdefault(row["slice"], []).append(_arm(row, list(terms), pairs))
    return arms


def _arm(row: dict[str, Any], names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> ArmFigures:
    return ArmFigures(
        **{name: row[name] for name in ARM_PLAIN},
        sums={name: int(row[f"sum_{name}"]) for name in names},
        nonzero={name: int(row[f"some_{name}"]) for name in names},
        products={pair: int(row[f"both_{index}"]) for index, pair in enumerate(pairs)},
    )
