"""How unequally the items of a catalogue were shown: the Gini coefficient, its interval by a jackknife over people.

The plain coefficient of a small sample is too high, and more so in the smaller arm: at arms of 10:1 its interval covers
far too seldom. Deleting one of 64 groups of people at a time gives both the bias and the variance (Quenouille 1956,
Tukey 1958).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.stats

from abside.report.stats.compare import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 64  # of people: enough for a normal interval, and few enough to sort a catalogue for each
TOP_SHARE = 0.01  # of the catalogue, whose share of all that was shown stands beside
CURVE_STEPS = 20  # of a Lorenz curve


@dataclass(frozen=True, slots=True)
class Gini:
    """One arm's coefficient over the whole catalogue.

    `corrected` is without its bias, `variance` of that; at a border (all items alike) it may be below 0. `curve`: the
    Lorenz curve, the share of all that was shown that the least shown 0, 5, … 100 % of the items have.
    """

    plain: float
    corrected: float
    variance: float
    top_share: float
    curve: tuple[float, ...]


def gini(counts: NDArray[np.int64]) -> float:
    """Return the coefficient of non-negative counts: 0 all alike, near 1 one has all. NaN where nothing was shown."""
    total, items = float(counts.sum()), len(counts)
    if not total:
        return math.nan
    ranks = 2 * np.arange(1, items + 1) - items - 1
    return float((ranks * np.sort(counts)).sum() / (items * total))


def jackknifed(counts: NDArray[np.int64]) -> Gini | None:
    """Return the coefficient from counts by group and item, GROUPS rows; None where one group has all of it."""
    whole = counts.sum(axis=0)
    without = np.array([gini(whole - one) for one in counts])
    if not whole.sum() or np.isnan(without).any():
        return None
    plain, groups = gini(whole), len(counts)
    corrected = groups * plain - (groups - 1) * float(without.mean())
    variance = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
    top = max(1, math.ceil(len(whole) * TOP_SHARE))
    return Gini(plain, corrected, variance, float(np.sort(whole)[-top:].sum() / whole.sum()), lorenz(whole))


def lorenz(counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Return the Lorenz curve at CURVE_STEPS equal steps of the catalogue, between its items linear."""
    so_far = np.concatenate([[0], np.cumsum(np.sort(counts))]) / counts.sum()
    at = np.linspace(0, len(counts), CURVE_STEPS + 1)
    return tuple(np.interp(at, np.arange(len(so_far)), so_far).tolist())


def compared(metric: str, variant: str, control: Gini | None, arm: Gini | None) -> Estimate:
    """Compare two arms: the difference of the corrected coefficients, which are independent."""
    values = (None if control is None else control.corrected, None if arm is None else arm.corrected)
    if control is None or arm is None:
        return Estimate(metric, variant, *values, reason="too few people were shown items")
    difference, spread = arm.corrected - control.corrected, math.sqrt(control.variance + arm.variance)
    if not spread:
        return Estimate(metric, variant, *values, difference=difference, reason="no group of people differs")
    half = float(scipy.stats.norm.ppf((1 + LEVEL) / 2)) * spread
    interval = (difference - half, difference + half)
    p = float(2 * scipy.stats.norm.sf(abs(difference) / spread))
    told = f"difference {difference:+.4f} ({interval[0]:+.4f} … {interval[1]:+.4f})"
    top = f"top {TOP_SHARE * 100:g} % of items: {control.top_share:.1%} of control, {arm.top_share:.1%}"
    return Estimate(
        metric, variant, *values, difference=difference, difference_interval=interval, p=p, reason=f"{told}; {top}"
    )
