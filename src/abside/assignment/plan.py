"""The plan: for one placement, whoever asks gets a configuration and the variants it is made of."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from abside.assignment.assign import Arm, Evaluator
from abside.assignment.bucket import floor_of, murmur3_x86_32
from abside.assignment.unit import choose_unit
from abside.snapshot import LeftOut, SnapshotError, config_id, digest_of, lay, leaf_name, leaves

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from abside.assignment.assign import Draw, Judge
    from abside.assignment.unit import Subject, UnitId
    from abside.snapshot import Experiment, Leaf, Parameters, Placement, Snapshot, UnitKind

# Five experiments of four arms at one placement are 1,024 combinations; an entry is a dict of a dozen references.
MAX_MERGED_CONFIGS = 1024
_BY_EXPERIMENT = attrgetter("experiment")
_FORCED = attrgetter("forced")


class AssignedVariant(NamedTuple):
    """One assigned variant, as the answer and the exposure event contain it."""

    experiment: str
    variant: str
    phase: int
    unit: UnitId
    forced: bool
    traffic_bp: int


class PlacementDecision(NamedTuple):
    """What a subject gets at a placement. `config` is shared between answers: read it, never change it."""

    config: Parameters
    config_id: str
    assignments: tuple[AssignedVariant, ...]  # by experiment id
    unit: UnitId | None  # what `user_or_session` experiments used


@dataclass(frozen=True, slots=True)
class Merged:
    """A placement's parameters with those of some arms laid over them."""

    config: Parameters
    config_id: str


@dataclass(frozen=True, slots=True, eq=False)
class LayerHere:
    """The open experiments of one layer at one placement: one hash finds those whose slots contain a unit."""

    prefix: bytes
    kind: UnitKind
    edges: tuple[int, ...]  # of the slots, as hashes, ascending
    between: tuple[tuple[Judge, ...], ...]  # below the first edge, between two, above the last

    def judges(self, subject: Subject) -> tuple[Judge, ...]:
        """Return the judges for this subject."""
        unit = choose_unit(self.kind, subject)
        if unit is None:
            return ()
        return self.between[bisect_right(self.edges, murmur3_x86_32(self.prefix + unit[1].encode(), 0))]


@dataclass(frozen=True, slots=True, eq=False)
class PlacementPlan:
    """A placement and the experiments that run on it, by id. Merged configurations are made once and kept."""

    placement: Placement
    evaluators: tuple[Evaluator, ...]
    _judges: tuple[Judge, ...]  # of experiments outside layers, and of all that force somebody
    _layers: tuple[LayerHere, ...]
    draws: tuple[Draw, ...] | None  # where nobody is forced, and all that are open are no more than hashes
    _merged: dict[tuple[Arm, ...], Merged] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, placement: Placement, evaluators: Iterable[Evaluator]) -> PlacementPlan:
        """Take those of the evaluators whose experiment runs on this placement."""
        here = [evaluator for evaluator in evaluators if placement.id in evaluator.experiment.placements]
        own = tuple(sorted(here, key=lambda evaluator: evaluator.experiment.id))
        judges: list[Judge] = []
        layered: defaultdict[tuple[bytes, UnitKind], list[Evaluator]] = defaultdict(list)
        for evaluator in own:
            if evaluator.forced_units:
                judges.append(evaluator.verdict)
            elif evaluator.closed is None and evaluator.slots is None:
                judges.append(evaluator.split)
            elif evaluator.closed is None:
                layered[evaluator.layer_prefix, evaluator.kind].append(evaluator)
        layers = tuple(_layer(*key, within) for key, within in layered.items())
        return cls(placement, own, tuple(judges), layers, _draws(own))

    def arms(self, subject: Subject) -> tuple[Arm, ...]:
        """Return the arms of one subject, by experiment id; pure, never raises."""
        if subject.force:
            verdicts = [evaluator.verdict(subject) for evaluator in self.evaluators]
            return tuple([verdict for verdict in verdicts if type(verdict) is Arm])
        found = []
        for judge in self._judges:
            verdict = judge(subject)
            if type(verdict) is Arm:
                found.append(verdict)
        if self._layers:
            for layer in self._layers:
                for judge in layer.judges(subject):
                    verdict = judge(subject)
                    if type(verdict) is Arm:
                        found.append(verdict)
            found.sort(key=_BY_EXPERIMENT)
        return tuple(found)

    def assign(self, subject: Subject) -> PlacementDecision:
        """Answer one subject, whose `placement` is this one. Pure but for the kept configurations; never raises."""
        arms = self.arms(subject)
        merged = self.merged(arms)
        assigned = []
        for arm in arms:
            unit = arm.unit_of(subject)
            if unit is not None:
                assigned.append(
                    AssignedVariant(arm.experiment, arm.variant.id, arm.phase, unit, arm.forced, arm.traffic_bp)
                )
        return PlacementDecision(merged.config, merged.config_id, tuple(assigned), subject.unit)

    def merged(self, arms: tuple[Arm, ...]) -> Merged:
        """Return the configuration for these arms, which are sorted by experiment id."""
        known = self._merged.get(arms)
        if known is None:
            if len(self._merged) >= MAX_MERGED_CONFIGS:
                self._merged.clear()
            known = self._merged[arms] = merge(self.placement, arms)
        return known


def drawn(draws: tuple[Draw, ...], unit_id_utf8: bytes) -> tuple[Arm, ...]:
    """Return `arms` of a plan with these draws, for whom this unit is: half the time, for no question is a call."""
    found = []
    for gate, in_split, stops, arms in draws:
        if gate is None or murmur3_x86_32(gate[0] + unit_id_utf8, 0) < gate[1]:
            found.append(arms[bisect_right(stops, murmur3_x86_32(in_split + unit_id_utf8, 0))])
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Plans:
    """Everything assignment needs of one snapshot, for the time until `next_change_us` (None: for ever)."""

    placements: dict[str, PlacementPlan]
    evaluators: dict[str, Evaluator]
    next_change_us: int | None
    digests: dict[str, str]  # of the experiments, by id
    placement_digests: dict[str, str]


