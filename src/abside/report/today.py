"""A metric as it is today, from a store: what `abside plan --events` plans with. Counted by the report's own code.

Every exposure at the placement within a period is taken as one of an experiment with one variant, so that units, their
windows and what they did are those of the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import ibis

from abside.metric import METRICS
from abside.report.documents import read_documents
from abside.report.engines.choose import open_engine
from abside.report.page.remarks import not_computed
from abside.report.problem import EngineFailed, NotToday, StoreChanged, listed
from abside.report.report import metrics_of
from abside.report.settings import ReportSettings, events_place
from abside.report.store.clocks import corrected
from abside.report.store.exposures import overview
from abside.report.store.source import open_source
from abside.report.tally.units import Choice, Tally

if TYPE_CHECKING:
    from datetime import datetime

    from abside.metric import Metric, Term
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.moments import ArmFigures

LOOKS = 3  # as the report: a collector may merge files meanwhile
TODAY = "today"  # the experiment and the variant that every exposure is taken as one of
MAX_PLACEMENTS = 50  # named where there is none such
BEFORE = timedelta(days=1)  # of outcomes and logins before the period: more is not needed


@dataclass(frozen=True, slots=True)
class TodayAsk:
    """What to look up: `days` of first exposures, each with `window_days` for what the unit did afterwards."""

    events: str
    placement: str
    metric: str
    days: int
    window_days: int
    config: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricToday:
    """A metric of the units first exposed at a placement from `since` until before `until`.

    `sd`: over units; of a ratio that of its linear form, by the delta method, as the report has it.
    """

    metric: Metric
    units: int
    mean: float
    sd: float
    since: datetime
    until: datetime


def metric_today(ask: TodayAsk) -> MetricToday:
    """Look the metric up. Raises ReportProblem where the store or the documents do not have it."""
    config = tuple(map(Path, ask.config))
    settings = ReportSettings(events_place(ask.events), config)
    metrics, currency = metrics_of(read_documents(config)) if config else (METRICS, None)
    metric = _metric(ask.metric, metrics)
    for _ in range(LOOKS):
        try:
            with open_engine(settings, lambda _purpose: None) as engine:
                source = open_source(engine, settings.events)
                try:
                    return _looked_up(engine, source.events, ask, metric, currency)
                except EngineFailed as exc:
                    if not all(path.exists() for path in source.files):
                        raise StoreChanged from exc
                    raise
        except StoreChanged:
            continue
    raise EngineFailed(ask.events, f"the store changed under {LOOKS} looks; ask again")


def _metric(name: str, known: tuple[Metric, ...]) -> Metric:
    found = {one.name: one for one in known if one.kind != "gini"}
    if name not in found:
        close = get_close_matches(name, found, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(found)}"
        raise NotToday(f"--metric {name}", f"is no metric of units; {hint}")
    return found[name]


def _looked_up(engine: Engine, events: Table, ask: TodayAsk, metric: Metric, currency: str | None) -> MetricToday:
    events, _ = corrected(engine, events)
    seen = overview(engine, events, ())
    if reason := not_computed(metric, seen, currency):
        raise NotToday(f"--events {ask.events}", f"{metric.name} is not known there: {reason}")
    first, last = _ends(engine, events, ask)
    until = last - timedelta(days=ask.window_days)
    since = until - timedelta(days=ask.days)
    choice = Choice(
        experiment=TODAY,
        phase=1,
        unit="user_or_session",
        placements=(ask.placement,),
        window_seconds=ask.window_days * 86_400,
        metrics=(metric,),
        currency=currency,
    )
    near = events.filter(events.ts >= since - BEFORE)
    tally = Tally(engine, _relabelled(near, ask.placement, since, until), until, (metric,))
    arms = tally.count(choice).arms
    if not arms or arms[0].units < 2:
        period = f"from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC"
        reason = f"fewer than two units were exposed at {ask.placement} {period}, so that {ask.window_days} d after it"
        raise NotToday(f"--events {ask.events}", f"{reason} are over; {_sooner(ask, first, last)}")
    mean, sd = _moments(arms[0], metric)
    if not (mean > 0 and sd > 0):
        raise NotToday(f"--events {ask.events}", f"{metric.name} is {mean:g} for all {arms[0].units:,} units there")
    return MetricToday(metric, arms[0].units, mean, sd, since, until)


def _sooner(ask: TodayAsk, first: datetime, last: datetime) -> str:
    """Return what finds units, or from when on something will."""
    whole_days = (last - first).days
    if whole_days >= ask.window_days:
        return "write a smaller --window, or a larger --last"
    begun = f"the first exposure there was {first:%Y-%m-%d %H:%M} UTC"
    if whole_days:
        return f"{begun}: write --window {whole_days}, or wait"
    return f"{begun}: wait until {first + timedelta(days=1):%Y-%m-%d %H:%M} UTC, then write --window 1"


def _ends(engine: Engine, events: Table, ask: TodayAsk) -> tuple[datetime, datetime]:
    """Return when the placement's first exposure and the store's last event happened. Raises NotToday without any."""
    shown = events.filter(events.type == "exposure", events.placement.notnull())
    by_place = shown.group_by("placement").agg(rows=shown.count(), first=shown.ts.min())
    order = [(by_place.placement == ask.placement).desc(), by_place.rows.desc(), by_place.placement]
    rows = engine.rows("placements", by_place.order_by(order).limit(MAX_PLACEMENTS))
    names = [row["placement"] for row in rows]
    if ask.placement not in names:
        close = get_close_matches(ask.placement, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"found: {listed(names)}"
        raise NotToday(f"--placement {ask.placement}", f"has no exposure in {ask.events}; {hint}")
    last: datetime = engine.rows("the last event", events.agg(last=events.ts.max()))[0]["last"]
    return rows[0]["first"], last


def _relabelled(events: Table, placement: str, since: datetime, until: datetime) -> Table:
    """Take each exposure of the period at the placement as one of TODAY, and every other one as none."""
    is_mine = (events.type == "exposure") & (events.placement == placement)
    is_mine &= (events.ts >= since) & (events.ts < until)
    name = ibis.ifelse(is_mine.fill_null(False), ibis.literal(TODAY), ibis.null("string"))
    return events.mutate(experiment=name, variant=name, phase=ibis.literal(1, events.phase.type()))


def _moments(arm: ArmFigures, metric: Metric) -> tuple[float, float]:
    """Return mean and standard deviation over units.

    Source of a ratio's: Deng et al., "Applying the delta method in metric analytics", KDD 2018, equation 6.
    """
    above, below = metric.above, metric.below
    x, xx = _mean(arm, above), _variance(arm, above, above)
    if below is None:
        return x, sqrt(xx)
    y = _mean(arm, below)
    if y == 0:
        return 0.0, 0.0
    ratio = x / y
    linear = xx - 2 * ratio * _variance(arm, above, below) + ratio**2 * _variance(arm, below, below)
    return ratio, sqrt(max(0.0, linear)) / y


def _mean(arm: ArmFigures, term: Term) -> float:
    return arm.sums[term.column] / arm.units / term.scale


def _variance(arm: ArmFigures, left: Term, right: Term) -> float:
    """Return the covariance of two terms over units, from exact integers; n - 1 below."""
    scales = left.scale * right.scale
    product = arm.products[left.column, right.column] * arm.units - arm.sums[left.column] * arm.sums[right.column]
    return product / arm.units / (arm.units - 1) / scales
