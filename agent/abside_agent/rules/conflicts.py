"""Where two experiments cannot both be in force: one parameter, one share of a layer, one layer's unit. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from abside.snapshot import is_set, leaf_name, leaves
from abside_agent.document.wording import written_range
from abside_agent.rules.apart import LIVE, disjoint, left_out, separated
from abside_agent.rules.overlap import FoundPairs, OneLeaf, SharedSlots, overlapping_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

    from abside.snapshot import Experiment, Leaf, Placement
    from abside_agent.document.tree import Path, Tree
    from abside_agent.rules.apart import LayersInUse
    from abside_agent.rules.overlap import ConflictKind

Code: TypeAlias = Literal["LAYER_UNIT", "SLOTS_OVERLAP", "PARAMETER_CONFLICT"]

MOST_OTHERS = 10  # found and counted for one experiment: 6,000 on one parameter make 18 million pairs


class Conflict(NamedTuple):
    """Two experiments that exclude each other. `over`: the layer, or the placement and the keys of a leaf."""

    code: Code
    first: Experiment
    second: Experiment
    over: tuple[str, ...]

    @property
    def giving_way(self) -> tuple[Experiment, ...]:
        """Who may have to give way: both; of a draft and a live one the draft, whatever is in force."""
        both = (self.first, self.second)
        if self.code != "LAYER_UNIT":  # the only code under which drafts are compared
            return both
        return tuple(one for one in both if one.status == "draft") or both


class ConflictGround(NamedTuple):
    """What the remedies of conflicts are found in."""

    layers: LayersInUse
    placements: Mapping[str, Placement]


@dataclass(slots=True)
class Gathered:
    """By experiment that may have to give way and by code: the first conflict, and how many others there are."""

    found: dict[str, dict[Code, tuple[Conflict, dict[str, Experiment]]]] = field(default_factory=dict)

    def add(self, name: str, conflict: Conflict) -> None:
        """Count one conflict of an experiment."""
        by_code = self.found.setdefault(name, {})
        if conflict.code not in by_code:
            by_code[conflict.code] = (conflict, {})
        others = by_code[conflict.code][1]
        if len(others) < MOST_OTHERS:
            other = conflict.second if name == conflict.first.id else conflict.first
            others[other.id] = other

    def note(self, name: str, tree: Tree, at: Callable[[str], str], ground: ConflictGround) -> None:
        """Note one experiment's conflicts on its tree; `at` returns the place of another experiment."""
        for code, (conflict, others) in self.found[name].items():
            one, other = conflict.first, conflict.second
            if name == other.id:
                one, other = other, one
            more = f" and {len(others) - 1} more" if 1 < len(others) < MOST_OTHERS else ""
            more = " and many more" if len(others) == MOST_OTHERS else more
            path, what = _MESSAGES[code](one, other, conflict.over)
            remedy = _remedy(conflict, one, others.values(), ground)
            tree.note(code, ("experiments", name, *path), f"{what}, with {other.id} ({at(other.id)}){more}", remedy)


def conflicts(
    experiments: Iterable[Experiment], settled: Container[str] = (), most: int = MOST_OTHERS
) -> Iterator[Conflict]:
    """Yield conflicts, up to `most` of each kind for each experiment, so that every experiment with one appears.

    `settled`: ids that do not give way; conflicts with those and with others are counted separately. The messages
    are made in `Gathered.note`, for the chosen conflicts only.
    """
    ordered = sorted(experiments, key=lambda experiment: experiment.id)
    yield from _units(ordered, settled, most)
    live = [experiment for experiment in ordered if experiment.status in LIVE]
    yield from _slots(live, settled, most)
    yield from _parameters(live, settled, most)


def _units(ordered: list[Experiment], settled: Container[str], most: int) -> Iterator[Conflict]:
    """Yield experiments of one layer with different units: its slots would not exclude anybody."""
    found = FoundPairs(lambda one: (one.status == "draft", one.id in settled), most)
    for layer, members in _by_layer(ordered).items():
        by_unit: dict[str, dict[ConflictKind, list[Experiment]]] = defaultdict(lambda: defaultdict(list))
        for one in members:
            if one.status != "ended":
                by_unit[one.unit][found.kind_of(one)].append(one)
        pairs = [
            found.pair(one, other)
            for unit, kinds in by_unit.items()
            for one in chain(*kinds.values())
            for other_unit, other_kinds in by_unit.items()
            if other_unit != unit
            for others in other_kinds.values()
            for other in others[:most]
            if not found.is_known(one, other)
        ]
        for a, b in sorted(pairs, key=lambda pair: (pair[0].id, pair[1].id)):
            yield Conflict("LAYER_UNIT", a, b, (layer,))


