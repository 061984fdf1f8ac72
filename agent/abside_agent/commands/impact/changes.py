"""What changes between two snapshots at one instant, in sentences a person can act on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from abside.assignment.assign import Evaluator
from abside.assignment.attribute import date_text
from abside.snapshot import digest
from abside_agent.commands.impact.change import Change, values
from abside_agent.commands.impact.ground import ground_changes
from abside_agent.document.wording import counted, shown_percent, written_range
from abside_agent.rules.transition import split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Experiment, Snapshot

LifeStage: TypeAlias = Literal["DRAFT", "NOT_STARTED", "RUNNING", "PAUSED", "ENDED"]


def changes(old: Snapshot, new: Snapshot, now_us: int) -> list[Change]:
    """Return every change at `now_us`, experiments first, each by id."""
    found: list[Change] = []
    for name in sorted(old.experiments.keys() | new.experiments.keys()):
        found += _experiment(old.experiments.get(name), new.experiments.get(name), now_us)
    return [*found, *ground_changes(old, new)]


def _experiment(before: Experiment | None, after: Experiment | None, now_us: int) -> Iterator[Change]:
    if before is None and after is not None:
        yield _state(after, None, _state_of(after, now_us), now_us)
    elif before is not None and after is None:
        state = _state_of(before, now_us)
        rest = ": its units get the placements' parameters" if state == "RUNNING" else ""
        yield Change("removed", before.id, f"{before.id}, {_STATE_NAMES[state]}, is removed{rest}.")
    elif before is not None and after is not None:
        was, now = _state_of(before, now_us), _state_of(after, now_us)
        if was != now:
            yield _state(after, was, now, now_us, is_same_draw=before.phase == after.phase)
        elif _traffic(before, now_us) != _traffic(after, now_us):
            yield _ramp(after.id, _traffic(before, now_us), _traffic(after, now_us))
        yield from _fields(before, after, now_us)


def _state_of(experiment: Experiment, now_us: int) -> LifeStage:
    closed = Evaluator.build(experiment, now_us).closed
    states: dict[str | None, LifeStage] = {
        None: "RUNNING",
        "PAUSED": "PAUSED",
        "DRAFT": "DRAFT",
        "NOT_STARTED": "NOT_STARTED",
    }
    return states.get(closed, "ENDED")


_STATE_NAMES: dict[LifeStage, str] = {
    "DRAFT": "a draft",
    "NOT_STARTED": "scheduled",
    "RUNNING": "running",
    "PAUSED": "paused",
    "ENDED": "ended",
}


def _state(
    after: Experiment, was: LifeStage | None, now: LifeStage, now_us: int, *, is_same_draw: bool = False
) -> Change:
    """Return the change of an experiment's state; `was` is None for a new experiment."""
    name, is_new = after.id, was is None
    match now:
        case "RUNNING":
            crowd = f"{shown_percent(_traffic(after, now_us))} of eligible units, split {split(after)}"
            if was == "PAUSED":
                again = ": a unit gets the variant it had" if is_same_draw else ""
                return Change("resumed", name, f"{name} is resumed, with {crowd}{again}.")
            if was == "ENDED":
                return Change("reopened", name, f"{name}, which had ended, runs again, with {crowd}.")
            return Change("started", name, f"{name} is started on {', '.join(after.placements)}, with {crowd}.")
        case "PAUSED" if is_new:
            return Change("added", name, f"{name} is added, paused.")
        case "PAUSED":
            slots = "" if after.slots is None else "; its slots stay reserved"
            return Change("paused", name, f"{name} is paused: every unit gets the placements' parameters{slots}.")
        case "ENDED" if is_new:
            return Change("added", name, f"{name} is added, already ended.")
        case "ENDED":
            return Change("ended", name, f"{name} is ended: every unit gets the placements' parameters.")
        case "NOT_STARTED":
            return Change("scheduled", name, f"{name} is scheduled: it starts at {date_text(after.start_us or 0)}.")
        case "DRAFT":
            return Change("drafted", name, f"{name} is {'added as' if is_new else 'again'} a draft: nobody is in it.")


