"""The explanation: the same answer as assign's, and for each experiment the questions that led to it.

Nothing is decided here. What `Evaluator.decide` decided is shown step by step, with the buckets and the conditions
it used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from abside.assignment.bucket import bucket_of
from abside.assignment.plan import provenance
from abside.assignment.target import explain as explain_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.assignment.assign import Decision, Evaluator, Reason
    from abside.assignment.plan import PlacementDecision, PlacementPlan
    from abside.assignment.unit import Subject
    from abside.snapshot import Json

StepName = Literal["force", "status", "unit", "eligibility", "layer", "traffic", "variant"]

ANSWERED_BY: dict[Reason, StepName] = {
    "FORCED": "force",
    "PAUSED": "status",
    "DRAFT": "status",
    "NOT_STARTED": "status",
    "ENDED": "status",
    "NO_UNIT": "unit",
    "NOT_ELIGIBLE": "eligibility",
    "OUTSIDE_SLOTS": "layer",
    "NOT_IN_TRAFFIC": "traffic",
    "SPLIT": "variant",
}


@dataclass(frozen=True, slots=True)
class ExplainedStep:
    """One question of one experiment. `reason` is set where this question decided."""

    experiment: str
    step: StepName
    ok: bool
    reason: Reason | None = None
    bucket: int | None = None
    range: tuple[int, int] | None = None  # half-open, in buckets
    condition: str | None = None
    saw: Json = None  # with a condition only; None: the attribute was missing or null
    note: str = ""  # why what it saw is not known to the condition

    def to_map(self) -> dict[str, Json]:
        """Return the step as the localhost API shows it, without the fields this question does not have."""
        shown: dict[str, Json] = {
            "experiment": self.experiment,
            "step": self.step,
            "ok": self.ok,
            "reason": self.reason,
        }
        if self.bucket is not None:
            shown["bucket"] = self.bucket
        if self.range is not None:
            shown["range"] = list(self.range)
        if self.condition is not None:
            shown |= {"condition": self.condition, "saw": self.saw}
        if self.note:
            shown["note"] = self.note
        return shown


@dataclass(frozen=True, slots=True)
class Explanation:
    """Assign's answer, how each experiment of the placement came to its part, and where each value is from."""

    answer: PlacementDecision
    steps: tuple[ExplainedStep, ...]
    provenance: dict[str, str]  # name of a leaf → "placement", or "experiment/variant"


def explain(plan: PlacementPlan, subject: Subject) -> Explanation:
    """Explain what `plan.assign(subject)` answers."""
    decisions = [(evaluator, evaluator.decide(subject)) for evaluator in plan.evaluators]
    steps = tuple(step for evaluator, decision in decisions for step in _steps(evaluator, decision, subject))
    arms = tuple(decision.arm for _, decision in decisions if decision.arm is not None)
    return Explanation(plan.assign(subject), steps, provenance(plan.placement, arms))


def _steps(evaluator: Evaluator, decision: Decision, subject: Subject) -> Iterator[ExplainedStep]:
    """Yield the questions up to the one that decided: all before it were passed."""
    last = ANSWERED_BY[decision.reason]
    questions: tuple[StepName, ...] = ("status", "unit", "eligibility", "layer", "traffic", "variant")
    for question in ("force",) if last == "force" else questions[: questions.index(last) + 1]:
        yield from _asked(evaluator, decision, subject, question, decision.reason if question == last else None)


def _asked(
    evaluator: Evaluator, decision: Decision, subject: Subject, question: StepName, reason: Reason | None
) -> Iterator[ExplainedStep]:
    experiment = evaluator.experiment
    unit_id_utf8 = b"" if decision.unit is None else decision.unit[1].encode()
    ok = reason is None or decision.arm is not None
    match question:
        case "force" | "status" | "unit":
            yield ExplainedStep(experiment.id, question, ok, reason)
        case "eligibility":
            for condition, saw, holds, note in explain_target(evaluator.target, subject):
                why = None if holds else reason
                yield ExplainedStep(experiment.id, question, holds, why, condition=condition, saw=saw, note=note)
        case "layer":
            if experiment.slots is not None:
                bucket = bucket_of(evaluator.layer_prefix, unit_id_utf8)
                yield ExplainedStep(experiment.id, question, ok, reason, bucket, experiment.slots)
        case "traffic":
            bucket = bucket_of(evaluator.traffic_prefix, unit_id_utf8)
            yield ExplainedStep(experiment.id, question, ok, reason, bucket, (0, evaluator.traffic_bp))
        case "variant":
            if decision.arm is not None:
                variant = decision.arm.variant
                yield ExplainedStep(experiment.id, question, ok, reason, decision.bucket, (variant.start, variant.stop))