def _slots(live: list[Experiment], settled: Container[str], most: int) -> Iterator[Conflict]:
    found = FoundPairs(lambda one: (one.id in settled,), most)
    for layer, members in _by_layer(live).items():
        with_slots = [one for one in members if one.slots is not None]
        for a, b in overlapping_pairs(with_slots, SharedSlots, found):
            yield Conflict("SLOTS_OVERLAP", a, b, (layer,))


def _parameters(live: list[Experiment], settled: Container[str], most: int) -> Iterator[Conflict]:
    """Yield experiments that set one leaf, unless one layer separates them: then `_slots` compares them.

    A value and another inside a mapping in its place are one leaf too: the one would take the place of the other.
    """
    setting: dict[Leaf, dict[str, Experiment]] = defaultdict(dict)  # placement, and the keys of a leaf
    within: dict[Leaf, dict[str, Experiment]] = defaultdict(dict)  # who sets a leaf further inside
    for experiment in live:
        for arm in experiment.variants:
            for leaf, _ in leaves(arm.parameters):
                for depth in range(2, len(leaf)):
                    within[leaf[:depth]][experiment.id] = experiment
                if len(leaf) > 1:  # else a placement of which nothing is set
                    setting[leaf][experiment.id] = experiment
    found = FoundPairs(lambda one: (one.id in settled,), most)
    known = set()
    for over, setters in setting.items():
        inside = within.get(over, {})
        crowd = (tuple(setters), tuple(inside))
        if crowd not in known:  # the same experiments on every leaf of a mapping are found on the first
            known.add(crowd)
            for a, b in overlapping_pairs({**inside, **setters}.values(), partial(OneLeaf, setters), found):
                yield Conflict("PARAMETER_CONFLICT", a, b, over)


def _by_layer(experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
    members: dict[str, list[Experiment]] = defaultdict(list)
    for experiment in experiments:
        if experiment.layer is not None:
            members[experiment.layer].append(experiment)
    return members


def _unit_message(one: Experiment, other: Experiment, over: tuple[str, ...]) -> tuple[Path, str]:
    return ("unit",), f"all experiments of layer {over[0]} share one unit, these are {one.unit} and {other.unit}"


def _slots_message(one: Experiment, other: Experiment, over: tuple[str, ...]) -> tuple[Path, str]:
    return ("slots",), f"slots overlap in layer {over[0]}: {_range(one)} and {_range(other)}"


def _parameter_message(one: Experiment, _: Experiment, over: tuple[str, ...]) -> tuple[Path, str]:
    placement, *leaf = over
    arm = next(arm.id for arm in one.variants if is_set(arm.parameters, over))
    return ("variants", arm, "parameters", *over), f"both set {leaf_name(tuple(leaf))} of {placement}"


_MESSAGES: dict[Code, Callable[[Experiment, Experiment, tuple[str, ...]], tuple[Path, str]]] = {
    "LAYER_UNIT": _unit_message,
    "SLOTS_OVERLAP": _slots_message,
    "PARAMETER_CONFLICT": _parameter_message,
}


def _remedy(conflict: Conflict, one: Experiment, others: Collection[Experiment], ground: ConflictGround) -> str:
    match conflict.code:
        case "PARAMETER_CONFLICT":
            placement = ground.placements.get(conflict.over[0])
            easier = left_out([one, *others], placement) if placement is not None else ""
            return easier or separated(one, others, conflict.over[0], ground.layers)
        case "SLOTS_OVERLAP":
            return disjoint(one, others, ground.layers)
        case "LAYER_UNIT":
            return "give them one unit, or another layer"


def _range(experiment: Experiment) -> str:
    return written_range(experiment.slots or (0, 0))
