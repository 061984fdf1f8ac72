"""The figures of the page: each a name, and how it is made from what tally.py counts of a unit.

Every metric is over all units of the arm: one that did nothing counts as zero. An impression is one list shown,
whatever its length, so that a longer list does not lower its own click-through rate.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proportion:
    """The share of units for which `column` is 1. `what` says it in words; `needs` are the events it is made of."""

    name: str
    column: str
    needs: tuple[str, ...]
    what: str


@dataclass(frozen=True, slots=True)
class Ratio:
    """The sum of `numerator` over the sum of `denominator`; the unit stays the unit, by the delta method."""

    name: str
    numerator: str
    denominator: str
    needs: tuple[str, ...]
    what: str


Metric = Proportion | Ratio
METRICS: tuple[Metric, ...] = (
    Proportion("add_to_cart_rate", "carted", ("add_to_cart",), "units that put anything into the cart"),
    Proportion(
        "placement_add_to_cart_rate",
        "carted_shown",
        ("add_to_cart", "impression"),
        "units that put an item shown there into the cart",
    ),
    Ratio("ctr", "clicks", "impressions", ("click", "impression"), "clicks there by lists shown there"),
    Proportion("conversion_rate", "bought", ("purchase",), "units that bought anything"),
)
