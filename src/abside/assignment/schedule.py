"""What an experiment does now, since when, and what its schedule changes next. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from abside.assignment.assign import Evaluator
    from abside.snapshot import Experiment


class ScheduledChange(NamedTuple):
    """What the schedule changes at an instant (µs UTC), and the share of traffic from then on, in basis points."""

    at_us: int
    what: Literal["start", "traffic", "end"]
    traffic_bp: int


def effective_status(experiment: Experiment, closed: str | None) -> str:
    """Return what an experiment does now, its pause, schedule and status taken together."""
    return closed.lower() if closed is not None else experiment.status


def since_us(experiment: Experiment, at_us: int) -> int | None:
    """Return since when the schedule has been as it is at `at_us`: the latest start, step or end that has passed.

    None where its document names no such time. Whether somebody paused it or edited it later, a document cannot know.
    """
    times = (experiment.start_us, experiment.end_us, *(step.from_us for step in experiment.steps))
    return max((one for one in times if one and one <= at_us), default=None)


def next_change(evaluator: Evaluator) -> ScheduledChange | None:
    """Return what the schedule changes next.

    A draft and what has ended wait for nobody's clock. Before the start, steps change nothing that anyone sees.
    """
    experiment, at_us = evaluator.experiment, evaluator.valid_until_us
    if at_us is None or evaluator.closed in {"DRAFT", "ENDED"}:
        return None
    if experiment.start_us is not None and at_us <= experiment.start_us:
        begun = [step.traffic_bp for step in experiment.steps if step.from_us <= experiment.start_us]
        return ScheduledChange(experiment.start_us, "start", begun[-1] if begun else 0)
    if at_us == experiment.end_us:
        return ScheduledChange(at_us, "end", 0)
    traffic_bp = next(step.traffic_bp for step in experiment.steps if step.from_us == at_us)
    return ScheduledChange(at_us, "traffic", traffic_bp)
