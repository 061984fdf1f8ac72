"""Assignment: which variant of one experiment a unit gets, and why. The order of the questions is the contract."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from abside.assignment.bucket import bucket_of, floor_of, murmur3_x86_32, prefix
from abside.assignment.target import Target, build
from abside.assignment.unit import Subject, choose_unit
from abside.snapshot import BASIS_POINTS, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.assignment.target import Check
    from abside.assignment.unit import UnitId
    from abside.snapshot import Experiment, UnitKind, Variant

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
    """A variant as it can be assigned now. One object per (variant, forced) of an evaluator, compared by identity."""

    experiment: str
    variant: Variant
    phase: int
    forced: bool
    traffic_bp: int
    kind: UnitKind

    def unit_of(self, subject: Subject) -> UnitId | None:
        """Return whom this arm is logged for: the experiment's own unit; a forced one may be of the other kind."""
        unit = choose_unit(self.kind, subject)
        return subject.unit if unit is None and self.forced else unit


class Draw(NamedTuple):
    """A split without a target or slots, of `user_or_session` units: what `_split` asks, as data.

    `gate` is None where everybody is in; else the prefix of the traffic's hash, and where that must end.
    """

    gate: tuple[bytes, int] | None
    in_split: bytes
    stops: tuple[int, ...]
    arms: tuple[Arm, ...]


Judge: TypeAlias = Callable[[Subject], "Arm | Reason"]  # pure, and raises for no attribute value


class Decision(NamedTuple):
    """The answer of one experiment. `bucket` is the one that decided: of slots, of traffic or of the variant."""

    experiment: str
    reason: Reason
    unit: UnitId | None  # whom the experiment randomises; also known where the unit is not in
    arm: Arm | None = None
    bucket: int | None = None

    @property
    def variant(self) -> Variant | None:
        """The assigned variant, None when the unit is not in."""
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
    kind: UnitKind
    slots: tuple[int, int] | None
    target: Target
    layer_prefix: bytes
    traffic_prefix: bytes
    variant_prefix: bytes
    arms: tuple[Arm, ...]  # in declared order
    stops: tuple[int, ...]  # where each arm's range ends
    forced_arms: dict[str, Arm]  # by variant id
    forced_units: dict[str | None, Arm]  # by unit id as text
    split: Judge  # the verdict on whom nobody forces
    split_in_slots: Judge  # the same for a unit that is known to be in its slots
    draw: Draw | None  # the same as `split`, where it is no more than hashes

    @classmethod
    def build(cls, experiment: Experiment, now_us: int) -> Evaluator:
        """Compile for the instant `now_us` (µs UTC). Raises SnapshotError where the record cannot be assigned from."""
        try:
            return cls._build(experiment, now_us)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as exc:
            raise SnapshotError("content", f"experiment {experiment.id} cannot be compiled: {exc!r}") from exc

    @classmethod
    def _build(cls, experiment: Experiment, now_us: int) -> Evaluator:
        _check_ranges(experiment)
        traffic_bp = _traffic_bp(experiment, now_us)
        split, forced = (
            [
                Arm(experiment.id, variant, experiment.phase, flag, traffic_bp, experiment.unit)
                for variant in experiment.variants
            ]
            for flag in (False, True)
        )
        forced_arms = {arm.variant.id: arm for arm in forced}
        target = build(experiment.eligibility)
        admits = target.admits if target.conditions else None
        closed = _closed(experiment, now_us)
        slots, arms = experiment.slots, tuple(split)
        layer, salt = experiment.layer or "", experiment.salt
        prefixes = prefix(layer, "layer"), prefix(salt, "traffic"), prefix(salt, "variant")
        judge = _split(experiment, closed, admits, slots, traffic_bp, arms, prefixes)
        in_slots = judge if slots is None else _split(experiment, closed, admits, None, traffic_bp, arms, prefixes)
        return cls(
            experiment=experiment,
            closed=closed,
            traffic_bp=traffic_bp,
            valid_from_us=max((at_us for at_us in _changes(experiment) if at_us <= now_us), default=None),
            valid_until_us=next_change_us(experiment, now_us),
            kind=experiment.unit,
            slots=slots,
            target=target,
            layer_prefix=prefixes[0],
            traffic_prefix=prefixes[1],
            variant_prefix=prefixes[2],
            arms=arms,
            stops=tuple(variant.stop for variant in experiment.variants),
            forced_arms=forced_arms,
            forced_units={unit: forced_arms[variant] for unit, variant in experiment.force.items()},
            split=judge,
            split_in_slots=in_slots,
            draw=_draw(experiment, admits, traffic_bp, arms, prefixes) if closed is None else None,
        )

    def is_valid_at(self, now_us: int) -> bool:
        """Whether the constants taken at build are still right at this instant, also after a clock stepped back."""
        begun = self.valid_from_us is None or self.valid_from_us <= now_us
        return begun and (self.valid_until_us is None or now_us < self.valid_until_us)

    def verdict(self, subject: Subject) -> Arm | Reason:
        """Return the arm of one subject, or why there is none."""
        if self.forced_units or subject.force:
            arm = self._forced(subject)
            if arm is not None:
                return arm
        return self.split(subject)

    def decide(self, subject: Subject) -> Decision:
        """Return the verdict with its unit and the bucket that decided, for people and tests."""
        verdict = self.verdict(subject)
        experiment = self.experiment
        unit = choose_unit(experiment.unit, subject)
        if isinstance(verdict, Arm):
            reason: Reason = "FORCED" if verdict.forced else "SPLIT"
            return Decision(experiment.id, reason, verdict.unit_of(subject), verdict, self._bucket(reason, unit))
        return Decision(experiment.id, verdict, unit, None, self._bucket(verdict, unit))

    def _bucket(self, reason: Reason, unit: UnitId | None) -> int | None:
        prefixes = {
            "OUTSIDE_SLOTS": self.layer_prefix,
            "NOT_IN_TRAFFIC": self.traffic_prefix,
            "SPLIT": self.variant_prefix,
        }
        if unit is None or reason not in prefixes:
            return None
        return bucket_of(prefixes[reason], unit[1].encode())

    def _forced(self, subject: Subject) -> Arm | None:
        """Ask the request first: its wish is the more particular one. Without any id there is nobody to force."""
        if subject.user_id is None and subject.session_id is None:
            return None
        return (
            self.forced_arms.get(subject.force.get(self.experiment.id, ""))
            or self.forced_units.get(subject.user_id)
            or self.forced_units.get(subject.session_id)
        )


