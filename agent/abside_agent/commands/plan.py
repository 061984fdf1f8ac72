"""`abside plan`: the units and days that an experiment needs to see a lift, or the lift that so many days can show.

The sample size is tea-tasting's power analysis of a difference of means, by the normal approximation; the variance of
a rate p is p (1 - p), the base rate's in both arms, and that of a mean the square of its standard deviation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING, Any

import orjson
from tea_tasting import Mean
from tea_tasting.aggr import Aggregates

from abside.snapshot import BASIS_POINTS
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.document.wording import counted, shown_percent, shown_split, written_percent

if TYPE_CHECKING:
    from abside.report.today import MetricToday
    from abside_agent.settings import PlanSettings

METRIC, LAST_DAYS, WINDOW_DAYS = "revenue_per_user", 14, 7  # where --events alone is given; the report's own window
# Settings that mean nothing without --events. --config says so itself: its variable may be set for the agent.
OF_EVENTS = ("placement", "metric", "last", "window")
RAMP = (100, 500, 2000, 5000, BASIS_POINTS)  # basis points of traffic: the ramp of the guide, and everyone
_METRIC = "metric"


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of an experiment. `units`: in all arms together; `days`: (traffic in basis points, days)."""

    units: int
    days: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen in given days at a share of traffic. `lift`: relative, 0.02 is 2 %; None: no lift at all.

    `traffic`: basis points; `units`: in all arms together.
    """

    traffic: int
    units: int
    lift: float | None


def main(settings: PlanSettings) -> int:
    """Print the plan. Return 0; 1 where a store does not have the metric; 2 where a number is wrong, or missing."""
    if refusal := _refusal(settings):
        return refuse("plan", refusal)
    found: MetricToday | None = None
    if settings.events is not None:
        from abside.report.problem import ReportProblem  # noqa: PLC0415 only a store needs DuckDB, which takes a second

        try:
            found = _from_store(settings, settings.events)
        except ReportProblem as exc:
            return refuse("plan", exc, ExitCode.PROBLEMS)
        settings = replace(settings, mean=found.mean, sd=found.sd)
    known = {} if found is None else _store_json(found)
    said = "" if found is None else _store_text(found, settings)
    if settings.days is not None:
        seen = sights(settings, settings.days, most=_most(found))
        sys.stdout.write(_sights_json(seen, known) if settings.json else said + _sights_text(seen, settings))
    elif found is not None and found.mean * (1 + (settings.lift or 0) / BASIS_POINTS) >= _most(found):
        return refuse("plan", f"{found.metric.name} is {found.mean:.4g}, and cannot be lifted to 100 % or above")
    else:
        planned = plan(settings)
        sys.stdout.write(_json(planned, known) if settings.json else said + _text(planned, settings))
    return ExitCode.DONE


def _from_store(settings: PlanSettings, events: str) -> MetricToday:
    """Look the metric up. Raises ReportProblem."""
    from abside.report.today import TodayAsk, metric_today  # noqa: PLC0415 as above

    return metric_today(
        TodayAsk(
            events,
            settings.placement or "",
            settings.metric or METRIC,
            settings.last or LAST_DAYS,
            settings.window or WINDOW_DAYS,
            settings.config,
        )
    )


def _most(found: MetricToday | None) -> float:
    """Return what a metric is always below: a share of units cannot be lifted above all of them."""
    return 1.0 if found is not None and found.metric.kind == "proportion" else inf


def plan(settings: PlanSettings) -> Plan:
    """Solve for the units of the control and the smallest other arm, and add the other arms."""
    lift = (settings.lift or 0) / BASIS_POINTS
    (solved,) = _test(settings, rel_effect_size=lift).solve_power(_today(settings), "n_obs")
    units = ceil(solved.n_obs / _compared(settings))
    days = tuple((traffic, ceil(units * BASIS_POINTS / (settings.units_per_day * traffic))) for traffic in RAMP)
    return Plan(units, days)


def sights(settings: PlanSettings, days: int, *, most: float = inf) -> tuple[Sight, ...]:
    """Solve for the smallest lift that so many days show, at each share of traffic. `most`: the mean is below it.

    A rate cannot be lifted above 100 %, and two units of two arms show nothing: None there.
    """
    found = []
    for traffic in RAMP:
        units = days * settings.units_per_day * traffic // BASIS_POINTS
        compared = int(units * _compared(settings))
        lift = None
        if compared * min(settings.split) >= 2 * sum(settings.split):
            (solved,) = _test(settings, n_obs=compared).solve_power(_today(settings), "rel_effect_size")
            lift = solved.rel_effect_size
        if lift is not None and settings.base is not None and settings.base * (1 + lift) >= BASIS_POINTS:
            lift = None
        if lift is not None and settings.mean is not None and settings.mean * (1 + lift) >= most:
            lift = None
        found.append(Sight(traffic, units, lift))
    return tuple(found)


def _test(settings: PlanSettings, **known: float) -> Mean:
    control, *others = settings.split
    alpha, power = settings.alpha / BASIS_POINTS, settings.power / BASIS_POINTS
    return Mean(_METRIC, use_t=False, alpha=alpha, power=power, ratio=min(others) / control, **known)


def _today(settings: PlanSettings) -> Aggregates:
    """Return the metric as it is today; the count is not used."""
    if settings.base is not None:
        base = settings.base / BASIS_POINTS
        mean, variance = base, base * (1 - base)
    else:
        mean, variance = settings.mean or 0.0, (settings.sd or 0.0) ** 2
    return Aggregates(count_=2, mean_={_METRIC: mean}, var_={_METRIC: variance})


def _compared(settings: PlanSettings) -> float:
    """Return the share of the units that are in the control or the smallest other arm."""
    control, *others = settings.split
    return (control + min(others)) / BASIS_POINTS


def _refusal(settings: PlanSettings) -> str:
    if settings.events is not None:
        if any(one is not None for one in (settings.base, settings.mean, settings.sd)):
            return "--events takes the metric from a store: leave --base, --mean and --sd out (or ABSIDE_EVENTS)"
        if settings.placement is None:
            return "--events needs --placement: where are the units first exposed?"
    elif given := [name for name in OF_EVENTS if getattr(settings, name)]:
        return f"--{given[0]} goes with --events: from which store?"
    elif (settings.base is None) == (settings.mean is None) or (settings.mean is None) != (settings.sd is None):
        return "write --base for a rate, or --mean and --sd (its standard deviation over units) for a mean, as revenue"
    if (settings.lift is None) == (settings.days is None):
        return "write --lift for the days that it needs, or --days for the lift that they show"
    base, lift = settings.base, settings.lift or 0
    if base is not None and not 0 < base < BASIS_POINTS:
        return "the base rate lies between 0% and 100%"
    if base is not None and lift and base * (BASIS_POINTS + lift) / BASIS_POINTS >= BASIS_POINTS:
        return "the base rate and the rate with the lift lie between 0% and 100%, and differ"
    if settings.lift == 0:
        return "a lift of 0% needs units without end: write the smallest one that is worth it"
    if settings.mean is not None and not (settings.mean > 0 and (settings.sd or 0) > 0):
        return "--mean and --sd are above 0"
    if not (0 < settings.alpha < BASIS_POINTS and 0 < settings.power < BASIS_POINTS):
        return "alpha and power are above 0% and below 100%"
    return ""


def _store_text(found: MetricToday, settings: PlanSettings) -> str:
    a_day = found.units / (settings.last or LAST_DAYS)
    lines = [
        f"{found.metric.name} at {settings.placement}: mean {found.mean:.6g}, standard deviation {found.sd:.6g}, of",
        f"{found.units:,} units first exposed from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC,",
        f"each with {counted(settings.window or WINDOW_DAYS, 'day')} afterwards: {a_day:,.0f} new units a day",
        "",
    ]
    return "\n".join(lines) + "\n"


def _store_json(found: MetricToday) -> dict[str, Any]:
    return {
        "today": {
            "metric": found.metric.name,
            "units": found.units,
            "mean": found.mean,
            "sd": found.sd,
            "since": found.since.isoformat(),
            "until": found.until.isoformat(),
        }
    }


def _metric(settings: PlanSettings) -> str:
    if settings.base is not None:
        return shown_percent(settings.base)
    return f"a mean of {settings.mean:.6g} with a standard deviation of {settings.sd:.6g}"


def _terms(settings: PlanSettings) -> str:
    split = shown_split(settings.split)
    return (
        f"at a split of {split}, with {shown_percent(settings.alpha)} error and {shown_percent(settings.power)} power:"
    )


def _text(found: Plan, settings: PlanSettings) -> str:
    lift = settings.lift or 0
    if settings.base is not None:
        lifted = f"{settings.base * (BASIS_POINTS + lift) / BASIS_POINTS / 100:.4g} %"
    else:
        lifted = f"{(settings.mean or 0) * (BASIS_POINTS + lift) / BASIS_POINTS:.6g}"
    lines = [
        f"To see {_metric(settings)} become {lifted}, a lift of {shown_percent(lift)},",
        _terms(settings),
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


def _sights_text(seen: tuple[Sight, ...], settings: PlanSettings) -> str:
    days, a_day = counted(settings.days or 0, "day"), f"{settings.units_per_day:,} new eligible units a day"
    lines = [
        f"The smallest lift of {_metric(settings)} that {days} at {a_day} show,",
        _terms(settings),
        "",
        "traffic   lift       units in the experiment",
        *(f"{shown_percent(one.traffic):>7}   {_lift(one.lift):<9}  {one.units:,}" for one in seen),
        "",
        "Units that come back count once: where most return within days, they are fewer, and the lift is larger.",
    ]
    return "\n".join(lines) + "\n"


def _lift(lift: float | None) -> str:
    return "none" if lift is None else f"{lift * 100:.3g} %"


def _json(found: Plan, known: dict[str, Any]) -> str:
    days = [{"traffic": written_percent(traffic), "days": days} for traffic, days in found.days]
    return orjson.dumps({**known, "units": found.units, "days": days}, option=orjson.OPT_INDENT_2).decode() + "\n"


def _sights_json(seen: tuple[Sight, ...], known: dict[str, Any]) -> str:
    rows = [{"traffic": written_percent(one.traffic), "units": one.units, "lift": one.lift} for one in seen]
    return orjson.dumps({**known, "lifts": rows}, option=orjson.OPT_INDENT_2).decode() + "\n"
