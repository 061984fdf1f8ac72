"""A change between two snapshots, and its old and new parameters in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import orjson

from abside.snapshot import digest, leaf_name, leaves
from abside_agent.document.tree import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Json, Parameters

ChangeKind: TypeAlias = Literal[
    "added",
    "removed",
    "drafted",
    "scheduled",
    "started",
    "paused",
    "resumed",
    "ended",
    "reopened",
    "phase",
    "ramped",
    "reweighted",
    "variants",
    "parameters",
    "eligibility",
    "slots",
    "unit",
    "placements",
    "control",
    "schedule",
    "forced",
    "words",
    "placement",
    "ground",
    "retired",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One change: its kind, the id of its experiment, placement or other entity, and a sentence."""

    kind: ChangeKind
    id: str
    sentence: str


def values(was: Parameters, now: Parameters) -> Iterator[str]:
    """Yield a clause for each leaf that differs: the new value and the old one."""
    before, after = dict(leaves(was)), dict(leaves(now))
    for leaf in sorted(before.keys() | after.keys()):
        name = leaf_name(leaf)
        if leaf not in before:
            yield f"{name} {_json(after[leaf])}, which is new"
        elif leaf not in after:
            yield f"{name} no more (it was {_json(before[leaf])})"
        elif digest([before[leaf]]) != digest([after[leaf]]):
            yield f"{name} {_json(after[leaf])} instead of {_json(before[leaf])}"


def _json(value: Json) -> str:
    return short(orjson.dumps(value).decode())
