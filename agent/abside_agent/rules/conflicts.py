"""Where two experiments cannot both be in force: one parameter, one share of a layer, one layer's unit. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING

from abside_agent.rules.alone import shown_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from abside.snapshot import Experiment
    from abside_agent.tree import Path, Tree

LIVE = frozenset({"running", "paused"})
MOST_OTHERS = 10  # counted for one experiment: thousands on one parameter make millions of pairs


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two experiments that exclude each other. `yields`: who gives way whatever is in force; None: see resolve.py."""

    code: str
    first: str
    second: str
    what: str
    remedy: str
    paths: tuple[Path, Path]  # inside the first and the second
    yields: str | None = None


@dataclass(slots=True)
class Gathered:
    """Conflicts by the experiment that may have to give way and by code: the first, and with how many others."""

    found: dict[tuple[str, str], tuple[Conflict, set[str]]] = field(default_factory=dict)

    def add(self, name: str, conflict: Conflict) -> None:
        """Count one conflict of an experiment."""
        others = self.found.setdefault((name, conflict.code), (conflict, set()))[1]
        if len(others) < MOST_OTHERS:
            others.add(conflict.second if name == conflict.first else conflict.first)

    def note(self, name: str, tree: Tree, at: Callable[[str], str]) -> None:
        """Note one experiment's conflicts on its tree; `at` says where another experiment stands."""
        for (loser, code), (conflict, others) in self.found.items():
            if loser != name:
                continue
            other, path = conflict.second, conflict.paths[0]
            if name == other:
                other, path = conflict.first, conflict.paths[1]
            more = f" and {len(others) - 1} more" if 1 < len(others) < MOST_OTHERS else ""
            more = " and many more" if len(others) == MOST_OTHERS else more
            message = f"{conflict.what}, with {other} ({at(other)}){more}"
            tree.note(code, ("experiments", name, *path), message, conflict.remedy)


def conflicts(experiments: Iterable[Experiment]) -> Iterator[Conflict]:
    """Yield every conflict; hundreds of experiments on one parameter make very many, so they are not listed here."""
    ordered = sorted(experiments, key=lambda experiment: experiment.id)
    yield from _units(ordered)
    live = [experiment for experiment in ordered if experiment.status in LIVE]
    yield from _slots(live)
    yield from _parameters(live)


def _units(ordered: list[Experiment]) -> Iterator[Conflict]:
    """One unit per layer, or its slots do not exclude. A draft gives way to a live one; an ended one is history."""
    for layer, members in _by_layer(ordered).items():
        present = [experiment for experiment in members if experiment.status != "ended"]
        if len({experiment.unit for experiment in present}) < 2:
            continue
        for a, b in combinations(present, 2):
            if a.unit != b.unit:
                drafts = [experiment.id for experiment in (a, b) if experiment.status == "draft"]
                what = f"all experiments of layer {layer} share one unit, these are {a.unit} and {b.unit}"
                remedy = "give them one unit, or another layer"
                yields = drafts[0] if len(drafts) == 1 else None
                yield Conflict("LAYER_UNIT", a.id, b.id, what, remedy, (("unit",), ("unit",)), yields)


def _slots(live: list[Experiment]) -> Iterator[Conflict]:
    for layer, members in _by_layer(live).items():
        holding = sorted((e for e in members if e.slots), key=lambda experiment: experiment.slots or (0, 0))
        for index, a in enumerate(holding):
            for b in holding[index + 1 :]:
                if a.slots is None or b.slots is None or b.slots[0] >= a.slots[1]:
                    break
                if _at_one_time(a, b):
                    what = f"slots overlap in layer {layer}: {_range(a.slots)} and {_range(b.slots)}"
                    first, second = (a, b) if a.id < b.id else (b, a)
                    remedy = "give each its own slots"
                    yield Conflict("SLOTS_OVERLAP", first.id, second.id, what, remedy, (("slots",), ("slots",)))


def _parameters(live: list[Experiment]) -> Iterator[Conflict]:
    """Two that set one parameter, unless one layer keeps them apart: then their slots are what is compared."""
    setting: dict[tuple[str, str], dict[str, tuple[Experiment, Path]]] = defaultdict(dict)
    for experiment in live:
        for arm in experiment.variants:
            for placement, values in arm.parameters.items():
                for name in values:
                    path = ("variants", arm.id, "parameters", placement, name)
                    setting[placement, name].setdefault(experiment.id, (experiment, path))
    for (placement, name), members in setting.items():
        for (a, path_a), (b, path_b) in combinations(members.values(), 2):
            if (a.layer is None or a.layer != b.layer) and _at_one_time(a, b):
                what = f"both set {name} of {placement}"
                remedy = "give both one layer with disjoint slots, or times from start to end that do not meet"
                yield Conflict("PARAMETER_CONFLICT", a.id, b.id, what, remedy, (path_a, path_b))


def _by_layer(experiments: Iterable[Experiment]) -> dict[str, list[Experiment]]:
    members: dict[str, list[Experiment]] = defaultdict(list)
    for experiment in experiments:
        if experiment.layer is not None:
            members[experiment.layer].append(experiment)
    return members


def _at_one_time(a: Experiment, b: Experiment) -> bool:
    start = max(-inf if e.start_us is None else e.start_us for e in (a, b))
    return start < min(inf if e.end_us is None else e.end_us for e in (a, b))


def _range(slots: tuple[int, int]) -> str:
    return f"{shown_percent(slots[0])}-{shown_percent(slots[1])}".replace(" ", "")
