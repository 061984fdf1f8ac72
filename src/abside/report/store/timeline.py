"""`config` events → what was in force when: started, ramped, paused, resumed, a new phase, an end.

Every sidecar tells its own changes, seconds apart and some of them never. A change counts when the first sidecar makes
it from the state that is shown last; what lags behind, or starts with an old file, changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import ibis

from abside.report.store.members import mentions, object_named

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from abside.report.store.engine import Engine, Table


@dataclass(frozen=True, slots=True)
class State:
    """What one config event says of an experiment. Traffic and weights in basis points."""

    status: str
    phase: int
    control: str
    traffic_bp: int
    weights_bp: dict[str, int] = field(default_factory=dict)
    pause: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineChange:
    """From `at` on, `state`; `what` says how it differs from the state before. `settled`: the last sidecar swapped."""

    at: datetime
    state: State
    what: str
    settled: datetime


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """Some sidecars went from one state to the next; `before` is None for a first word. States as text.

    `at` is the first of them, `last` the last: they are within a minute.
    """

    at: datetime
    before: str | None
    after: str
    last: datetime


@dataclass(frozen=True, slots=True)
class Spell:
    """From `at` on, `state`, in which all sidecars were from `settled` on."""

    at: datetime
    state: str
    settled: datetime


def timeline(engine: Engine, events: Table, experiment: str) -> tuple[list[TimelineChange], int]:
    """Return an experiment's history, oldest first, and how many statements nobody can read. Raises EngineFailed."""
    steps = _steps(engine, events, experiment)
    readable = [step for step in steps if _state(step.after)]
    return changes(readable), len(steps) - len(readable)


def spells(steps: Iterable[TimelineStep]) -> list[Spell]:
    """Make one history of the states that many sidecars swap between, oldest first."""
    found: list[Spell] = []
    known: set[str] = set()
    for step in sorted(steps, key=lambda step: (step.at, step.after)):
        shown = found[-1].state if found else None
        is_next = step.before == shown or step.after not in known
        if step.after != shown and is_next:
            found.append(Spell(step.at, step.after, step.last))
        elif step.after == shown and step.before is not None:  # a new sidecar's first word is no swap
            found[-1] = replace(found[-1], settled=max(found[-1].settled, step.last))
        known.add(step.after)
    return found


def changes(steps: Iterable[TimelineStep]) -> list[TimelineChange]:
    """Make one history of an experiment, in words."""
    told: list[TimelineChange] = []
    for spell in spells(steps):
        state = _state(spell.state)
        if state is None:
            continue
        what = _difference(told[-1].state if told else None, state)
        if what:
            told.append(TimelineChange(spell.at, state, what, spell.settled))
    return told


def _steps(engine: Engine, events: Table, experiment: str) -> list[TimelineStep]:
    """Ask for the changes each sidecar made; those of a minute between the same two states are one row."""
    mine = events.filter(events.type == "config", mentions(events.detail, experiment))
    mine = mine.distinct(on="event_id", keep="first")
    boot = mine.event_id.re_replace("-[0-9a-f]+$", "")  # an id is a boot and a counter
    each = mine.select("ts", boot=boot, state=object_named(mine.detail, "experiment", experiment))
    return steps_of(engine, f"{experiment}: what was in force", each.filter(each.state.notnull()))


def swaps(engine: Engine, events: Table) -> list[Spell]:
    """Return which revision was in force when, oldest first. Raises EngineFailed."""
    mine = events.filter(events.type == "config", events.revision.notnull(), events.detail.contains('"experiments"'))
    mine = mine.distinct(on="event_id", keep="first")
    boot = mine.event_id.re_replace("-[0-9a-f]+$", "")
    return spells(steps_of(engine, "revisions in force", mine.select("ts", boot=boot, state=mine.revision)))


def steps_of(engine: Engine, purpose: str, each: Table) -> list[TimelineStep]:
    """Ask for the changes each sidecar made, of {ts, boot, state}. Raises EngineFailed."""
    before = each.state.lag().over(ibis.window(group_by=each.boot, order_by=each.ts))
    each = each.mutate(before=before)
    steps = each.filter(each.before.isnull() | (each.before != each.state))
    minute = steps.ts.truncate("m")
    found = steps.group_by("before", "state", minute=minute).agg(at=steps.ts.min(), last=steps.ts.max())
    return [TimelineStep(row["at"], row["before"], row["state"], row["last"]) for row in engine.rows(purpose, found)]


def _state(text: str) -> State | None:
    """Read what a sidecar said of an experiment; None where it has another shape than a sidecar of ours writes."""
    told: Any = json.loads(text)
    if not isinstance(told, dict):
        return None
    texts = [told.get(name) for name in ("status", "control", "pause")]
    phase, traffic = told.get("phase") or 1, told.get("traffic_bp") or 0
    weights = told.get("weights_bp") or {}
    if not all(one is None or type(one) is str for one in texts) or not isinstance(weights, dict):
        return None
    if not all(type(one) is int for one in (phase, traffic, *weights.values())):
        return None
    status, control, pause = texts
    return State(str(status), phase, str(control), traffic, weights, pause)


def _difference(before: State | None, after: State) -> str:
    """Return what changed, the most important first."""
    traffic = f"{percent(after.traffic_bp)} of traffic"
    if before is None:
        begun = "started" if after.status == "running" else after.status
        return f"{begun}: {traffic}, phase {after.phase}" + (f" ({after.pause})" if after.pause else "")
    said = []
    if after.phase != before.phase:
        said.append(f"phase {before.phase} → {after.phase}")
    if after.status != before.status:
        said.append(_status_words(before, after))
    elif after.pause != before.pause and after.pause:
        said.append(f"paused: {after.pause}")
    if after.traffic_bp != before.traffic_bp:
        said.append(f"ramped {percent(before.traffic_bp)} → {percent(after.traffic_bp)}")
    if after.weights_bp != before.weights_bp:
        said.append(f"weights {shares(before.weights_bp)} → {shares(after.weights_bp)}")
    if after.control != before.control:
        said.append(f"control {before.control} → {after.control}")
    return ", ".join(said)


def _status_words(before: State, after: State) -> str:
    if after.status == "paused":
        return f"paused: {after.pause}" if after.pause else "paused"
    if after.status == "running":
        return "resumed" if before.status == "paused" else "started"
    return after.status.replace("_", " ")


def percent(basis_points: int) -> str:
    """Return basis points as percent, as short as they are."""
    return f"{basis_points / 100:g} %"


def shares(weights_bp: dict[str, int]) -> str:
    """Return weights as people write them: 80/20."""
    return "/".join(f"{weight / 100:g}" for weight in weights_bp.values())
