"""`abside plan`: how many units an experiment needs to see a lift, and how many days that takes.

The sample size is tea-tasting's power analysis of a difference of means, by the normal approximation; the variance of
a rate p is p (1 - p), the base rate's in both arms.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import orjson
from tea_tasting import Mean
from tea_tasting.aggr import Aggregates

from abside.snapshot import BASIS_POINTS
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.document.wording import shown_percent, shown_split, written_percent

if TYPE_CHECKING:
    from abside_agent.settings import PlanSettings

RAMP = (100, 500, 2000, 5000, BASIS_POINTS)  # basis points of traffic: the ramp of the guide, and everyone
_RATE = "rate"


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of an experiment. `units`: in all arms together; `days`: (traffic in basis points, days)."""

    units: int
    days: tuple[tuple[int, int], ...]


def main(settings: PlanSettings) -> int:
    """Print the plan. Return 0; 2 where a rate or a lift is out of range."""
    lifted = settings.base * (BASIS_POINTS + settings.lift) / BASIS_POINTS
    if refusal := _refusal(settings, lifted):
        return refuse("plan", refusal)
    found = plan(settings)
    sys.stdout.write(_json(found) if settings.json else _text(found, settings, lifted))
    return ExitCode.DONE


def plan(settings: PlanSettings) -> Plan:
    """Solve for the units of the control and the smallest other arm, and add the other arms."""
    base, lift = settings.base / BASIS_POINTS, settings.lift / BASIS_POINTS
    control, *others = settings.split
    rate = Aggregates(count_=2, mean_={_RATE: base}, var_={_RATE: base * (1 - base)})
    test = Mean(
        _RATE,
        use_t=False,
        alpha=settings.alpha / BASIS_POINTS,
        power=settings.power / BASIS_POINTS,
        ratio=min(others) / control,
        rel_effect_size=lift,
    )
    (solved,) = test.solve_power(rate, "n_obs")
    units = ceil(solved.n_obs * BASIS_POINTS / (control + min(others)))
    days = tuple((traffic, ceil(units * BASIS_POINTS / (settings.units_per_day * traffic))) for traffic in RAMP)
    return Plan(units, days)


def _refusal(settings: PlanSettings, lifted: float) -> str:
    if not 0 < settings.base < lifted < BASIS_POINTS:
        return "the base rate and the rate with the lift lie between 0% and 100%, and differ"
    if not (0 < settings.alpha < BASIS_POINTS and 0 < settings.power < BASIS_POINTS):
        return "alpha and power are above 0% and below 100%"
    return "" if settings.units_per_day else "units a day are at least 1"


def _text(found: Plan, settings: PlanSettings, lifted: float) -> str:
    split = shown_split(settings.split)
    lines = [
        f"To see {shown_percent(settings.base)} become {lifted / 100:.4g} %, a lift of {shown_percent(settings.lift)},",
        f"at a split of {split}, with {shown_percent(settings.alpha)} error and {shown_percent(settings.power)} power:",
        "",
        f"{found.units:,} units in the experiment",
        "",
        f"traffic   days at {settings.units_per_day:,} eligible units a day",
        *(f"{shown_percent(traffic):>7}   {days:,}" for traffic, days in found.days),
        "",
        "Units that come back count once: where most shoppers return within days, it takes longer. Run whole weeks,",
        "and then wait for the window of the metric, so that the last unit has its time too.",
    ]
    return "\n".join(lines) + "\n"


def _json(found: Plan) -> str:
    days = [{"traffic": written_percent(traffic), "days": days} for traffic, days in found.days]
    return orjson.dumps({"units": found.units, "days": days}, option=orjson.OPT_INDENT_2).decode() + "\n"
