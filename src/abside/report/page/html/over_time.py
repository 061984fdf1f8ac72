"""What grows: the lift of each arm and its share by day, and the lift by the days since the first exposure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from abside.report.page import rows
from abside.report.page.html.markup import heading, paragraph, table
from abside.report.page.html.svg import Point, line
from abside.report.page.rows import Grid
from abside.report.page.words import NONE, as_p, share

if TYPE_CHECKING:
    from abside.report.page.experiment import ExperimentPage

RATIO_Z = 3.2905  # two-sided p = 0.001


def over_time(page: ExperimentPage) -> list[str]:
    """Draw the growing lift of each arm, the sample ratio as it grew, and the days since the first exposure."""
    body, cuts = [], page.cuts
    if len(cuts.days) > 1:
        body.append(heading(f"{page.analysis.primary} at the end of each day"))
        has_band = any(one.band is not None for cut in cuts.days for one in cut.estimates)
        bands = "dark the 95 % interval, pale the always-valid one" if has_band else "shaded the 95 % interval"
        body.append(paragraph(f"Persons first exposed, and outcomes, until then; {bands}.", "dim"))
        for arm in page.arms:
            points = [
                Point(cut.key[5:], one.lift, one.lift_interval, one.band)
                for cut in cuts.days
                for one in cut.estimates
                if one.variant == arm.variant
            ]
            if points:
                body.append(line(f"Lift of {arm.variant} at the end of each day", points, 0.0))
        body += [table(rows.slices(page, cuts.days, "day")), *_ratio_by_day(page)]
    if len(cuts.since) > 1:
        body.append(heading(f"{page.analysis.primary}, on each day since the first exposure"))
        for arm in page.arms:
            points = [
                Point(cut.key, one.lift, one.lift_interval)
                for cut in cuts.since
                for one in cut.estimates
                if one.variant == arm.variant
            ]
            if points:
                body.append(line(f"Lift of {arm.variant} by days since the first exposure", points, 0.0))
        body.append(table(rows.slices(page, cuts.since, "day since")))
    return body


def _ratio_by_day(page: ExperimentPage) -> list[str]:
    """Draw the share of each arm that grows, within the band that only one look in a thousand leaves."""
    body = []
    whole = sum(page.sample_ratio.expected.values())
    for variant, expected in page.sample_ratio.expected.items():
        if variant == page.control or not whole:
            continue
        weight, points, told = expected / whole, [], []
        for cut in page.cuts.days:
            total = sum(cut.units.values())
            reach = RATIO_Z * math.sqrt(weight * (1 - weight) / total) if total else 0.0
            found = cut.units.get(variant, 0) / total if total else None
            points.append(Point(cut.key[5:], found, outer=(weight - reach, weight + reach)))
            units = " / ".join(f"{count:,}" for count in cut.units.values())
            p = NONE if cut.sample_ratio.p is None else as_p(cut.sample_ratio.p)
            told.append((cut.key, units, share(cut.units.get(variant, 0), total), p))
        body.append(heading(f"Share of {variant} by day, with the band of p = 0.001"))
        body += [line(f"Share of {variant}", points, weight), table(Grid(("day", "units", "share", "p"), tuple(told)))]
    return body
