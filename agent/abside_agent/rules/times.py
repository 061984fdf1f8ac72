"""Times and shares under which nobody can be in an experiment, or a step has no effect: warnings of check. Pure."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from abside_agent.document.records import known
from abside_agent.document.wording import shown_percent
from abside_agent.rules.values import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Experiment, Step


def doubts(one: Experiment, now_us: int, *, has_steps: bool) -> Iterator[Doubt]:
    """Yield doubts about the times and the traffic of an experiment. `has_steps`: it has steps, not traffic."""
    steps = one.steps
    if all(known(step.from_us, step.traffic_bp) for step in steps):
        yield from _steps(one, steps, now_us) if has_steps else _traffic(steps)
    for arm in one.variants:
        if arm.start == arm.stop:
            yield Doubt(
                "EMPTY_VARIANT", ("variants", arm.id, "weight"), "nobody gets this variant", "weigh it, or drop it"
            )


def _traffic(steps: tuple[Step, ...]) -> Iterator[Doubt]:
    if steps and steps[0].traffic_bp == 0:
        yield Doubt("NOBODY", ("traffic",), "nobody is in: the traffic is 0 %", "write a share, or status: paused")


def _steps(one: Experiment, steps: tuple[Step, ...], now_us: int) -> Iterator[Doubt]:
    if not steps:
        return
    start = -inf if one.start_us is None else one.start_us
    end = inf if one.end_us is None else one.end_us
    opened = next((step for step in steps if step.traffic_bp), None)
    if opened is None:
        yield Doubt("NOBODY", ("steps",), "nobody is in: every step has 0 %", "write a share in one of them")
        return
    if end <= opened.from_us:
        message = "nobody can ever be in: it ends before its first step with a share"
        yield Doubt("NOBODY", ("end",), message, "write a later end, or earlier steps")
        return
    for index, step in enumerate(steps):
        until = steps[index + 1].from_us if index + 1 < len(steps) else inf
        if step.from_us >= end:
            message = "this step never comes: the experiment ends before it"
            yield Doubt("STEP_NEVER", ("steps", index, "from"), message, "write a later end, or delete the step")
        elif until <= start:
            message = "this step is over before the start: nobody ever sees its share"
            yield Doubt("STEP_NEVER", ("steps", index, "from"), message, "write an earlier start, or delete the step")
    last = steps[-1]
    if one.status == "running" and not last.traffic_bp and last.from_us <= now_us:
        message = "nobody is in any more: the last step has 0 %"
        path = ("steps", len(steps) - 1, "traffic")
        yield Doubt("NOBODY", path, message, "add a later step with a share, or write status: paused or ended")
    if len(steps) > 1 and start > last.from_us:
        message = f"the start is after the last step: {shown_percent(last.traffic_bp)} are in at once, without a ramp"
        yield Doubt("START_AFTER_STEPS", ("start",), message, "write an earlier start, or later steps")
