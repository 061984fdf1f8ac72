"""An A/A test as a page: what a sound pipeline shows, what this one does, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.report.page.rows import Grid
from abside.report.page.words import NONE, Line, as_interval, as_p
from abside.report.problem import listed
from abside.report.stats.aa import AaCheck, AaInterval
from abside.report.stats.ratio import ALARM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.report.page.experiment import ExperimentPage
    from abside.report.stats.aa import AaCount


def aa_check(pages: Sequence[ExperimentPage]) -> AaCheck:
    """Read pages as A/A tests: every fixed interval should hold 0."""
    found = [(page.experiment.id, one) for page in pages for one in page.estimates]
    intervals = [
        AaInterval(name, one.metric, one.variant, interval)
        for name, one in found
        if (interval := one.lift_interval or one.difference_interval) is not None
    ]
    treated = [page.experiment.id for page in pages if any(arm.parameters for arm in page.experiment.variants)]
    ratios = {page.experiment.id: page.sample_ratio.p for page in pages}
    return AaCheck(tuple(intervals), ratios, tuple(treated), len(found) - len(intervals))


def aa_lines(check: AaCheck) -> list[Line]:
    """Return the check in words: a mechanical sentence, what it rests on, and what is no A/A test."""
    whole = check.whole
    said = [Line(_verdict(check), "alarm" if check.is_alarm else "")]
    if whole.p is not None:
        said.append(
            Line(
                f"{whole.missed} of {whole.intervals} 95 % intervals do not hold 0; {whole.expected:.1f} are expected "
                f"by chance, and as many or more happen with probability {as_p(whole.p)} if they are independent. "
                "Those of one experiment are of the same people, and move together: repeat with other experiments."
            )
        )
    told = [f"{name} p = {NONE if p is None else as_p(p)}" for name, p in check.ratios.items()]
    said.append(Line(f"sample ratio: {listed(told)}"))
    if check.not_estimable:
        said.append(Line(f"{check.not_estimable} comparisons have no interval and are not counted", "dim"))
    if check.treated:
        words = "sets parameters in a variant" if len(check.treated) == 1 else "set parameters in a variant"
        said.append(Line(f"{listed(check.treated)} {words}: no A/A test, what is found may be its effect", "note"))
    return said


def _verdict(check: AaCheck) -> str:
    """Return one of a few sentences; figures are in the next."""
    if check.mismatches:
        return (
            f"A/A: sample ratio mismatch in {listed(check.mismatches)}. The arms are alike and something decides who "
            "is counted in which: look for it before any other test is read."
        )
    if check.whole.p is None:
        return "A/A: no comparison has an interval, so nothing is checked. It takes two arms with units and outcomes."
    if check.is_alarm:
        return (
            f"A/A: more intervals miss 0 than chance explains (p < {ALARM:g}). The arms are alike, so the difference "
            "comes from assignment, from what is logged, or from how it is counted."
        )
    return "A/A: nothing that chance does not explain. A smaller fault may hide in intervals of this width."


def aa_grids(check: AaCheck) -> list[Grid]:
    """Return the counts by metric and by arm, and the intervals that do not hold 0."""
    metrics, arms = check.by(lambda one: one.metric), check.by(_arm)
    missed = [(_arm(one), one.metric, as_interval(one.interval)) for one in check.intervals if not one.holds_zero]
    grids = [_counts("metric", metrics), _counts("arm", arms)] if check.intervals else []
    return [*grids, *([Grid(("does not hold 0", "metric", "95 % interval"), tuple(missed), 2)] if missed else [])]


def _arm(one: AaInterval) -> str:
    return f"{one.experiment}, {one.variant}"


def _counts(name: str, counts: Mapping[str, AaCount]) -> Grid:
    rows = [
        (key, f"{one.intervals}", f"{one.missed}", f"{one.expected:.2f}", NONE if one.p is None else as_p(one.p))
        for key, one in counts.items()
    ]
    return Grid((name, "intervals", "do not hold 0", "expected", "p of as many"), tuple(rows))


def aa_fields(check: AaCheck | None) -> dict[str, Any] | None:
    """Return the check as plain data; None where it was not asked for."""
    if check is None:
        return None
    return {
        "is_alarm": check.is_alarm,
        "whole": check.whole,
        "by_metric": check.by(lambda one: one.metric),
        "by_arm": check.by(_arm),
        "missed": [one for one in check.intervals if not one.holds_zero],
        "sample_ratios": check.ratios,
        "mismatches": check.mismatches,
        "not_estimable": check.not_estimable,
        "treated": check.treated,
    }
