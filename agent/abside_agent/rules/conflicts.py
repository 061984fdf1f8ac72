"""Where two experiments cannot both be in force: one parameter, one share of a layer, one layer's unit. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from abside_agent.rules.alone import shown_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from abside.snapshot import Experiment
    from abside_agent.tree import Path, Tree

Code: TypeAlias = Literal["LAYER_UNIT", "SLOTS_OVERLAP", "PARAMETER_CONFLICT"]

LIVE = frozenset({"running", "paused"})
MOST_OTHERS = 10  # counted for one experiment: a thousand on one parameter make half a million pairs


class Conflict(NamedTuple):
    """Two experiments that exclude each other, and over what: a layer, or a placement and its parameter."""

    code: Code
    first: Experiment
    second: Experiment
    over: tuple[str, ...]

    @property
    def giving_way(self) -> tuple[Experiment, ...]:
        """Who may have to give way: both, but of a draft and a live one the draft, whatever is in force."""
        both = (self.first, self.second)
        if self.code != "LAYER_UNIT":  # only there drafts take part
            return both
        return tuple(one for one in both if one.status == "draft") or both


@dataclass(slots=True)
class Gathered:
    """Conflicts by the experiment that may have to give way, and by code: the first, and with how many others."""

    found: dict[str, dict[Code, tuple[Conflict, set[str]]]] = field(default_factory=dict)

    def add(self, name: str, conflict: Conflict) -> None:
        """Count one conflict of an experiment."""
        by_code = self.found.setdefault(name, {})
        if conflict.code not in by_code:
            by_code[conflict.code] = (conflict, set())
        others = by_code[conflict.code][1]
        if len(others) < MOST_OTHERS:
            others.add(conflict.second.id if name == conflict.first.id else conflict.first.id)

    def note(self, name: str, tree: Tree, at: Callable[[str], str]) -> None:
        """Note one experiment's conflicts on its tree; `at` says where another experiment stands."""
        for code, (conflict, others) in self.found[name].items():
            one, other = conflict.first, conflict.second
            if name == other.id:
                one, other = other, one
            more = f" and {len(others) - 1} more" if 1 < len(others) < MOST_OTHERS else ""
            more = " and many more" if len(others) == MOST_OTHERS else more
            path, what, remedy = _SAYING[code](one, other, conflict.over)
            tree.note(code, ("experiments", name, *path), f"{what}, with {other.id} ({at(other.id)}){more}", remedy)


def conflicts(experiments: Iterable[Experiment]) -> Iterator[Conflict]:
    """Yield every conflict; there may be very many, so nothing is said of one before it is chosen."""
    ordered = sorted(experiments, key=lambda experiment: experiment.id)
    yield from _units(ordered)
    live = [experiment for experiment in ordered if experiment.status in LIVE]
    yield from _slots(live)
    yield from _parameters(live)


def _units(ordered: list[Experiment]) -> Iterator[Conflict]:
    """One unit per layer, or its slots exclude nobody. An ended experiment is history."""
    for layer, members in _by_layer(ordered).items():
        present = [experiment for experiment in members if experiment.status != "ended"]
        if len({experiment.unit for experiment in present}) > 1:
            for a, b in combinations(present, 2):
                if a.unit != b.unit:
                    yield Conflict("LAYER_UNIT", a, b, (layer,))


def _slots(live: list[Experiment]) -> Iterator[Conflict]:
    for layer, members in _by_layer(live).items():
        holding = sorted(((e.slots, e) for e in members if e.slots is not None), key=lambda pair: pair[0])
        for index, (slots, a) in enumerate(holding):
            for others, b in holding[index + 1 :]:
                if others[0] >= slots[1]:
                    break
                if _at_one_time(a, b):
                    yield Conflict("SLOTS_OVERLAP", a, b, (layer,))


def _parameters(live: list[Experiment]) -> Iterator[Conflict]:
    """Two that set one parameter, unless one layer keeps them apart: then their slots are what is compared."""
    setting: dict[tuple[str, str], dict[str, Experiment]] = defaultdict(dict)
    for experiment in live:
        for arm in experiment.variants:
            for placement, values in arm.parameters.items():
                for name in values:
                    setting[placement, name][experiment.id] = experiment
    for over, members in setting.items():
        for a, b in combinations(members.values(), 2):
            if (a.layer is None or a.layer != b.layer) and _at_one_time(a, b):
                yield Conflict("PARAMETER_CONFLICT", a, b, over)


def _by_layer(experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
    members: dict[str, list[Experiment]] = defaultdict(list)
    for experiment in experiments:
        if experiment.layer is not None:
            members[experiment.layer].append(experiment)
    return members


def _at_one_time(a: Experiment, b: Experiment) -> bool:
    a_end, b_end = a.end_us, b.end_us
    if a_end is None and b_end is None:
        return True
    begin = max(-inf if a.start_us is None else a.start_us, -inf if b.start_us is None else b.start_us)
    return begin < min(inf if a_end is None else a_end, inf if b_end is None else b_end)


def _say_unit(one: Experiment, other: Experiment, over: tuple[str, ...]) -> tuple[Path, str, str]:
    what = f"all experiments of layer {over[0]} share one unit, these are {one.unit} and {other.unit}"
    return ("unit",), what, "give them one unit, or another layer"


def _say_slots(one: Experiment, other: Experiment, over: tuple[str, ...]) -> tuple[Path, str, str]:
    what = f"slots overlap in layer {over[0]}: {_range(one)} and {_range(other)}"
    return ("slots",), what, "give each its own slots"


def _say_parameter(one: Experiment, _: Experiment, over: tuple[str, ...]) -> tuple[Path, str, str]:
    placement, name = over
    arm = next(arm.id for arm in one.variants if name in arm.parameters.get(placement, {}))
    remedy = "give both one layer with disjoint slots, or times from start to end that do not meet"
    return ("variants", arm, "parameters", placement, name), f"both set {name} of {placement}", remedy


_SAYING: dict[Code, Callable[[Experiment, Experiment, tuple[str, ...]], tuple[Path, str, str]]] = {
    "LAYER_UNIT": _say_unit,
    "SLOTS_OVERLAP": _say_slots,
    "PARAMETER_CONFLICT": _say_parameter,
}


def _range(experiment: Experiment) -> str:
    start, stop = experiment.slots or (0, 0)
    return f"{shown_percent(start)}-{shown_percent(stop)}".replace(" ", "")
