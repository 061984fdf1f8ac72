"""Values of variants that only repeat their placement's: left out, they separate experiments that conflict. Pure."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from abside.snapshot import is_set, leaf_name, leaves, value_at
from abside_agent.rules.apart import MOST_SEATED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot import Experiment, Leaf, Placement


MOST_NAMED = 6  # values in one remedy: one line


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
