"""What each metric is to an experiment: its primary, a secondary, a guardrail, or none of them; and what follows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from abside.metric import PRIMARY
from abside.report.stats.adjust import benjamini_hochberg, holm
from abside.report.stats.band import always_valid
from abside.report.stats.margin import GuardrailMargin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.metric import Metric
    from abside.report.stats.compare import Estimate
    from abside.report.tally.moments import ArmFigures
    from abside.snapshot import Experiment

Role = Literal["primary", "secondary", "guardrail", "other"]
ORDER: tuple[Role, ...] = ("primary", "secondary", "guardrail", "other")
WINDOW_SECONDS = 7 * 86_400  # where a document says nothing
BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class AnalysisPlan:
    """How an experiment is read, by its document."""

    primary: str = PRIMARY
    secondary: tuple[str, ...] = ()
    guardrails: dict[str, GuardrailMargin] = field(default_factory=dict)
    window_seconds: int = WINDOW_SECONDS
    planned_units: int | None = None

    def role(self, metric: str) -> Role:
        """Return what a metric is; the first that is named."""
        if metric == self.primary:
            return "primary"
        if metric in self.secondary:
            return "secondary"
        return "guardrail" if metric in self.guardrails else "other"

    def named(self) -> list[str]:
        """List the metrics the document names."""
        return [self.primary, *self.secondary, *self.guardrails]

    def ordered(self, metrics: Sequence[Metric]) -> tuple[Metric, ...]:
        """Put metrics into the order people read them in."""
        return tuple(sorted(metrics, key=lambda metric: ORDER.index(self.role(metric.name))))


def analysis_of(experiment: Experiment) -> AnalysisPlan:
    """Read an experiment's analysis; what a file of another version lacks has its default."""
    told: dict[str, Any] = experiment.analysis
    margins = {
        name: GuardrailMargin(*(_share(margin, bound) for bound in ("max_increase_bp", "max_decrease_bp")))
        for name, margin in (told.get("guardrails") or {}).items()
    }
    planned = told.get("planned_units")
    return AnalysisPlan(
        primary=str(told.get("primary") or PRIMARY),
        secondary=tuple(told.get("secondary") or ()),
        guardrails=margins,
        window_seconds=int(told.get("window_seconds") or WINDOW_SECONDS),
        planned_units=planned if isinstance(planned, int) and planned > 0 else None,
    )


def _share(margin: dict[str, int], bound: str) -> float | None:
    found = margin.get(bound)
    return None if found is None else found / BASIS_POINTS


def read(
    found: Sequence[Estimate],
    analysis: AnalysisPlan,
    arms: Sequence[ArmFigures],
    control: str,
    metrics: Sequence[Metric],
) -> tuple[Estimate, ...]:
    """Add to each estimate its role, its always-valid band, its guardrail's label and its adjusted p.

    The margin of a gini is absolute, all others are relative to control.
    """
    absolute = {metric.name for metric in metrics if metric.kind == "gini"}
    units = {arm.variant: arm.units for arm in arms}
    total = sum(units.values())
    whole = []
    for one in found:
        both = units[control] + units[one.variant]
        band = None
        if analysis.planned_units and one.lift is not None and one.lift_interval is not None:
            planned = analysis.planned_units * both / total
            band = always_valid(one.lift, one.lift_interval, units=both, planned=planned)
        margin = analysis.guardrails.get(one.metric)
        span = one.lift_interval or (one.difference_interval if one.metric in absolute else None)
        label = margin.label(span) if margin and span else "not estimable" if margin else ""
        told = margin.words(is_absolute=one.metric in absolute) if margin else ""
        whole.append(replace(one, role=analysis.role(one.metric), band=band, margin=told, label=label))
    return _adjusted(whole)


def _adjusted(found: Sequence[Estimate]) -> tuple[Estimate, ...]:
    """Adjust p: Holm over the arms of the primary, Benjamini-Hochberg over all that are secondary, and all others."""
    families: defaultdict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        if one.p is not None and one.role != "guardrail":
            families[one.role].append(index)
    adjusted = list(found)
    for role, members in families.items():
        way = holm if role == "primary" else benjamini_hochberg
        for index, p in zip(members, way([found[member].p or 0.0 for member in members]), strict=True):
            adjusted[index] = replace(found[index], p_adjusted=p)
    return tuple(adjusted)
