"""Assignment: which variant of one experiment a unit gets, and why. The order of the questions is the contract."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from abside.assignment.bucket import bucket_of, prefix
from abside.assignment.target import Target, build
from abside.assignment.unit import choose_unit
from abside.snapshot import BASIS_POINTS, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.assignment.unit import Subject, UnitId
    from abside.snapshot import Experiment, Variant

Reason = Literal[
    "FORCED",
    "PAUSED",
    "DRAFT",
    "NOT_STARTED",
    "ENDED",
    "NO_UNIT",
    "NOT_ELIGIBLE",
    "OUTSIDE_SLOTS",
    "NOT_IN_TRAFFIC",
    "SPLIT",
]


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """A variant as it can be given now. One object per (variant, forced) of an evaluator, compared by identity."""

    experiment: str
    variant: Variant
    phase: int
    forced: bool
    traffic_bp: int


# A tuple and not a dataclass, as every record made per request: a frozen dataclass takes three times as long to make.
class Decision(NamedTuple):
    """The answer of one experiment. `bucket` is the one that decided: of slots, of traffic or of the variant."""

    experiment: str
    reason: Reason
    unit: UnitId | None  # whom the experiment randomises; also known where the unit is not in
    arm: Arm | None = None
    bucket: int | None = None

    @property
    def variant(self) -> Variant | None:
        """The variant given, None when the unit is not in."""
        return None if self.arm is None else self.arm.variant


@dataclass(frozen=True, slots=True, eq=False)
class Evaluator:
    """One experiment compiled for the time from `valid_from_us` until before `valid_until_us` (None: without end).

    Status, start, end and the traffic of the current step are constants here: a timer builds the next evaluator, no
    request compares times.
    """

    experiment: Experiment
    closed: Reason | None  # why nobody is split now; None: it runs
    traffic_bp: int
    valid_from_us: int | None
    valid_until_us: int | None
    target: Target
    layer_prefix: bytes
    traffic_prefix: bytes
    variant_prefix: bytes
    arms: tuple[Arm, ...]  # in declared order
    stops: tuple[int, ...]  # where each arm's range ends
    forced_arms: dict[str, Arm]  # by variant id
    forced_units: dict[str | None, Arm]  # by unit id as text

    @classmethod
    def build(cls, experiment: Experiment, now_us: int) -> Evaluator:
        """Compile for the instant `now_us` (µs UTC). Raises SnapshotError where the record cannot be assigned from."""
        try:
            return cls._build(experiment, now_us)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            raise SnapshotError("content", f"experiment {experiment.id} cannot be compiled: {exc!r}") from exc

    @classmethod
    def _build(cls, experiment: Experiment, now_us: int) -> Evaluator:
        _check_ranges(experiment)
        traffic_bp = _traffic_bp(experiment, now_us)
        split, forced = (
            [Arm(experiment.id, variant, experiment.phase, flag, traffic_bp) for variant in experiment.variants]
            for flag in (False, True)
        )
        forced_arms = {arm.variant.id: arm for arm in forced}
        return cls(
            experiment=experiment,
            closed=_closed(experiment, now_us),
            traffic_bp=traffic_bp,
            valid_from_us=max((at_us for at_us in _changes(experiment) if at_us <= now_us), default=None),
            valid_until_us=next_change_us(experiment, now_us),
            target=build(experiment.eligibility),
            layer_prefix=prefix(experiment.layer or "", "layer"),
            traffic_prefix=prefix(experiment.salt, "traffic"),
            variant_prefix=prefix(experiment.salt, "variant"),
            arms=tuple(split),
            stops=tuple(variant.stop for variant in experiment.variants),
            forced_arms=forced_arms,
            forced_units={unit: forced_arms[variant] for unit, variant in experiment.force.items()},
        )

    def is_valid_at(self, now_us: int) -> bool:
        """Whether the constants taken at build still hold at this instant, also after a clock stepped back."""
        begun = self.valid_from_us is None or self.valid_from_us <= now_us
        return begun and (self.valid_until_us is None or now_us < self.valid_until_us)

    def decide(self, subject: Subject) -> Decision:
        """Decide for one subject; pure, and raises for no attribute value. Ids are as `parse_unit_id` gave them."""
        experiment = self.experiment
        unit = choose_unit(experiment.unit, subject)
        if self.forced_units or subject.force:
            arm = self._forced(subject)
            if arm is not None:
                return Decision(experiment.id, "FORCED", unit or choose_unit("user_or_session", subject), arm)
        if self.closed is not None:
            return Decision(experiment.id, self.closed, unit)
        if unit is None:
            return Decision(experiment.id, "NO_UNIT", None)
        if not self.target.admits(subject):
            return Decision(experiment.id, "NOT_ELIGIBLE", unit)
        unit_id_utf8 = unit[1].encode()
        if experiment.slots is not None:
            start, stop = experiment.slots
            bucket = bucket_of(self.layer_prefix, unit_id_utf8)
            if not start <= bucket < stop:
                return Decision(experiment.id, "OUTSIDE_SLOTS", unit, None, bucket)
        if self.traffic_bp < BASIS_POINTS:
            bucket = bucket_of(self.traffic_prefix, unit_id_utf8)
            if bucket >= self.traffic_bp:
                return Decision(experiment.id, "NOT_IN_TRAFFIC", unit, None, bucket)
        bucket = bucket_of(self.variant_prefix, unit_id_utf8)
        return Decision(experiment.id, "SPLIT", unit, self.arms[bisect_right(self.stops, bucket)], bucket)

    def _forced(self, subject: Subject) -> Arm | None:
        """Ask the request first: its wish is the more particular one. Without any id there is nobody to force."""
        if subject.user_id is None and subject.session_id is None:
            return None
        return (
            self.forced_arms.get(subject.force.get(self.experiment.id, ""))
            or self.forced_units.get(subject.user_id)
            or self.forced_units.get(subject.session_id)
        )


def next_change_us(experiment: Experiment, now_us: int) -> int | None:
    """Give the next instant after `now_us` at which its start, its end or a step changes an answer, None if none."""
    return min((at_us for at_us in _changes(experiment) if at_us > now_us), default=None)


def _changes(experiment: Experiment) -> Iterable[int]:
    for at_us in (experiment.start_us, experiment.end_us):
        if at_us is not None:
            yield at_us
    for step in experiment.steps:
        yield step.from_us


def _closed(experiment: Experiment, now_us: int) -> Reason | None:
    if experiment.pause is not None or experiment.status == "paused":
        return "PAUSED"
    if experiment.status == "draft":
        return "DRAFT"
    if experiment.status == "ended":
        return "ENDED"
    if experiment.start_us is not None and now_us < experiment.start_us:
        return "NOT_STARTED"
    if experiment.end_us is not None and now_us >= experiment.end_us:
        return "ENDED"
    return None


def _traffic_bp(experiment: Experiment, now_us: int) -> int:
    """Give the share of the last step that has begun; before the first, nobody is in."""
    begun = [step.traffic_bp for step in experiment.steps if step.from_us <= now_us]
    return begun[-1] if begun else 0


def _check_ranges(experiment: Experiment) -> None:
    """Hold what `decide` trusts: ranges that follow each other from 0 to 10000, and slots with their layer."""
    edges = [0, *(variant.stop for variant in experiment.variants)]
    follow = edges[:-1] == [variant.start for variant in experiment.variants] and edges == sorted(edges)
    if not follow or edges[-1] != BASIS_POINTS:
        raise SnapshotError("content", f"experiment {experiment.id}: ranges {edges} do not fill 0 to {BASIS_POINTS}")
    if (experiment.slots is None) != (experiment.layer is None):
        raise SnapshotError("content", f"experiment {experiment.id}: a layer and slots come together")
