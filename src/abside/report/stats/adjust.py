"""Many comparisons → p adjusted for them: Holm over the arms of one metric, Benjamini-Hochberg over several metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def holm(found: Sequence[float]) -> list[float]:
    """Adjust so that the chance of any false alarm stays below the level (Holm 1979)."""
    order = sorted(range(len(found)), key=lambda index: found[index])
    adjusted = [1.0] * len(found)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(found) - rank) * found[index]))
        adjusted[index] = least
    return adjusted


def benjamini_hochberg(found: Sequence[float]) -> list[float]:
    """Adjust so that of the alarms the expected share of false ones stays below the level (1995)."""
    order = sorted(range(len(found)), key=lambda index: found[index], reverse=True)
    adjusted = [1.0] * len(found)
    most = 1.0
    for place, index in enumerate(order):
        most = min(most, found[index] * len(found) / (len(found) - place))
        adjusted[index] = most
    return adjusted