NO_PLANS = Plans({}, {}, None, {}, {})


def _draws(evaluators: tuple[Evaluator, ...]) -> tuple[Draw, ...] | None:
    """Return the draws of all that are open, by experiment id; None where one asks for more, or forces somebody."""
    if any(one.forced_units or (one.closed is None and one.draw is None) for one in evaluators):
        return None
    return tuple(one.draw for one in evaluators if one.draw is not None)


def _layer(prefix: bytes, kind: UnitKind, evaluators: list[Evaluator]) -> LayerHere:
    ranges = [(one.slots, one.split_in_slots) for one in evaluators if one.slots is not None]
    edges = sorted({edge for slots, _ in ranges for edge in slots})
    between = [tuple(judge for (start, stop), judge in ranges if start <= edge < stop) for edge in edges]
    return LayerHere(prefix, kind, tuple(map(floor_of, edges)), ((), *between))


def merge(placement: Placement, arms: tuple[Arm, ...]) -> Merged:
    """Return the placement's parameters with those of the arms laid over them, key by key."""
    config = dict(placement.parameters)
    for arm in _last_wins(arms):
        own = arm.variant.parameters.get(placement.id)
        if own:
            lay(config, own)
    return Merged(config, config_id(config))


def provenance(placement: Placement, arms: tuple[Arm, ...]) -> dict[str, str]:
    """Return where each leaf of `merge` is from: its name → "placement", or "experiment/variant"."""
    origins: dict[Leaf, str] = {}
    for arm in _last_wins(arms):
        for leaf, _ in leaves(arm.variant.parameters.get(placement.id, {})):
            origins[leaf] = f"{arm.experiment}/{arm.variant.id}"
    merged = leaves(merge(placement, arms).config)
    return {leaf_name(leaf): origins.get(leaf, "placement") for leaf, _ in merged}


def _last_wins(arms: tuple[Arm, ...]) -> Iterable[Arm]:
    """Order arms so that the last to write wins: a forced one over one that is not, then the smaller experiment id."""
    falling = sorted(arms, key=_BY_EXPERIMENT, reverse=True)
    return sorted(falling, key=_FORCED) if any(map(_FORCED, arms)) else falling


def build_plans(
    snapshot: Snapshot, now_us: int, *, reuse: Plans = NO_PLANS, digests: Mapping[str, str] | None = None
) -> Plans:
    """Build all plans for the instant `now_us` at once; see `build_in_slices`."""
    building = build_in_slices(snapshot, now_us, reuse=reuse, digests=digests)
    while True:
        try:
            next(building)
        except StopIteration as done:
            plans: Plans = done.value
            return plans


def build_in_slices(
    snapshot: Snapshot,
    now_us: int,
    *,
    reuse: Plans = NO_PLANS,
    digests: Mapping[str, str] | None = None,
    left_out: list[LeftOut] | None = None,
) -> Generator[None, None, Plans]:
    """Build all plans for the instant `now_us`, pausing after each record; the generator's return value are the plans.

    What did not change is taken over from `reuse`: an evaluator whose record has the same digest and whose time has
    not run out, and a placement whose own record and evaluators are the same, with its kept configurations. `digests`
    are those of the snapshot's experiments, by id, where they are known; the others are computed. An experiment that
    cannot be built is added to `left_out`; without such a list SnapshotError is raised.
    """
    given = {} if digests is None else digests
    used: dict[str, str] = {}
    evaluators: dict[str, Evaluator] = {}
    for record in snapshot.experiments.values():
        used[record.id] = given.get(record.id) or digest_of(record)
        try:
            evaluators[record.id] = _evaluator(record, used[record.id], now_us, reuse)
        except SnapshotError as exc:
            if left_out is None:
                raise
            left_out.append(LeftOut("Experiment", record.id, exc.detail, record.source, record))
        yield
    own: dict[str, str] = {}
    here: defaultdict[str, list[Evaluator]] = defaultdict(list)
    for evaluator in evaluators.values():
        for name in evaluator.experiment.placements:
            here[name].append(evaluator)
    placements: dict[str, PlacementPlan] = {}
    for placement in snapshot.placements.values():
        # Never from `digests`: a layer may bear a placement's name, and its digest would hide a change of this one.
        own[placement.id] = digest_of(placement)
        placements[placement.id] = _plan(placement, own[placement.id], here[placement.id], reuse)
        yield
    changes = [evaluator.valid_until_us for evaluator in evaluators.values()]
    next_change_us = min((at_us for at_us in changes if at_us is not None), default=None)
    return Plans(placements, evaluators, next_change_us, used, own)


def _evaluator(experiment: Experiment, digest: str, now_us: int, reuse: Plans) -> Evaluator:
    old = reuse.evaluators.get(experiment.id)
    # By digest and not by equality: in Python 1 == 1.0 == True, and a changed parameter would go unnoticed.
    if old is not None and reuse.digests.get(experiment.id) == digest and old.is_valid_at(now_us):
        return old
    return Evaluator.build(experiment, now_us)


def _plan(placement: Placement, digest: str, evaluators: Iterable[Evaluator], reuse: Plans) -> PlacementPlan:
    new = PlacementPlan.build(placement, evaluators)
    old = reuse.placements.get(placement.id)
    if old is not None and reuse.placement_digests.get(placement.id) == digest and old.evaluators == new.evaluators:
        return old
    return new
