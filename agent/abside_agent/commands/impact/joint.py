"""The joint distribution of what a unit gets before and after, from the ranges of independent hashes. Pure.

Layer, traffic and variant buckets of different salts are independent hashes (docs/bucketing.md), so the probability of
a combination is a product of widths of bucket ranges. Where both versions ask one hash, it is asked once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, TypeAlias, cast

from abside.assignment.plan import merge
from abside.snapshot import BASIS_POINTS, Placement, laid_over, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.assignment.assign import Arm, Evaluator
    from abside.snapshot import Leaf, Parameters

Axis: TypeAlias = tuple[bytes, bool]  # one hash: its prefix, and whether it is asked of the session id
JointRow: TypeAlias = "tuple[float, Arm | None, Arm | None]"  # probability, arm before, arm after
JointCell: TypeAlias = tuple[bool, bool, bool]  # same variants, same configuration, in no experiment before
JointTable: TypeAlias = dict[JointCell, float]


@dataclass(frozen=True, slots=True)
class EvaluatorPair:
    """One experiment before and after; None where it assigns nobody at that time."""

    id: str
    old: Evaluator | None
    new: Evaluator | None

    def versions(self) -> Iterator[Evaluator]:
        """Yield the versions that assign units."""
        if self.old is not None:
            yield self.old
        if self.new is not None:
            yield self.new


class TooManyCellsError(Exception):
    """There are too many combinations to enumerate."""


def table(old: Placement, new: Placement, pairs: list[EvaluatorPair], max_cells: int) -> JointTable:
    """Return the probability of each cell for one placement. Raises TooManyCellsError beyond `max_cells`."""
    total: JointTable = {(True, True, True): 1.0}
    touched: set[Leaf] = set()
    every = _leaves(old.parameters) | _leaves(new.parameters) | {leaf for pair in pairs for leaf in _own(pair, old.id)}
    whole = {leaf: next(leaf[:end] for end in range(1, len(leaf) + 1) if leaf[:end] in every) for leaf in every}
    for group in _linked(pairs, old.id, whole):
        own = {whole[leaf] for pair in group for leaf in _own(pair, old.id)}
        touched |= own
        total = _both(total, _component(_only(old, own, whole), _only(new, own, whole), group, max_cells))
    rest = [_only(placement, {*whole.values()} - touched, whole) for placement in (old, new)]
    same = merge(rest[0], ()).config_id == merge(rest[1], ()).config_id
    return _both(total, {(True, same, True): 1.0})


def outcomes(pairs: list[EvaluatorPair], max_cells: int) -> Iterator[tuple[float, tuple[Arm, ...], tuple[Arm, ...]]]:
    """Yield (probability, arms before, arms after) of experiments that may share layers.

    Within a range of a layer's buckets the other hashes are independent of each other. Raises TooManyCellsError.
    """
    axes = _layers(pairs)
    cells = 0
    for ranges in product(*(_ranges(edges) for edges in axes.values())):
        at = {axis: start for axis, (start, _) in zip(axes, ranges, strict=True)}
        weight = 1.0
        for start, stop in ranges:
            weight *= (stop - start) / BASIS_POINTS
        rows: list[tuple[float, tuple[Arm, ...], tuple[Arm, ...]]] = [(weight, (), ())]
        for pair in pairs:
            within = [
                evaluator if evaluator is not None and _is_within(evaluator, at) else None
                for evaluator in (pair.old, pair.new)
            ]
            if within == [None, None]:
                continue
            found = list(_outcomes(*within))
            cells += len(rows) * len(found)
            if cells > max_cells:
                raise TooManyCellsError
            rows = [
                (weight * share, before + _some(one), after + _some(other))
                for weight, before, after in rows
                for share, one, other in found
            ]
        yield from rows


def _component(old: Placement, new: Placement, pairs: list[EvaluatorPair], max_cells: int) -> JointTable:
    """Return the table of experiments that share layers or leaves; the placements have only these leaves."""
    configs: dict[tuple[int, tuple[Arm, ...]], str] = {}

    def config(side: int, placement: Placement, arms: tuple[Arm, ...]) -> str:
        if (side, arms) not in configs:
            configs[side, arms] = merge(placement, arms).config_id
        return configs[side, arms]

    found: JointTable = {}
    for share, before, after in outcomes(pairs, max_cells):
        same_config = config(0, old, before) == config(1, new, after)
        cell = (same_variants(before, after), same_config, not before)
        found[cell] = found.get(cell, 0.0) + share
    return found


def same_variants(before: tuple[Arm, ...], after: tuple[Arm, ...]) -> bool:
    """Whether a unit is in the same variants of the same experiments, whatever the phase."""
    return [(arm.experiment, arm.variant.id) for arm in before] == [(arm.experiment, arm.variant.id) for arm in after]


def _outcomes(old: Evaluator | None, new: Evaluator | None) -> Iterator[JointRow]:
    """Yield what one experiment assigns before and after, inside its slots."""
    if old is None or new is None or _axis(old, old.variant_prefix) != _axis(new, new.variant_prefix):
        for (share, arm), (other_share, other) in product(_alone(old), _alone(new)):
            yield share * other_share, arm, other
        return
    # One salt: the traffic bucket and the variant bucket are the same in both.
    both, either = sorted((old.traffic_bp, new.traffic_bp))
    for arm_of_one, start, stop in _split(old, new):
        width = (stop - start) / BASIS_POINTS
        one, other = arm_of_one
        if both:
            yield both / BASIS_POINTS * width, one, other
        if either > both:
            share = (either - both) / BASIS_POINTS * width
            yield (share, one, None) if old.traffic_bp > new.traffic_bp else (share, None, other)
    if either < BASIS_POINTS:
        yield (BASIS_POINTS - either) / BASIS_POINTS, None, None


def _alone(evaluator: Evaluator | None) -> Iterator[tuple[float, Arm | None]]:
    if evaluator is None:
        yield 1.0, None
        return
    traffic = evaluator.traffic_bp / BASIS_POINTS
    for arm in evaluator.arms:
        yield traffic * (arm.variant.stop - arm.variant.start) / BASIS_POINTS, arm
    if traffic < 1:
        yield 1 - traffic, None


def _split(old: Evaluator, new: Evaluator) -> Iterator[tuple[tuple[Arm, Arm], int, int]]:
    for start, stop in _ranges({*old.stops, *new.stops}):
        yield (old.arms[bisect_right(old.stops, start)], new.arms[bisect_right(new.stops, start)]), start, stop


def _linked(pairs: list[EvaluatorPair], placement: str, whole: dict[Leaf, Leaf]) -> list[list[EvaluatorPair]]:
    """Group the experiments that share a layer's hash or a leaf; groups are independent of each other.

    `whole`: for each leaf itself, or the leaf above it where another version has a value in the place of a mapping.
    """
    groups: list[tuple[set[object], list[EvaluatorPair]]] = []
    for pair in pairs:
        keys: set[object] = {*_layers([pair]), *(whole[leaf] for leaf in _own(pair, placement))}
        members = [pair]
        apart = []
        for other_keys, others in groups:
            if keys & other_keys:
                keys, members = keys | other_keys, others + members
            else:
                apart.append((other_keys, others))
        groups = [*apart, (keys, members)]
    return [sorted(members, key=lambda pair: pair.id) for _, members in groups]


def _layers(pairs: Iterable[EvaluatorPair]) -> dict[Axis, set[int]]:
    """Return the hashes of the layers with the edges of all slots in them."""
    axes: dict[Axis, set[int]] = {}
    for pair in pairs:
        for evaluator in pair.versions():
            if evaluator.slots is not None:
                axes.setdefault(_axis(evaluator, evaluator.layer_prefix), set()).update(evaluator.slots)
    return axes


def _ranges(edges: Iterable[int]) -> list[tuple[int, int]]:
    """Cut the buckets at the edges."""
    cuts = sorted({0, *edges, BASIS_POINTS})
    return list(pairwise(cuts))


def _is_within(evaluator: Evaluator, at: dict[Axis, int]) -> bool:
    if evaluator.slots is None:
        return True
    start, stop = evaluator.slots
    return start <= at[_axis(evaluator, evaluator.layer_prefix)] < stop


def _axis(evaluator: Evaluator, prefix: bytes) -> Axis:
    return prefix, evaluator.kind == "session"


def _own(pair: EvaluatorPair, placement: str) -> set[Leaf]:
    """Return the leaves that an experiment's variants set at a placement."""
    arms = [arm for evaluator in pair.versions() for arm in evaluator.arms]
    return {leaf for arm in arms for leaf in _leaves(arm.variant.parameters.get(placement, {}))}


def _leaves(parameters: Parameters) -> set[Leaf]:
    return {leaf for leaf, _ in leaves(parameters)}


def _only(placement: Placement, names: set[Leaf], whole: dict[Leaf, Leaf]) -> Placement:
    """Return the placement with these leaves of its parameters, and what is in their place."""
    kept: Parameters = {}
    for leaf, value in leaves(placement.parameters):
        if whole[leaf] in names:
            for key in reversed(leaf):
                value = {key: value}  # noqa: PLW2901 built from the inside out
            kept = laid_over(kept, cast("Parameters", value))
    return Placement(placement.id, kept)


def _some(arm: Arm | None) -> tuple[Arm, ...]:
    return () if arm is None else (arm,)


def _both(one: JointTable, other: JointTable) -> JointTable:
    """Combine two independent tables: nothing changes where neither changes."""
    combined: JointTable = {}
    for (cell, share), (other_cell, other_share) in product(one.items(), other.items()):
        together = (cell[0] and other_cell[0], cell[1] and other_cell[1], cell[2] and other_cell[2])
        combined[together] = combined.get(together, 0.0) + share * other_share
    return combined
