"""Two arms' moments → lift, interval and p, by tea-tasting; and in words why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from abside.metric import OWN_COLUMN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tea_tasting.aggr import Aggregates

    from abside.metric import Metric, Term
    from abside.report.tally.moments import ArmFigures

LEVEL = 0.95
FEW_UNITS = 100  # of an arm: below it a mean of skewed values is far from normal
FEW_DID = 10  # of an arm, on either side of a proportion: the textbooks' bound for its normal approximation
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric of one arm against control. Fractions, not percent; None is not estimable, `reason` says why.

    `p` and the interval of the difference are of the difference of the means; the lift's is of the log of their ratio.
    At the border of significance the two may differ.
    """

    metric: str
    variant: str
    control: float | None
    value: float | None
    difference: float | None = None
    difference_interval: Interval | None = None
    lift: float | None = None
    lift_interval: Interval | None = None
    p: float | None = None
    reason: str = ""
    warning: str = ""  # the interval stands on few units
    role: str = ""
    band: Interval | None = None  # always valid, of the lift; None without planned units
    p_adjusted: float | None = None  # for its family: Holm over arms, Benjamini-Hochberg over metrics
    margin: str = ""  # of a guardrail
    label: str = ""  # inside, crosses, outside


def load_statistics() -> None:
    """Load the libraries that figures are made with: when the first is asked for, or before, in another thread."""
    import scipy.stats  # noqa: F401, PLC0415 see above
    import tea_tasting.aggr  # noqa: F401, PLC0415 see above


def value_of(metric: Metric, arm: ArmFigures) -> float | None:
    """Return the raw figure of one arm; None where there is nothing to divide by."""
    above = Fraction(arm.sums[metric.above.column], metric.above.scale)
    below = arm.units if metric.below is None else Fraction(arm.sums[metric.below.column], metric.below.scale)
    return float(above / below) if below else None


def estimate(metric: Metric, control: ArmFigures, arm: ArmFigures) -> Estimate:
    """Compare an arm with control.

    Proportions: z test with unpooled variance, interval of the log risk ratio (Katz et al. 1978). Means: Welch's t.
    Ratios: Welch's t over the delta method's variance (Deng et al. 2018).
    """
    found = Estimate(metric.name, arm.variant, value_of(metric, control), value_of(metric, arm))
    reason = _not_estimable(metric, control, arm)
    if reason:
        return replace(found, reason=reason)
    result = _result(metric, control, arm)
    return replace(
        found,
        difference=_finite(result.effect_size),
        difference_interval=_interval(result.effect_size_ci_lower, result.effect_size_ci_upper),
        lift=_finite(result.rel_effect_size),
        lift_interval=_interval(result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper),
        p=_finite(result.pvalue),
        reason=_no_lift(metric, control, arm),
        warning=few(metric, control, arm),
    )


def adjusted(metric: Metric, before: Term, control: ArmFigures, arm: ArmFigures) -> Estimate:
    """Compare an arm with control, adjusted by a covariate of before the exposure (CUPED, Deng et al. 2013).

    Of a metric that is a mean or a proportion. The values are the raw ones, the lift and its interval are adjusted.
    """
    found = Estimate(metric.name, arm.variant, value_of(metric, control), value_of(metric, arm))
    reason = _not_estimable(metric, control, arm) or _no_lift(metric, control, arm)
    if reason:
        return replace(found, reason=reason)
    import tea_tasting  # noqa: PLC0415 see load_statistics

    test: Any = tea_tasting.Mean(
        metric.above.column, before.column, equal_var=False, use_t=True, confidence_level=LEVEL
    )
    both = (metric.above, before)
    result = test.analyze_aggregates(_moments(both, control), _moments(both, arm))
    return replace(
        found,
        difference=_finite(result.effect_size),
        difference_interval=_interval(result.effect_size_ci_lower, result.effect_size_ci_upper),
        lift=_finite(result.rel_effect_size),
        lift_interval=_interval(result.rel_effect_size_ci_lower, result.rel_effect_size_ci_upper),
        p=_finite(result.pvalue),
        warning=few(metric, control, arm),
    )


