"""The active snapshot: one reference that a request reads once, and that changes only as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from abside.sidecar.active.prepared import AnswerCache
from abside.snapshot import MAX_SHOWN_CHARS, LeftOut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.assignment.plan import Plans
    from abside.snapshot import AttributeType, Problem, Snapshot, SnapshotHead

LEFT_OUT = "left_out"  # the effective status of an experiment whose record cannot be used
Fits: TypeAlias = Callable[[Any], bool]  # whether a value has the declared type and may be logged


@dataclass(frozen=True, slots=True, eq=False)
class Current:
    """One active snapshot, from `applied_us` on."""

    snapshot: Snapshot
    plans: Plans
    applied_us: int
    logged: tuple[tuple[str, Fits], ...]  # the attributes an exposure carries, and which of their values
    caches: dict[str, AnswerCache]  # by placement: the plans with what was prepared of their answers
    left_out: tuple[LeftOut, ...] = ()  # records of the file that cannot be used; the others are in force

    @property
    def degraded(self) -> bool:
        """Whether something that the documents ask for is not active."""
        return self.snapshot.head.degraded or bool(self.left_out)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of the documents, then what is left out of the file."""
        return (*self.snapshot.head.problems, *(one.as_problem() for one in self.left_out))

    @property
    def left_out_experiments(self) -> dict[str, LeftOut]:
        """Those experiments that are not in force because their records cannot be used, by id."""
        found = {one.id: one for one in self.left_out if one.kind == "Experiment" and one.id}
        return {name: one for name, one in found.items() if name not in self.plans.evaluators}

    @property
    def revision(self) -> str:
        """The revision in force."""
        return self.snapshot.head.revision

    def attributes_to_log(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Copy what was declared with `log: true` and has its declared type; nothing else ever reaches an event."""
        found = {}
        for name, fits in self.logged:
            value = sent.get(name)  # null has no declared type
            if value is not None and fits(value):
                found[name] = value
        return found


@dataclass(slots=True)
class Cell:
    """The one place that changes. Only the follower writes it."""

    current: Current | None = None
    swaps: int = 0
    refused: int = 0  # snapshot files that could not be used
    refusal: str = ""  # why, while the file on disk is one of them
    missing: bool = True  # there is no snapshot file on disk
    beat_us: int | None = None  # when the agent last touched the file: it looks although nothing changes


def logged_attributes(snapshot: Snapshot) -> tuple[tuple[str, Fits], ...]:
    """List the attributes that exposures carry; one of a type that only a newer agent knows is not logged."""
    attributes = snapshot.head.attributes.items()
    return tuple((name, _FITS[one.type]) for name, one in attributes if one.log and one.type in _FITS)


def unknown_attributes(head: SnapshotHead) -> list[LeftOut]:
    """List the declared attributes of a type that this version does not know."""
    return [
        LeftOut("Attribute", name, f"its type {one.type[:MAX_SHOWN_CHARS]} is not known to this version", one.source)
        for name, one in head.attributes.items()
        if one.type not in _FITS
    ]


def caches(revision: str, plans: Plans) -> dict[str, AnswerCache]:
    """Make an empty answer cache for each placement. Answers show the unit where an open experiment needs it pinned."""
    visits = [one.experiment for one in plans.evaluators.values() if one.closed is None]
    pinnable = {name for one in visits if one.unit == "user_or_session" for name in one.placements}
    return {name: AnswerCache(revision, plan, pinnable=name in pinnable) for name, plan in plans.placements.items()}


MAX_LOGGED_CHARS = 256  # an attribute is a short value, not a text
MAX_LOGGED_ITEMS = 32


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_LOGGED_CHARS


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


_FITS: dict[AttributeType, Fits] = {
    "string": _is_text,
    "version": _is_text,
    "number": _is_number,
    "boolean": lambda value: type(value) is bool,
    "date": lambda value: _is_text(value) or _is_number(value),
    "list": lambda value: type(value) is list and len(value) <= MAX_LOGGED_ITEMS and all(map(_is_text, value)),
}
