"""Seats: for every id the version that the files ask for, the one in force, and the one chosen. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from abside.snapshot import Attribute, digest_of, unpaused
from abside_agent.document.tree import written
from abside_agent.rules.apart import LIVE
from abside_agent.settle.check import Checked, in_force

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.snapshot import Record, Snapshot
    from abside_agent.document.tree import Path, Tree

_FLAWED = object()


@dataclass(slots=True)
class Seat:
    """One id: its version in force, the version chosen now, and the version asked for.

    `asked` is the new version, as written; _FLAWED where that cannot be used; the version in force where a broken file
    keeps it; None where the files no longer have the id.
    """

    path: Path
    asked: Any
    force: Any
    chosen: Any
    source: str
    tree: Tree | None = None  # the file of the new version

    @property
    def is_in_force(self) -> bool:
        """Whether the chosen version equals the one in force."""
        return self.chosen is not None and self.force is not None and is_same(self.chosen, self.force)

    def step_down(self) -> None:
        """Choose the version in force instead of the new one, or none instead of the one in force."""
        self.chosen = None if self.chosen is self.force else self.force

    def give_way(self) -> None:
        """Step down; a draft or an ended one leaves, as its version in force may run, which nobody asks for now."""
        if self.chosen.status in LIVE:
            self.step_down()
        else:
            self.chosen = None

    def keep_in_force(self) -> None:
        """Choose the version in force, also where the files no longer have any."""
        self.chosen = self.force


def seats_of(section: str, checked: Checked, last: Snapshot | None) -> dict[str, Seat]:
    """Return a seat for every id in the files, in what broken files contributed last, and in the ground in force."""
    force = in_force(last, section)
    if section == "experiments":
        force = {name: unpaused(record) for name, record in force.items()}
    seats: dict[str, Seat] = {}
    for candidate in checked.candidates:
        if candidate.section != section:
            continue
        sound = candidate.sound and candidate.path not in checked.clashing
        old = force.get(candidate.id)
        asked, chosen = (candidate.record, candidate.record) if sound else (_FLAWED, old)
        seats[candidate.id] = Seat(candidate.path, asked, old, chosen, candidate.tree.file, candidate.tree)
    for name in checked.kept[section]:
        tree = seats[name].tree if name in seats else None
        seats[name] = Seat((section, name), force[name], force[name], force[name], force[name].source, tree)
    for name, record in force.items() if section != "experiments" else ():
        seats.setdefault(name, Seat((section, name), None, record, None, record.source))
    return seats


def is_same(one: Record | Attribute, other: Record | Attribute) -> bool:
    """Whether two versions of an id are equal, wherever they are written."""
    if isinstance(one, Attribute) or isinstance(other, Attribute):
        return replace(one, source="") == replace(other, source="")
    return one is other or digest_of(one) == digest_of(other)


def held(seats: Mapping[str, Mapping[str, Seat]]) -> dict[str, str]:
    """Return every path that is not served as asked for, with what is served instead."""
    return {
        written(seat.path): "none" if seat.chosen is None else "last good"
        for of_section in seats.values()
        for seat in of_section.values()
        if seat.chosen is not seat.asked
    }
