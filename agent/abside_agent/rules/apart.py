"""How experiments are kept apart: the free slots of a layer, and the lines that separate those in conflict. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from abside.snapshot import BASIS_POINTS, is_set, leaf_name, leaves, value_at
from abside_agent.document.wording import written_range

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from abside.snapshot import Experiment, Leaf, Placement

LIVE = frozenset({"running", "paused"})
MOST_SEATED = 5  # experiments that one remedy seats: with more, each would have a sliver that nobody wants
MOST_MEMBERS = 200  # of a layer that is searched for room: there may be thousands, and as many in conflict with them
MOST_NAMED = 6  # values that one remedy names: one line
WHOLE = (0, BASIS_POINTS)


def gaps(taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what half-open ranges of basis points leave free."""
    free, reached = [], 0
    for start, stop in sorted(taken):
        if start > reached:
            free.append((reached, start))
        reached = max(reached, stop)
    return [*free, (reached, BASIS_POINTS)] if reached < BASIS_POINTS else free


def widest(ranges: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the first of the widest ranges, None where there is none."""
    return max(ranges, key=lambda one: one[1] - one[0], default=None)


@dataclass(frozen=True, slots=True)
class LayersInUse:
    """The declared layers, and the experiments of each that are not ended."""

    members: dict[str, list[Experiment]]
    _near: dict[str, str | None] = field(default_factory=dict)  # placement → its layer, once found

    @classmethod
    def of(cls, experiments: Iterable[Experiment], declared: Iterable[str]) -> LayersInUse:
        """Sort experiments by their layers."""
        members: dict[str, list[Experiment]] = defaultdict(list, {name: [] for name in sorted(declared)})
        for one in sorted(experiments, key=lambda experiment: experiment.id):
            if one.layer is not None and one.status != "ended":
                members[one.layer].append(one)
        return cls(dict(members))

    def free(self, layer: str, leaving: Collection[str] = ()) -> list[tuple[int, int]]:
        """Return the free ranges of a layer once the experiments `leaving` are out of it."""
        members = (one for one in self.members.get(layer, ()) if one.status in LIVE and one.id not in leaving)
        return gaps(one.slots for one in members if one.slots is not None)

    def at(self, placement: str) -> str | None:
        """Return the layer of a placement: where its experiments are, else one that is named after it."""
        if placement not in self._near:
            self._near[placement] = self._found(placement)
        return self._near[placement]

    def _found(self, placement: str) -> str | None:
        used = {name: sum(placement in one.placements for one in members) for name, members in self.members.items()}
        if any(used.values()):
            return max((name for name in used if used[name]), key=lambda name: (bool(self.free(name)), used[name]))
        return next((name for name in self.members if f"{name}-".startswith(f"{placement}-")), None)

    def unit(self, layer: str) -> str | None:
        """Return the unit of a layer's experiments, None where it has none."""
        return next((one.unit for one in self.members.get(layer, ())), None)

    def seats(self, layer: str, moving: list[Experiment]) -> dict[str, tuple[int, int]]:
        """Return slots for experiments that come into a layer; in a full one, its largest shares its own."""
        ids = [one.id for one in moving]
        room = widest(self.free(layer, ids))
        if room is None or room[1] - room[0] < len(ids):
            own = [one for one in self.members.get(layer, ()) if one.status in LIVE and one.id not in ids and one.slots]
            giving = max(own, key=lambda one: one.slots[1] - one.slots[0] if one.slots else 0)
            ids, room = [giving.id, *ids], giving.slots or WHOLE
        return dict(zip(ids, _parts(room, len(ids)), strict=True))


def _parts(room: tuple[int, int], count: int) -> Iterator[tuple[int, int]]:
    edges = [room[0] + (room[1] - room[0]) * number // count for number in range(count + 1)]
    return pairwise(edges)


def separated(one: Experiment, rivals: Collection[Experiment], placement: str, layers: LayersInUse) -> str:
    """Return the lines that separate experiments which set one parameter of a placement.

    All that exclude each other are told the same lines, so that following each message once is enough.
    """
    everyone = sorted([one, *rivals], key=lambda experiment: experiment.id)
    if len({each.unit for each in everyone}) > 1:
        return "their units differ, so no layer separates them: give them times from start to end that do not meet"
    if len(everyone) > MOST_SEATED:
        return "give all of them one layer with disjoint slots, or times from start to end that do not meet"
    layer, is_new = _layer_for(everyone, placement, layers)
    if len(layers.members.get(layer, ())) > MOST_MEMBERS:
        return f"give each its own slots of layer {layer}, or times from start to end that do not meet"
    seats = layers.seats(layer, [each for each in everyone if each.layer != layer])
    lines = ", ".join(f"in {name} layer: {layer} and slots: {written_range(slots)}" for name, slots in seats.items())
    declare = f"declare layers: {{{layer}: {{}}}}, and " if is_new else ""
    return f"{declare}write {lines}; or give them times from start to end that do not meet"


def _layer_for(everyone: list[Experiment], placement: str, layers: LayersInUse) -> tuple[str, bool]:
    """Return the layer for experiments of one unit, and whether it is yet to be declared."""
    unit = everyone[0].unit
    own = Counter(one.layer for one in everyone if one.layer is not None)
    if own:
        return max(sorted(own), key=lambda name: own[name]), False
    near = layers.at(placement)
    if near is None and len(layers.members) == 1 and not any(layers.members.values()):
        near = next(iter(layers.members))  # one with experiments of other placements would exclude those, for nothing
    if near is not None and layers.unit(near) in {None, unit}:
        return near, False
    names = (placement, *(f"{placement}-{number}" for number in range(2, len(layers.members) + 3)))
    return next(name for name in names if name not in layers.members), True


def disjoint(one: Experiment, rivals: Collection[Experiment], layers: LayersInUse) -> str:
    """Return the slots that separate experiments of one layer; of all, the first one stays."""
    everyone = sorted([one, *rivals], key=lambda experiment: experiment.id)
    if len(everyone) > MOST_SEATED or len(layers.members.get(one.layer or "", ())) > MOST_MEMBERS:
        return "give each its own slots"
    seats = layers.seats(one.layer or "", everyone[1:])
    return "write " + ", ".join(f"in {name} slots: {written_range(slots)}" for name, slots in seats.items())


def left_out(everyone: Iterable[Experiment], placement: Placement) -> str:
    """Return which values to delete so that none of these experiments conflict; empty where that is not enough."""
    found: list[str] = []
    needed: list[set[Leaf]] = []
    by_id = sorted(everyone, key=lambda experiment: experiment.id)
    if len(by_id) > MOST_SEATED:
        return ""
    for one in by_id:
        others = [other for other in by_id if other is not one]
        mine = {leaf for arm in one.variants for leaf, _ in leaves(arm.parameters.get(placement.id, {}))}
        spare = {
            leaf for leaf in mine if _repeats(one, placement, leaf) and any(_sets(b, placement, leaf) for b in others)
        }
        needed.append(mine - spare)
        found += [f"{leaf_name(leaf)} in {one.id}" for leaf in sorted(spare)]
    if any(one[: len(other)] == other[: len(one)] for a, b in combinations(needed, 2) for one in a for other in b):
        return ""
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"delete what only repeats the placement's value: {', '.join(found[:MOST_NAMED])}{more}" if found else ""


def _sets(one: Experiment, placement: Placement, leaf: Leaf) -> bool:
    return any(is_set(arm.parameters, (placement.id, *leaf)) for arm in one.variants)


def _repeats(one: Experiment, placement: Placement, leaf: Leaf) -> bool:
    """Whether the variants that set a leaf have the placement's value there; a whole number is as good as a float."""
    path = (placement.id, *leaf)
    given = [value_at(arm.parameters, path) for arm in one.variants if is_set(arm.parameters, path)]
    return all(value == value_at(placement.parameters, leaf) for value in given)