def _split(
    experiment: Experiment,
    closed: Reason | None,
    admits: Check | None,
    slots: tuple[int, int] | None,
    traffic_bp: int,
    arms: tuple[Arm, ...],
    prefixes: tuple[bytes, bytes, bytes],  # of layer, traffic and variant
) -> Judge:
    """Compile the questions, in the contract's order, into one closure: the hot path.

    It compares hashes, not buckets (see `floor_of`), and has no attribute to look up: half the time of a method.
    """
    if closed is not None:
        return lambda _: closed
    kind, layered, gated = experiment.unit, slots is not None, traffic_bp < BASIS_POINTS
    start, stop = (floor_of(edge) for edge in slots or (0, 0))
    traffic = floor_of(traffic_bp)
    stops = tuple(floor_of(variant.stop) for variant in experiment.variants)
    in_layer, in_traffic, in_split = prefixes

    def split(subject: Subject) -> Arm | Reason:
        if kind == "user_or_session":
            if subject.unit is None:
                return "NO_UNIT"
            unit_id_utf8 = subject.unit_utf8
        else:
            unit_id = subject.user_id if kind == "user" else subject.session_id
            if unit_id is None:
                return "NO_UNIT"
            unit_id_utf8 = unit_id.encode()
        if admits is not None and not admits(subject):
            return "NOT_ELIGIBLE"
        if layered and not start <= murmur3_x86_32(in_layer + unit_id_utf8, 0) < stop:
            return "OUTSIDE_SLOTS"
        if gated and murmur3_x86_32(in_traffic + unit_id_utf8, 0) >= traffic:
            return "NOT_IN_TRAFFIC"
        return arms[bisect_right(stops, murmur3_x86_32(in_split + unit_id_utf8, 0))]

    return split


def _draw(
    experiment: Experiment,
    admits: Check | None,
    traffic_bp: int,
    arms: tuple[Arm, ...],
    prefixes: tuple[bytes, bytes, bytes],
) -> Draw | None:
    if experiment.unit != "user_or_session" or admits is not None or experiment.slots is not None:
        return None
    _, in_traffic, in_split = prefixes
    stops = tuple(floor_of(variant.stop) for variant in experiment.variants)
    gate = (in_traffic, floor_of(traffic_bp)) if traffic_bp < BASIS_POINTS else None
    return Draw(gate, in_split, stops, arms)


def next_change_us(experiment: Experiment, now_us: int) -> int | None:
    """Return the next instant after `now_us` at which its start, its end or a step changes an answer, None if none."""
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
    """Return the share of the last step that has begun; before the first, nobody is in."""
    begun = [step.traffic_bp for step in experiment.steps if step.from_us <= now_us]
    return begun[-1] if begun else 0


def _check_ranges(experiment: Experiment) -> None:
    """Check what `_split` trusts: ranges that follow each other from 0 to 10000, shares, and slots with their layer."""
    if not experiment.variants:
        raise SnapshotError("content", f"experiment {experiment.id}: it has no variants")
    if len({variant.id for variant in experiment.variants}) < len(experiment.variants):
        raise SnapshotError("content", f"experiment {experiment.id}: two of its variants have one id")
    edges = [0, *(variant.stop for variant in experiment.variants)]
    follow = edges[:-1] == [variant.start for variant in experiment.variants] and edges == sorted(edges)
    if not follow or edges[-1] != BASIS_POINTS:
        raise SnapshotError("content", f"experiment {experiment.id}: ranges {edges} do not fill 0 to {BASIS_POINTS}")
    if (experiment.slots is None) != (experiment.layer is None):
        raise SnapshotError("content", f"experiment {experiment.id}: a layer and slots come together")
    first, end = experiment.slots or (0, 0)
    within = all(0 <= step.traffic_bp <= BASIS_POINTS for step in experiment.steps)
    if not (within and 0 <= first <= BASIS_POINTS and 0 <= end <= BASIS_POINTS):
        raise SnapshotError("content", f"experiment {experiment.id}: traffic and slots lie within 0 to {BASIS_POINTS}")
