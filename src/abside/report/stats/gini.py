"""How unequally the items of a catalogue were shown: the Gini coefficient, its interval by a jackknife over people.

The plain coefficient of a small sample is too high, and more so in the smaller arm: at arms of 10:1 its interval covers
far too seldom. Deleting one of 64 groups of people at a time gives both the bias and the variance (Quenouille 1956,
Tukey 1958). That takes a bias to shrink with the number of people; among items that are shown almost alike it shrinks
with the root of it, and half of it stays. So arms of different size are compared at the size of the smaller one, where
what stays is alike in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from abside.report.stats.compare import LEVEL, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 64  # of people: enough for a normal interval, and few enough to sort a catalogue for each
TOP_SHARE = 0.01  # of the catalogue, whose share of all that was shown stands beside
CURVE_STEPS = 20  # of a Lorenz curve
PARTS = (1, 2, 4, 8, 16, 32, 64)  # into which an arm is parted; of GROUPS at most


@dataclass(frozen=True, slots=True)
class Gini:
    """One arm's coefficient over the whole catalogue.

    `corrected` is without its bias, `variance` of that; at a border (all items alike) it may be below 0. `curve`: the
    Lorenz curve, the share of all that was shown that the least shown 0, 5, … 100 % of the items have. `of_parts`: the
    corrected coefficient as it is on average in a whole arm, half of it, a quarter, …
    """

    plain: float
    corrected: float
    variance: float
    top_share: float
    curve: tuple[float, ...]
    shown: int
    of_parts: tuple[float, ...]

    def of_size(self, shown: int) -> float:
        """Return the corrected coefficient as it would be on average, had less been shown to fewer people."""
        roots, root = np.sqrt(PARTS[: len(self.of_parts)]), math.sqrt(max(1.0, self.shown / shown))
        if root <= roots[-1] or len(roots) == 1:
            return float(np.interp(root, roots, self.of_parts))
        slope = (self.of_parts[-1] - self.of_parts[-2]) / (roots[-1] - roots[-2])
        return min(1.0, float(self.of_parts[-1] + slope * (root - roots[-1])))


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
    share = float(np.sort(whole)[-top:].sum() / whole.sum())
    of_parts = (corrected, *_corrected_parts(counts))
    return Gini(plain, corrected, variance, share, lorenz(whole), int(whole.sum()), of_parts)


def _corrected_parts(counts: NDArray[np.int64]) -> list[float]:
    """Return the corrected coefficient of half an arm, a quarter, …, each the mean over all such parts.

    A bias that is c by the number of people n is taken off by adding n times the slope; by the root u = n ** -0.5 it is
    u / 2 times the slope that is taken off, here of the parabola through a size and those beside it.
    """
    plain = []
    for parts in PARTS:
        found = [gini(one) for one in counts.reshape(-1, parts, counts.shape[1]).sum(axis=0)]
        if np.isnan(found).any():
            break  # a part without anything shown
        plain.append(float(np.mean(found)))
    roots = np.sqrt(PARTS[: len(plain)])
    slopes = np.gradient(plain, roots) if len(plain) > 2 else np.zeros(len(plain))
    return [plain[index] - float(roots[index] * slopes[index]) / 2 for index in range(1, len(plain) - 1)]


def lorenz(counts: NDArray[np.int64]) -> tuple[float, ...]:
    """Return the Lorenz curve at CURVE_STEPS equal steps of the catalogue, between its items linear."""
    so_far = np.concatenate([[0], np.cumsum(np.sort(counts))]) / counts.sum()
    at = np.linspace(0, len(counts), CURVE_STEPS + 1)
    return tuple(np.interp(at, np.arange(len(so_far)), so_far).tolist())


def compared(metric: str, variant: str, control: Gini | None, arm: Gini | None) -> Estimate:
    """Compare two arms, which are independent: their corrected coefficients at the size of the smaller one."""
    values = (None if control is None else control.corrected, None if arm is None else arm.corrected)
    if control is None or arm is None:
        return Estimate(metric, variant, *values, reason="too few people were shown items")
    least = min(control.shown, arm.shown)
    difference, spread = arm.of_size(least) - control.of_size(least), math.sqrt(control.variance + arm.variance)
    if not spread:
        return Estimate(metric, variant, *values, difference=difference, reason="no group of people differs")
    import scipy.stats  # noqa: PLC0415 see load_statistics

    half = float(scipy.stats.norm.ppf((1 + LEVEL) / 2)) * spread
    interval = (difference - half, difference + half)
    p = float(2 * scipy.stats.norm.sf(abs(difference) / spread))
    told = f"difference {difference:+.4f} ({interval[0]:+.4f} … {interval[1]:+.4f})"
    top = f"top {TOP_SHARE * 100:g} % of items: {control.top_share:.1%} of control, {arm.top_share:.1%}"
    return Estimate(
        metric, variant, *values, difference=difference, difference_interval=interval, p=p, reason=f"{told}; {top}"
    )
