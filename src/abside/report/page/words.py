"""Figures in words, the same in every form of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from abside.report.stats.ratio import ALARM as ALARM_P

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.metric import Metric
    from abside.report.page.experiment import ExperimentPage
    from abside.report.stats.compare import Estimate, Interval
    from abside.report.store.clocks import Clock

NONE = "-"
LEAST_P = 1e-99  # below it a double has little to say
LARGE = 100  # a number from here on has one digit after its point
CLOCKS_SHOWN = 5  # the worst


def files_words(files: int, whole: int) -> str:
    """Return how many files there are, and of how many only a part was read."""
    if whole == files:
        return f"{files:,} files"
    return f"{whole:,} of {files:,} files (of the others only exposures, logins and what sidecars say)"


Tone = Literal["", "dim", "note", "alarm"]


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence, and how loud it is."""

    text: str
    tone: Tone = ""


def sentence(page: ExperimentPage) -> str:
    """Return the page in one sentence, mechanically: the sample ratio, the primary, guardrails, how far it is."""
    ratio = page.sample_ratio
    first = "sample ratio not estimable" if ratio.p is None else f"sample ratio p = {as_p(ratio.p)}"
    if ratio.is_mismatch:
        first = f"SAMPLE RATIO MISMATCH (p = {as_p(ratio.p or 0)})"
    primary = [one for one in page.estimates if one.role == "primary"]
    told = [
        f"{one.variant} {as_lift(one.lift)} ({as_interval(one.lift_interval)})"
        if one.lift is not None
        else f"{one.variant} not estimable"
        for one in primary
    ]
    lifts = f"{page.analysis.primary}: {', '.join(told) or 'no arm beside control'}"
    beyond = [
        f"{one.metric} of {one.variant} {one.label}" for one in page.estimates if one.label and one.label != "inside"
    ]
    guarded = [f"guardrails not inside: {', '.join(beyond)}"] if beyond else []
    if page.analysis.guardrails and not beyond:
        guarded = ["all guardrails inside"]
    return "; ".join([first, lifts, *guarded, page.state]) + "."


def written(metric: Metric, value: float | None, value_unit: str = "") -> str:
    """Return a metric's value as people read it, with what it is in."""
    text = as_share(value) if metric.is_share else as_number(value)
    return f"{text} {value_unit}" if value_unit and value is not None else text


def as_lift(lift: float | None) -> str:
    """Return a lift in percent."""
    return NONE if lift is None else f"{lift:+.2%}"


def sample_ratio_words(page: ExperimentPage) -> str:
    """Return how the units fell."""
    found = page.sample_ratio
    if found.p is None:
        return f"sample ratio: not estimable, {found.reason}"
    if found.is_mismatch:
        told = ", ".join(
            f"{name} {count:,} of {found.expected[name]:,.0f} expected" for name, count in found.units.items()
        )
        return f"SAMPLE RATIO MISMATCH, p = {as_p(found.p)}: {told}. Something decides who is counted."
    if found.is_watched:
        return f"sample ratio: p = {as_p(found.p)}, watch it: seldom by chance, and below {ALARM_P} it is a mismatch"
    return f"sample ratio: p = {as_p(found.p)}, as the weights say"


def clocks_words(clocks: Sequence[Clock]) -> str:
    """Name the clocks that differ."""
    told = [
        f"{one.sidecar or 'unnamed sidecars'} {abs(one.ahead_seconds):,.0f} s "
        f"{'ahead' if one.ahead_seconds > 0 else 'behind'} ({one.rows:,} events)"
        for one in clocks[:CLOCKS_SHOWN]
    ]
    more = f" and {len(clocks) - CLOCKS_SHOWN:,} more" if len(clocks) > CLOCKS_SHOWN else ""
    return f"clocks that differ from the collector's: {', '.join(told)}{more}; their times are corrected"


def comparison(one: Estimate) -> tuple[str, ...]:
    """Return the cells of one comparison: lift, interval, band, p, adjusted p, and what is to be said."""
    lift = NONE if one.lift is None else f"{one.lift:+.2%}"
    label = f"{one.label} the margin, {one.margin}" if one.label else ""
    said = "; ".join(filter(None, (label, one.reason or one.warning)))
    p, adjusted = (NONE if found is None else as_p(found) for found in (one.p, one.p_adjusted))
    return lift, as_interval(one.lift_interval), as_interval(one.band), p, adjusted, said


def as_interval(interval: Interval | None) -> str:
    """Return an interval of a lift in percent."""
    return NONE if interval is None else f"{interval[0]:+.2%} … {interval[1]:+.2%}"


def as_share(value: float | None) -> str:
    """Return a share in percent."""
    return NONE if value is None else f"{value:.3%}"


def as_number(value: float | None) -> str:
    """Return a number as people read it."""
    return NONE if value is None else f"{value:,.4f}" if abs(value) < LARGE else f"{value:,.1f}"


def as_p(p: float) -> str:
    """Return p."""
    if p < LEAST_P:
        return f"<{LEAST_P:.0e}"
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def share(part: int, whole: int) -> str:
    """Return a part of a whole in percent."""
    return percent(part / whole, 2) if whole else NONE


def percent(value: float, digits: int) -> str:
    """Return a fraction in percent."""
    return f"{value:.{digits}%}"


def moment(at: datetime) -> str:
    """Return a moment, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def dates(first: datetime | None, last: datetime | None) -> str:
    """Return a span."""
    return f"{moment(first)} to {moment(last)}" if first and last else "no dates"


def duration(seconds: int) -> str:
    """Return seconds in the largest whole unit."""
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
