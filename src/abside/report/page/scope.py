"""What the figures of a page are of: the phase, its control and weights, and since when they were what they are."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from abside.report.store.definitions import Definitions, definitions, keys_of, read_configs, strays
from abside.report.store.exposures import exposures_seen
from abside.report.store.timeline import TimelineChange, shares, swaps, timeline

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Seen
    from abside.snapshot import Experiment


@dataclass(frozen=True, slots=True)
class PhasePart:
    """A part of a phase with weights of its own: from `since` on; None is from the phase's beginning."""

    since: datetime | None
    weights_bp: dict[str, int]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the figures are of. They begin at `since` (None: with the phase); `weights_bp` None: not known."""

    phase: int
    control: str
    weights_bp: dict[str, int] | None
    since: datetime | None
    is_asked: bool  # `since` is what the person asked for, whatever changed
    history: tuple[TimelineChange, ...]
    parts: tuple[PhasePart, ...]  # more than one: the weights changed within the phase
    definitions: Definitions
    strays: int
    seen: tuple[Seen, ...]  # exposures of every phase
    notes: tuple[str, ...]


def scope_of(engine: Engine, events: Table, experiment: Experiment, phase: int, since: datetime | None) -> Scope:
    """Find what the figures of one phase are of. `since`: as asked for, over all that changed. Raises EngineFailed."""
    history, unread = timeline(engine, events, experiment.id)
    seen = exposures_seen(engine, events, experiment.id)
    keys = keys_of(experiment)
    configs = read_configs(engine, events, keys) if keys else {}
    here = [one for one in seen if one.phase == phase and not one.forced]
    defined = definitions(here, configs, keys, swaps(engine, events))
    parts = _parts(history, phase)
    begun = _begun(parts, defined) if since is None else since
    met_old = 0
    if defined.since is not None:
        later = exposures_seen(engine, events, experiment.id, since=defined.since)
        met_old = strays([one for one in later if one.phase == phase and not one.forced], configs, keys, defined)
    control, weights, notes = _in_force(experiment, phase, history, parts)
    if unread:
        notes.append(f"{unread:,} statements of sidecars about this experiment have no readable shape and are left out")
    return Scope(
        phase=phase,
        control=control,
        weights_bp=weights,
        since=begun,
        is_asked=since is not None,
        history=tuple(history),
        parts=parts,
        definitions=defined,
        strays=met_old,
        seen=tuple(seen),
        notes=tuple(notes),
    )


def _parts(history: Sequence[TimelineChange], phase: int) -> tuple[PhasePart, ...]:
    """Split a phase where its weights changed; each part begins when the last sidecar had swapped."""
    parts: list[PhasePart] = []
    for change in history:
        if not change.state.weights_bp:  # said by something else than a sidecar of ours
            continue
        if change.state.phase == phase and (not parts or change.state.weights_bp != parts[-1].weights_bp):
            parts.append(PhasePart(change.settled if parts else None, change.state.weights_bp))
    return tuple(parts)


def _begun(parts: Sequence[PhasePart], defined: Definitions) -> datetime | None:
    begun = [at for at in (parts[-1].since if parts else None, defined.since) if at is not None]
    return max(begun, default=None)


def _in_force(
    experiment: Experiment, phase: int, history: Sequence[TimelineChange], parts: Sequence[PhasePart]
) -> tuple[str, dict[str, int] | None, list[str]]:
    """Return the control and the weights of a phase, by the config events where they tell, else by the documents."""
    notes = []
    if phase != experiment.phase:
        notes.append(f"this is phase {phase}; the documents are at phase {experiment.phase}")
    states = [change.state for change in history if change.state.phase == phase]
    if states and parts:
        return states[-1].control, parts[-1].weights_bp, notes
    notes.append(f"no config event tells of phase {phase}: what was in force when is not known")
    if phase != experiment.phase:
        return experiment.control, None, notes
    return experiment.control, {arm.id: arm.stop - arm.start for arm in experiment.variants}, notes


def told_parts(parts: Sequence[PhasePart]) -> str:
    """Name the parts of a phase in words: 90/10 until …, 50/50 since."""
    said = [f"{shares(one.weights_bp)} until {after.since:%Y-%m-%d %H:%M:%S}Z" for one, after in pairwise(parts)]
    return ", ".join([*said, f"{shares(parts[-1].weights_bp)} since"])
