"""Pearson's chi-square of counts against weights; its p without SciPy, which agent and sidecar do not bring.

Source of the survival function: Q(a, x), the regularised upper incomplete gamma function, by its series for x < a + 1
and by Lentz's continued fraction beyond (Abramowitz and Stegun 6.5.29 and 6.5.31); p = Q(df / 2, statistic / 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PRECISION = 1e-15  # of a term relative to the sum: the precision of a float
MAX_TERMS = 10_000  # both forms need about the root of a, plus 30; 20 variants make a at most 9.5
TINY = 1e-300  # Lentz's guard against a zero denominator


@dataclass(frozen=True, slots=True)
class Fit:
    """How well counts fit weights: the statistic, its degrees of freedom, and the chance of one as large."""

    statistic: float
    df: int
    p: float


def fit(counts: Sequence[int], weights: Sequence[int]) -> Fit | None:
    """Compare counts with weights in the same order; None where there is nothing to compare. Weights need no scale."""
    total, whole = sum(counts), sum(weights)
    cells = [(count, total * weight / whole) for count, weight in zip(counts, weights, strict=True) if weight]
    if total == 0 or len(cells) < 2:
        return None
    statistic = sum((count - expected) ** 2 / expected for count, expected in cells)
    return Fit(statistic, len(cells) - 1, survival(statistic, len(cells) - 1))


def survival(statistic: float, df: int) -> float:
    """Return the probability that a chi-square variable of `df` ≥ 1 degrees of freedom is larger. `statistic` ≥ 0."""
    a, x = df / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = exp(a * log(x) - x - lgamma(a))  # underflows to 0 far out, as it should
    return 1.0 - scale * _series(a, x) if x < a + 1 else scale * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, MAX_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * PRECISION:
            break
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = 1 / TINY, 1 / b
    value = d
    for n in range(1, MAX_TERMS):
        numerator = -n * (n - a)
        b += 2
        d = numerator * d + b
        d = 1 / (d if abs(d) > TINY else TINY)
        c = b + numerator / c
        c = c if abs(c) > TINY else TINY
        value *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return value