def few(metric: Metric, control: ArmFigures, arm: ArmFigures) -> str:
    """Return which arm is too small for the normal approximation that the interval rests on; nothing where none is."""
    column = metric.above.column
    for one in (control, arm):
        if one.units < FEW_UNITS:
            return f"few units: {one.units} of {one.variant}, the interval is rough"
        did = one.nonzero[column]
        if did < FEW_DID:
            return f"few units: {did} of {one.variant} are not 0, the interval is rough"
        if metric.kind == "proportion" and one.units - did < FEW_DID:
            return f"few units: {one.units - did} of {one.variant} are 0, the interval is rough"
    return ""


def _result(metric: Metric, control: ArmFigures, arm: ArmFigures) -> Any:
    """Ask tea-tasting, with moments only."""
    import tea_tasting  # noqa: PLC0415 see load_statistics

    test: Any
    above = metric.above.column
    if metric.kind == "proportion":
        test = tea_tasting.Proportion(above, method="norm", equal_var=False, correction=False, confidence_level=LEVEL)
    elif metric.below is None:
        test = tea_tasting.Mean(above, equal_var=False, use_t=True, confidence_level=LEVEL)
    else:
        below = metric.below.column
        test = tea_tasting.RatioOfMeans(above, below, equal_var=False, use_t=True, confidence_level=LEVEL)
    with np.errstate(all="ignore"):  # a zero arm gives NaN, which is said in words
        return test.analyze_aggregates(_aggregates(metric, control), _aggregates(metric, arm))


def _aggregates(metric: Metric, arm: ArmFigures) -> Aggregates:
    return _moments(metric.terms, arm)


def _moments(terms: Sequence[Term], arm: ArmFigures) -> Aggregates:
    from tea_tasting.aggr import Aggregates  # noqa: PLC0415 see load_statistics

    return Aggregates(
        count_=arm.units,
        mean_={term.column: float(Fraction(arm.sums[term.column], arm.units * term.scale)) for term in terms},
        var_={term.column: float(_covariance(arm, term, term)) for term in terms},
        cov_={(terms[0].column, terms[1].column): float(_covariance(arm, *terms))} if len(terms) == 2 else {},
    )


def _covariance(arm: ArmFigures, left: Term, right: Term) -> Fraction:
    """Return the sample covariance exactly: from integers, without the cancellation of floats."""
    names = (left.column, right.column)
    spread = arm.products[names] - Fraction(arm.sums[names[0]] * arm.sums[names[1]], arm.units)
    return spread / ((arm.units - 1) * left.scale * right.scale)


def _spread(metric: Metric, arm: ArmFigures) -> Fraction:
    """Return the variance that the test rests on, up to a positive factor."""
    above, below = metric.above, metric.below
    if below is None:
        return _covariance(arm, above, above)
    ratio = Fraction(arm.sums[above.column] * below.scale, arm.sums[below.column] * above.scale)
    return (
        _covariance(arm, above, above)
        - 2 * ratio * _covariance(arm, above, below)
        + ratio * ratio * _covariance(arm, below, below)
    )


def _not_estimable(metric: Metric, control: ArmFigures, arm: ArmFigures) -> str:
    for one in (control, arm):
        if one.units < 2:
            return f"{one.variant} has {one.units} unit{'' if one.units == 1 else 's'}; two are needed"
        if metric.below is not None and not one.sums[metric.below.column]:
            return f"{one.variant} has no {_below_words(metric.below)}"
    if _spread(metric, control) == 0 and _spread(metric, arm) == 0:
        return "no unit differs from another in either arm"
    return ""


def _below_words(term: Term) -> str:
    """Return what a ratio is divided by, as people know it: an own metric's column is a number."""
    if not term.column.startswith(OWN_COLUMN):
        return term.column.replace("_", " ")
    return f"{term.event} to divide by" if term.of == "count" else f"{term.event}.{term.field} to divide by"


def _no_lift(metric: Metric, control: ArmFigures, arm: ArmFigures) -> str:
    above = metric.above.column
    for one in (control, arm):
        if not one.sums[above]:
            return f"{one.variant} is zero: no interval of a lift"
    return ""


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _interval(low: float, high: float) -> Interval | None:
    return (float(low), float(high)) if math.isfinite(low) and math.isfinite(high) else None
