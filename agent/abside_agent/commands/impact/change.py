"""A change between two snapshots, and its old and new parameters in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import orjson

from abside.snapshot import digest
from abside_agent.document.tree import short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Json

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


def values(was: dict[str, Json], now: dict[str, Json]) -> Iterator[str]:
    """Yield a clause for each parameter that differs: the new value and the old one."""
    for name in sorted(was.keys() | now.keys()):
        if name not in was:
            yield f"{name} {_json(now[name])}, which is new"
        elif name not in now:
            yield f"{name} no more (it was {_json(was[name])})"
        elif digest([was[name]]) != digest([now[name]]):
            yield f"{name} {_json(now[name])} instead of {_json(was[name])}"


def _json(value: Json) -> str:
    return short(orjson.dumps(value).decode())