def _ramp(name: str, was_bp: int, now_bp: int) -> Change:
    way = "up" if now_bp > was_bp else "down"
    return Change("ramped", name, f"{name} is ramped {way} from {shown_percent(was_bp)} to {shown_percent(now_bp)}.")


def _fields(before: Experiment, after: Experiment, now_us: int) -> Iterator[Change]:
    name = after.id
    if before.phase != after.phase:
        rest = "all its units are drawn anew" if after.phase > before.phase else "its units get an old split again"
        yield Change("phase", name, f"{name} goes from phase {before.phase} to phase {after.phase}: {rest}.")
    yield from _arms(before, after)
    if digest(list(before.eligibility)) != digest(list(after.eligibility)):
        sentence = f"{name} is targeted anew: who is eligible no more leaves, who becomes eligible may join."
        yield Change("eligibility", name, sentence)
    for kind, was, now in (
        ("unit", before.unit, after.unit),
        ("placements", ", ".join(before.placements), ", ".join(after.placements)),
        ("control", before.control, after.control),
        ("slots", _slots(before), _slots(after)),
    ):
        if was != now:
            yield Change(kind, name, f"{name}: {kind} from {was} to {now}.")  # type: ignore[arg-type] # a Kind each
    yield from _times(before, after, now_us)
    yield from _forced(before, after)
    words = [field for field in ("name", "hypothesis", "owner") if getattr(before, field) != getattr(after, field)]
    words += ["analysis"] if digest(before.analysis) != digest(after.analysis) else []
    if words:
        yield Change("words", name, f"{name}: {', '.join(words)} changed; nothing changes for shoppers.")


def _arms(before: Experiment, after: Experiment) -> Iterator[Change]:
    name = after.id
    was, now = ([arm.id for arm in one.variants] for one in (before, after))
    if was != now:
        yield Change("variants", name, f"{name}: variants from {', '.join(was)} to {', '.join(now)}.")
    if [arm.stop for arm in before.variants] != [arm.stop for arm in after.variants]:
        yield Change("reweighted", name, f"{name} is re-weighted from {split(before)} to {split(after)}.")
    given = {arm.id: arm.parameters for arm in before.variants}
    for arm in after.variants:
        if arm.id not in given or digest(given[arm.id]) == digest(arm.parameters):
            continue
        for place in sorted({*given[arm.id], *arm.parameters}):
            for what in values(given[arm.id].get(place, {}), arm.parameters.get(place, {})):
                yield Change("parameters", name, f"{name}: {arm.id} gives at {place} {what}.")


def _times(before: Experiment, after: Experiment, now_us: int) -> Iterator[Change]:
    name = after.id
    for what, was, now in (("start", before.start_us, after.start_us), ("end", before.end_us, after.end_us)):
        if was != now:
            yield Change("schedule", name, f"{name}: {what} from {_instant(was)} to {_instant(now)}.")
    to_come = _to_come(after, now_us)
    if to_come != _to_come(before, now_us):
        yield Change("schedule", name, f"{name}: steps to come are {', '.join(to_come) or 'none'}.")


def _to_come(experiment: Experiment, now_us: int) -> list[str]:
    steps = [step for step in experiment.steps if step.from_us > now_us]
    return [f"{shown_percent(step.traffic_bp)} at {date_text(step.from_us)}" for step in steps]


def _forced(before: Experiment, after: Experiment) -> Iterator[Change]:
    """Yield the number of forced units that changed; their ids are private."""
    units = before.force.keys() | after.force.keys()
    moved = [unit for unit in units if before.force.get(unit) != after.force.get(unit)]
    if moved:
        yield Change("forced", after.id, f"{after.id}: {counted(len(moved), 'forced unit')} changed.")


def _traffic(experiment: Experiment, now_us: int) -> int:
    return Evaluator.build(experiment, now_us).traffic_bp


def _slots(experiment: Experiment) -> str:
    return "no layer" if experiment.slots is None else f"{written_range(experiment.slots)} of {experiment.layer}"


def _instant(at_us: int | None) -> str:
    return "none" if at_us is None else date_text(at_us)
