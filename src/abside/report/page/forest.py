"""The lifts of a page beside each other: what the pictures of every form are drawn from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.page.cuts import Slice
    from abside.report.page.experiment import ExperimentPage

WIDEST = 2.0  # an interval beyond ±200 % is cut there
WIDE = 0.75  # of the intervals are shown whole
LEAST_SPAN = 0.01
LONGEST_KEY = 24


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a forest: fractions; `margins` are lines that a guardrail should not cross."""

    name: str
    lift: float | None
    interval: tuple[float, float] | None
    band: tuple[float, float] | None = None
    margins: tuple[float, ...] = ()


def page_bars(page: ExperimentPage) -> list[Bar]:
    """Return the lift of every metric that has one."""
    bars = []
    for one in (found for found in page.estimates if found.lift is not None):
        margin = page.analysis.guardrails.get(one.metric)
        ends = (margin.max_increase, None if margin.max_decrease is None else -margin.max_decrease) if margin else ()
        name = one.metric if len(page.arms) == 2 else f"{one.metric}, {one.variant}"
        bars.append(Bar(name, one.lift, one.lift_interval, one.band, tuple(end for end in ends if end is not None)))
    return bars


def slice_bars(slices: Sequence[Slice]) -> list[Bar]:
    """Return the lift of the primary in every slice."""
    return [
        Bar(f"{shortened(cut.key, LONGEST_KEY)}, {one.variant}", one.lift, one.lift_interval)
        for cut in slices
        for one in cut.estimates
    ]


def shortened(name: str, longest: int) -> str:
    """Return a name that fits; one that was cut ends with an ellipsis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def span_of(bars: Sequence[Bar]) -> float:
    """Return how far a forest reaches on both sides of zero: an interval of a few units must not flatten all others.

    WIDE of the intervals are inside; what reaches further is cut at the edge, and marked.
    """
    reaches = sorted(max(map(abs, bar.interval)) for bar in bars if bar.interval)
    if not reaches:
        reaches = sorted(abs(bar.lift) for bar in bars if bar.lift is not None) or [0.0]
    usual = reaches[math.ceil(len(reaches) * WIDE) - 1]
    return min(WIDEST, max(LEAST_SPAN, 1.2 * usual))
