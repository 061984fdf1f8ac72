"""One experiment's page: everything that is printed of it, as plain records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.problem import Refused, listed
from abside.report.stats.compare import Estimate, estimate, value_of
from abside.report.stats.ratio import SampleRatio, sample_ratio
from abside.report.store.definitions import Definitions, definitions, keys_of, read_configs
from abside.report.store.exposures import LeftOut, exposure_copies, exposures_seen, left_out
from abside.report.store.fallbacks import Fallbacks, fallbacks
from abside.report.store.losses import ArmLedger, arm_ledger
from abside.report.store.timeline import Change, shares, states_of, timeline
from abside.report.tally.metrics import METRICS
from abside.report.tally.units import Arm, Choice, Counted, Tally, Unmatched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Seen
    from abside.snapshot import Experiment

WINDOW_SECONDS = 7 * 86_400  # where a document says nothing
HEAVY_SHARE = 0.05  # of an arm's exposures, by one unit: no shopper
CROWD_UNITS = 100  # below, one unit has its share anyway
PRIMARY = "add_to_cart_rate"


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """One phase of one experiment."""

    experiment: Experiment
    phase: int
    control: str
    window_seconds: int
    primary: str
    history: tuple[Change, ...]
    exposures: int  # rows of this phase, copies included
    copies: int
    late: int
    left_out: dict[str, LeftOut]
    definitions: Definitions
    before_since: int
    unmatched: Unmatched
    arms: tuple[Arm, ...]
    sample_ratio: SampleRatio
    values: dict[str, dict[str, float | None]]  # metric → variant → figure
    estimates: tuple[Estimate, ...]
    fallbacks: Fallbacks
    ledger: dict[str, ArmLedger]
    arrived: dict[str, int]  # exposures of every phase in the store, copies too, by variant
    notes: tuple[str, ...]


def experiment_page(
    engine: Engine, events: Table, tally: Tally, experiment: Experiment, phases: dict[int, int], phase: int | None
) -> ExperimentPage | Refused:
    """Make the page of one experiment, or say why there is none.

    `phases` gives the exposure rows of each phase found; `phase` None is the latest of them. Raises EngineFailed.
    """
    name = experiment.id
    if phase is not None and phase not in phases:
        found = listed([str(number) for number in phases])
        return Refused(name, f"has no exposure of phase {phase}; phases with exposures: {found}")
    phase = max(phases) if phase is None else phase
    history = timeline(engine, events, name)
    control, weights, notes = _in_force(experiment, phase, history)
    seen = exposures_seen(engine, events, name)
    here = [one for one in seen if one.phase == phase]
    keys = keys_of(experiment)
    defined = definitions(
        [one for one in here if not one.forced], read_configs(engine, events, keys) if keys else {}, keys
    )
    choice = Choice(
        experiment=name,
        phase=phase,
        unit=experiment.unit,
        placements=experiment.placements,
        window_seconds=_number(experiment.analysis.get("window_seconds")) or WINDOW_SECONDS,
        since=defined.since,
    )
    counted = tally.count(choice)
    by_name = {arm.variant: arm for arm in counted.arms}
    refusal = _unusable(name, control, by_name, counted)
    if refusal:
        return refusal
    copies = exposure_copies(engine, events, name)
    known = _variants(experiment, weights, control)
    arms = tuple(by_name[variant] for variant in known if variant in by_name)
    estimates = [
        estimate(metric, by_name[control], arm) for metric in METRICS for arm in arms if arm.variant != control
    ]
    why = "its weights changed within the phase" if _changed_weights(history, phase) else "no weights are known"
    primary = str(experiment.analysis.get("primary") or PRIMARY)
    return ExperimentPage(
        experiment=experiment,
        phase=phase,
        control=control,
        window_seconds=choice.window_seconds,
        primary=primary,
        history=tuple(history),
        exposures=phases[phase],
        copies=sum(count for (number, _), count in copies.items() if number == phase),
        late=sum(one.late for one in here),
        left_out=left_out(engine, tally, events, choice),
        definitions=defined,
        before_since=counted.before_since,
        unmatched=counted.unmatched,
        arms=arms,
        sample_ratio=sample_ratio({arm.variant: arm.units for arm in arms}, weights, reason=why),
        values={metric.name: {arm.variant: value_of(metric, arm) for arm in arms} for metric in METRICS},
        estimates=tuple(estimates),
        fallbacks=fallbacks(engine, tally, events, choice, counted.units),
        ledger=arm_ledger(engine, events, name),
        arrived=_arrived(seen),
        notes=(*notes, *_remarks(experiment, by_name, known, primary, defined)),
    )


def _in_force(
    experiment: Experiment, phase: int, history: Sequence[Change]
) -> tuple[str, dict[str, int] | None, list[str]]:
    """Give the control and the weights of a phase, by the config events where they tell, else by the documents."""
    notes = []
    if phase != experiment.phase:
        notes.append(f"this is phase {phase}; the documents are at phase {experiment.phase}")
    states = states_of(history, phase)
    if states:
        weights = None if _changed_weights(history, phase) else states[-1].weights_bp
        if weights is None:
            told = " → ".join(dict.fromkeys(shares(state.weights_bp) for state in states))
            notes.append(f"the weights changed within phase {phase} ({told}): arms were filled at different times")
        return states[-1].control, weights, notes
    notes.append(f"no config event tells of phase {phase}: what was in force when is not known")
    if phase != experiment.phase:
        return experiment.control, None, notes
    return experiment.control, {arm.id: arm.stop - arm.start for arm in experiment.variants}, notes


def _changed_weights(history: Sequence[Change], phase: int) -> bool:
    states = states_of(history, phase)
    return any(state.weights_bp != states[0].weights_bp for state in states)


def _variants(experiment: Experiment, weights: dict[str, int] | None, control: str) -> list[str]:
    """List the variants that are expected, control first."""
    declared = list(weights) if weights else [arm.id for arm in experiment.variants]
    return [control, *(name for name in declared if name != control)]


def _unusable(name: str, control: str, arms: dict[str, Arm], counted: Counted) -> Refused | None:
    if control in arms:
        return None
    early = counted.before_since
    left = f"; {early:,} units met another configuration of its variants before and are left out" if early else ""
    if not arms:
        why = " since its variants changed" if early else ": all are of bots, forced, or without an id"
        return Refused(name, f"has exposures, and none of them of a unit{why}{left}")
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    return Refused(name, f"has no unit in its control {control!r}; variants found: {found}{left}")


def _remarks(
    experiment: Experiment, arms: dict[str, Arm], known: Sequence[str], primary: str, defined: Definitions
) -> list[str]:
    said = []
    found = listed([f"{arm.variant} ({arm.units:,} units)" for arm in arms.values()])
    said += [f"{name} has no unit; variants found: {found}" for name in known if name not in arms]
    said += [
        f"{name} has {arm.units:,} units and is no variant of {experiment.id}: they are in no figure"
        for name, arm in arms.items()
        if name not in known
    ]
    if primary not in {metric.name for metric in METRICS}:
        said.append(f"the primary is {primary}, which is not among the figures of this page")
    said += [
        f"one unit has {arm.most_exposures / arm.exposures:.0%} of the exposures of {name}: a robot, or a shared id"
        for name, arm in arms.items()
        if arm.units >= CROWD_UNITS and arm.most_exposures > HEAVY_SHARE * arm.exposures
    ]
    if defined.unknown:
        said.append(f"what was served in {defined.unknown:,} exposures is not known: no config event tells it")
    return said


def _arrived(seen: Sequence[Seen]) -> dict[str, int]:
    """Count as the accounts do: a token that was posted twice was accepted twice, and stands here twice."""
    arrived: Counter[str] = Counter()
    for one in seen:
        if one.variant is not None:
            arrived[one.variant] += one.rows
    return dict(arrived)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
