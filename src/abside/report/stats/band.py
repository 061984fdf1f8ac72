"""The always-valid band: an interval of the lift that holds at every look, not at one.

An asymptotic confidence sequence (Waudby-Smith et al. 2021, arXiv 2103.06476), tightest at the units that were planned.
"""

from __future__ import annotations

import math

ALPHA = 0.05
Z = 1.959964  # of the fixed interval's level


def always_valid(
    lift: float, interval: tuple[float, float], *, units: int, planned: float
) -> tuple[float, float] | None:
    """Return the band around a lift, from its fixed 95 % interval of the log of the ratio; None where there is none."""
    if lift <= -1 or interval[0] <= -1 or units < 1 or planned <= 0:
        return None
    error = (math.log1p(interval[1]) - math.log1p(interval[0])) / (2 * Z)
    rho_squared = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / planned
    grown = units * rho_squared + 1
    width = math.sqrt(2 * grown / (units**2 * rho_squared) * math.log(math.sqrt(grown) / ALPHA))
    half = error * math.sqrt(units) * width
    return math.expm1(math.log1p(lift) - half), math.expm1(math.log1p(lift) + half)
