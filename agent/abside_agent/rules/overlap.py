"""Pairs of experiments that overlap in time, found without comparing every pair. Pure.

A sweep over time keeps an index of the experiments present. Each experiment looks for a bounded number of others of
each kind, and can be found until it has as many, so n experiments cost about n steps, however many overlap.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator

    from abside.snapshot import Experiment

ConflictKind: TypeAlias = tuple[bool, ...]  # what decides who gives way in a pair
ExperimentPair: TypeAlias = "tuple[Experiment, Experiment]"

SLOT_LEAVES = 1 << 14  # the power of two above the 10,000 buckets of a layer


class OverlapIndex(Protocol):
    """The experiments present, searched by what separates two besides their times."""

    def add(self, one: Experiment) -> None:
        """Add an experiment."""

    def remove(self, one: Experiment) -> None:
        """Remove an experiment, also one that is not in the index."""

    def overlapping(self, one: Experiment) -> Iterator[Experiment]:
        """Yield the experiments that nothing but time separates from this one."""


class OtherLayers:
    """An index in which one layer separates its members; an experiment without a layer is separate from none."""

    def __init__(self) -> None:
        self._layers: dict[str | None, dict[str, Experiment]] = {}

    def add(self, one: Experiment) -> None:
        """Add an experiment."""
        self._layers.setdefault(one.layer, {})[one.id] = one

    def remove(self, one: Experiment) -> None:
        """Remove an experiment, also one that is not in the index."""
        members = self._layers.get(one.layer, {})
        members.pop(one.id, None)
        if not members:
            self._layers.pop(one.layer, None)

    def overlapping(self, one: Experiment) -> Iterator[Experiment]:
        """Yield the experiments of other layers, and those without a layer."""
        for layer, members in self._layers.items():
            if layer is None or layer != one.layer:
                yield from members.values()


class OneLeaf:
    """An index of those who set one leaf, with those who set one inside it, who are separate among themselves."""

    def __init__(self, setters: Container[str]) -> None:
        self._setters = setters
        self._setting, self._within = OtherLayers(), OtherLayers()

    def add(self, one: Experiment) -> None:
        """Add an experiment."""
        (self._setting if one.id in self._setters else self._within).add(one)

    def remove(self, one: Experiment) -> None:
        """Remove an experiment, also one that is not in the index."""
        (self._setting if one.id in self._setters else self._within).remove(one)

    def overlapping(self, one: Experiment) -> Iterator[Experiment]:
        """Yield who of other layers or of none sets the leaf; for one that sets it, those who set one inside it too."""
        yield from self._setting.overlapping(one)
        if one.id in self._setters:
            yield from self._within.overlapping(one)


class SharedSlots:
    """An index of one layer, as a segment tree over its buckets, that finds overlapping slots."""

    def __init__(self) -> None:
        self._covering: dict[int, dict[str, Experiment]] = defaultdict(
            dict
        )  # tree node → experiments whose slots cover all of it
        self._starting: dict[int, dict[str, Experiment]] = defaultdict(
            dict
        )  # tree node → experiments whose slots begin in it

    def add(self, one: Experiment) -> None:
        """Add an experiment."""
        for members in self._places(one):
            members[one.id] = one

    def remove(self, one: Experiment) -> None:
        """Remove an experiment, also one that is not in the index."""
        for members in self._places(one):
            members.pop(one.id, None)

    def overlapping(self, one: Experiment) -> Iterator[Experiment]:
        """Yield experiments that cover the first bucket of this one, then those that begin at a later bucket of it."""
        start, stop = one.slots or (0, 0)
        for node in _upward(start):
            yield from self._covering[node].values()
        for node in _nodes(start + 1, stop):
            yield from self._starting[node].values()

    def _places(self, one: Experiment) -> Iterator[dict[str, Experiment]]:
        start, stop = one.slots or (0, 0)
        yield from (self._covering[node] for node in _nodes(start, stop))
        yield from (self._starting[node] for node in _upward(start))


def _upward(bucket: int) -> Iterator[int]:
    node = bucket + SLOT_LEAVES
    while node:
        yield node
        node >>= 1


def _nodes(start: int, stop: int) -> Iterator[int]:
    """Yield the fewest tree nodes that make up a half-open range of buckets."""
    low, high = start + SLOT_LEAVES, stop + SLOT_LEAVES
    while low < high:
        if low & 1:
            yield low
            low += 1
        if high & 1:
            high -= 1
            yield high
        low, high = low >> 1, high >> 1


class FoundPairs:
    """The pairs found for one kind of conflict, up to `most` of each kind for each experiment."""

    def __init__(self, kind_of: Callable[[Experiment], ConflictKind], most: int) -> None:
        self.kind_of = kind_of
        self._most = most
        self._known: dict[tuple[str, ConflictKind], set[str]] = defaultdict(set)

    def wants(self, one: Experiment, kind: ConflictKind) -> bool:
        """Whether this experiment still looks for others of that kind."""
        return len(self._known[one.id, kind]) < self._most

    def is_known(self, one: Experiment, other: Experiment) -> bool:
        """Whether the pair was found before."""
        return other.id in self._known[one.id, self.kind_of(other)]

    def pair(self, one: Experiment, other: Experiment) -> ExperimentPair:
        """Add a pair, and return it with the smaller id first."""
        self._known[one.id, self.kind_of(other)].add(other.id)
        self._known[other.id, self.kind_of(one)].add(one.id)
        return (one, other) if one.id < other.id else (other, one)


def overlapping_pairs(
    members: Iterable[Experiment], new_index: Callable[[], OverlapIndex], found: FoundPairs
) -> list[ExperimentPair]:
    """Return new pairs that overlap in time and in an index, sorted by their ids."""
    ordered = sorted(members, key=lambda member: (_begin(member), member.id))
    sweep = _Sweep(new_index, found, {found.kind_of(one) for one in ordered})
    for one in ordered:
        if _begin(one) < _end(one):
            sweep.arrive(one)
    return sorted(sweep.pairs, key=lambda pair: (pair[0].id, pair[1].id))


class _Sweep:
    """One pass over time. `present`: experiments by kind; `looking`: those that still look, by kind they look for."""

    def __init__(self, new_index: Callable[[], OverlapIndex], found: FoundPairs, kinds: Iterable[ConflictKind]) -> None:
        self.found = found
        self.pairs: list[ExperimentPair] = []
        self.present: dict[ConflictKind, OverlapIndex] = {kind: new_index() for kind in kinds}
        self.looking: dict[ConflictKind, OverlapIndex] = {kind: new_index() for kind in self.present}
        self.leaving: list[tuple[float, str, Experiment]] = []

    def arrive(self, one: Experiment) -> None:
        self.leave(_begin(one))
        kind = self.found.kind_of(one)
        for other_kind, index in self.present.items():
            self.compare(one, index, other_kind)
        for other in list(self.looking[kind].overlapping(one)):
            if not self.found.wants(other, kind):
                self.looking[kind].remove(other)
            elif not self.found.is_known(one, other):
                self.pairs.append(self.found.pair(one, other))
        self.present[kind].add(one)
        for index in self.looking.values():
            index.add(one)
        heappush(self.leaving, (_end(one), one.id, one))

    def compare(self, one: Experiment, index: OverlapIndex, kind: ConflictKind) -> None:
        if not self.found.wants(one, kind):
            return
        for other in index.overlapping(one):
            if not self.found.is_known(one, other):
                self.pairs.append(self.found.pair(one, other))
                if not self.found.wants(one, kind):
                    return

    def leave(self, now: float) -> None:
        while self.leaving and self.leaving[0][0] <= now:
            _, _, one = heappop(self.leaving)
            self.present[self.found.kind_of(one)].remove(one)
            for index in self.looking.values():
                index.remove(one)


def _begin(one: Experiment) -> float:
    return -inf if one.start_us is None else one.start_us


def _end(one: Experiment) -> float:
    return inf if one.end_us is None else one.end_us
