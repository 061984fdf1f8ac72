"""Last good: from what files ask for and what is in force to what comes into force. Pure, and independent of order.

Every id has a seat with at most two versions: the new one, from the files, and the one in force. A seat only steps
down (new, in force, out). All seats that must step down in a round do so at once, and rounds follow until none must:
so it ends, and the order of files and keys has no influence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abside_agent.document.tree import Flaw, Path, Tree, written
from abside_agent.rules.apart import LIVE, LayersInUse
from abside_agent.rules.conflicts import ConflictGround, Gathered, conflicts
from abside_agent.rules.fit import Ground, Misfit, fit
from abside_agent.rules.placement_limit import too_many
from abside_agent.settle.build import TOGETHER, Key, key_of, unbuildable
from abside_agent.settle.compile import SECTIONS
from abside_agent.settle.precedence import Precedence
from abside_agent.settle.seats import Seat, held, is_same, seats_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Attribute, Experiment, Layer, Placement, Record, Snapshot
    from abside_agent.settle.check import Checked


@dataclass(frozen=True, slots=True)
class Resolved:
    """What comes into force. `held`: path → the version served instead, `last good` or `none`."""

    attributes: dict[str, Attribute]
    placements: dict[str, Placement]
    layers: dict[str, Layer]
    experiments: dict[str, Experiment]
    retired: dict[str, str]
    held: dict[str, str]
    flaws: list[Flaw]
    refusal: str = ""  # why no sidecar could build all of it together


@dataclass(slots=True)
class _Table:
    """All seats, and why some stepped down."""

    seats: dict[str, dict[str, Seat]]
    fitted: dict[str, Experiment] = field(default_factory=dict)
    built: dict[Key, Record] = field(default_factory=dict)  # the records of the last round that a sidecar could build
    flaws: list[Flaw] = field(default_factory=list)
    refusal: str = ""
    precedence: Precedence = field(default_factory=Precedence)

    def chosen(self, section: str) -> dict[str, Any]:
        return {name: seat.chosen for name, seat in self.seats[section].items() if seat.chosen is not None}


def resolve(checked: Checked, last: Snapshot | None) -> Resolved:
    """Choose a version for every id. `last` is the snapshot in force; None: everything is new."""
    seats = {section: seats_of(section, checked, last) for section in SECTIONS}
    table = _Table(seats, precedence=checked.precedence)
    rules = (_unfit, _unbuilt, _namespace, _across, _conflicting, _crowded)
    while any(rule(table) for rule in rules):
        pass
    kept_retired = {} if last is None else {i: s for i, s in last.head.retired.items() if s in checked.broken}
    return Resolved(
        table.chosen("attributes"),
        table.chosen("placements"),
        table.chosen("layers"),
        {name: table.fitted[name] for name in table.chosen("experiments")},
        dict(sorted({**kept_retired, **checked.retired}.items())),
        held(table.seats),
        _unique([*checked.flaws(), *table.flaws]),
        table.refusal,
    )


def _unfit(table: _Table) -> bool:
    """Step down experiments that do not fit their ground, or the new ground that one in force does not fit."""
    ground = Ground(table.chosen("placements"), table.chosen("layers"), table.chosen("attributes"))
    leaving: list[Seat] = []
    holding_back: dict[Path, tuple[Seat, Seat, Misfit]] = {}
    for name, seat in table.seats["experiments"].items():
        if seat.chosen is None:
            continue
        from_force = seat.chosen is seat.force
        fitted, misfits = fit(seat.chosen, ground, in_force=from_force)
        table.fitted[name] = fitted
        if not misfits:
            continue
        holding = [(seat_of, misfit) for misfit in misfits if (seat_of := _can_hold(table, misfit))]
        if from_force and seat.chosen.status in LIVE and len(holding) == len(misfits):
            for ground_seat, misfit in holding:
                holding_back.setdefault(ground_seat.path, (ground_seat, seat, misfit))
        else:
            leaving.append(seat)
            if not from_force:  # else the flaws of its new version report why it is not used
                table.flaws += [_misfit(table, seat, misfit) for misfit in misfits]
    for seat in leaving:
        seat.give_way()
    for ground_seat, seat, misfit in holding_back.values():
        table.flaws.append(_holding(ground_seat, seat, misfit))
        ground_seat.keep_in_force()
    return bool(leaving or holding_back)


def _can_hold(table: _Table, misfit: Misfit) -> Seat | None:
    """Return the seat of the ground where its version in force differs from the chosen one, else None."""
    section, name = str(misfit.on[0]), str(misfit.on[1])
    seat = table.seats[section].get(name)
    if seat is None or seat.force is None or seat.is_in_force:
        return None
    rank = table.precedence.rank  # what another source declares now is held back for nobody: a new pod could not
    return seat if rank(seat.force.source) == rank(seat.source) else None


def _unbuilt(table: _Table) -> bool:
    """Step down what no sidecar could build, also where it is in force: an older agent may have published it."""
    fitted = [table.fitted[name] for name in table.chosen("experiments")]
    chosen: list[Record] = [*table.chosen("placements").values(), *table.chosen("layers").values(), *fitted]
    new = [one for one in chosen if table.built.get(key_of(one)) != one]
    found = unbuildable(table.chosen("attributes"), new) if new else {}
    table.refusal = found.pop(TOGETHER, table.refusal)
    table.built = {key_of(one): one for one in chosen}
    for (section, name), why in found.items():
        seat = table.seats[section][name]
        tree = Tree(seat.source, seat.tree.root if seat.tree else None)
        which = "its version in force" if seat.chosen is seat.force else "this"
        message = f"{which} passes every rule, but no sidecar could build it ({why})"
        tree.note("UNBUILDABLE", seat.path, message, "report it, with this document", at_key=True)
        table.flaws += tree.flaws
        seat.step_down()
    return bool(found)


def _namespace(table: _Table) -> bool:
    """Step down an experiment or a placement of the same id: the one in force stays, of two new ones the placement."""
    stepped = False
    for name, seat in table.seats["experiments"].items():
        other = table.seats["placements"].get(name)
        if seat.chosen is None or other is None or other.chosen is None:
            continue
        experiment_stays = _in_force(table, seat) and not other.is_in_force
        (other if experiment_stays else seat).step_down()
        stepped = True
    return stepped


def _conflicting(table: _Table) -> bool:
    """Step down the new side of every conflict; once there is none, both sides where both are new."""
    seats = table.seats["experiments"]
    current = {name: table.fitted[name] for name, seat in seats.items() if seat.chosen is not None}
    settled = {name for name in current if _in_force(table, seats[name])}
    one_sided, both_new = Gathered(), Gathered()
    for conflict in conflicts(current.values(), settled):
        giving_way = conflict.giving_way
        new = [experiment.id for experiment in giving_way if experiment.id not in settled]
        if len(giving_way) == 1:
            one_sided.add(giving_way[0].id, conflict)
        elif len(new) == 1:
            one_sided.add(new[0], conflict)
        else:
            for name in new:
                both_new.add(name, conflict)
    losing = one_sided if one_sided.found else both_new
    for name in _noted(table, current, losing):
        seats[name].step_down()
    return bool(losing.found)


def _across(table: _Table) -> bool:
    """Take out the side of the later source in a conflict: with no last good, as a new pod would have none."""
    if len(table.precedence.prefixes) < 2:
        return False
    seats = table.seats["experiments"]
    current = {name: table.fitted[name] for name, seat in seats.items() if seat.chosen is not None}
    losing = table.precedence.losing(conflicts(current.values()))
    for name in _noted(table, current, losing):
        seats[name].chosen = None
    return bool(losing.found)


def _noted(table: _Table, current: dict[str, Experiment], losing: Gathered) -> Iterator[str]:
    """Note the conflicts of those that lose them, and yield each."""
    seats = table.seats["experiments"]
    layers = LayersInUse.of(current.values(), table.chosen("layers")) if losing.found else LayersInUse({})
    ground = ConflictGround(layers, table.chosen("placements"))
    for name in losing.found:
        seat = seats[name]
        tree = Tree(seat.source, seat.tree.root if seat.tree else None)
        losing.note(name, tree, lambda other: seats[other].source, ground)
        table.flaws += tree.flaws
        yield name


def _crowded(table: _Table) -> bool:
    """Step down experiments for which a placement has no room."""
    seats = table.seats["experiments"]
    force = {name: seat.force for name, seat in seats.items() if seat.force is not None}
    current = [table.fitted[name] for name, seat in seats.items() if seat.chosen is not None]
    leaving: dict[str, Seat] = {}
    for one in too_many(current, force):
        seat = leaving[one.experiment.id] = seats[one.experiment.id]
        tree = Tree(seat.source, seat.tree.root if seat.tree else None)
        one.note(tree)
        table.flaws += tree.flaws
    for seat in leaving.values():
        seat.give_way()
    return bool(leaving)


def _in_force(table: _Table, seat: Seat) -> bool:
    """Whether the chosen version of an experiment, fitted to its ground, equals the one in force."""
    name = str(seat.path[1])
    return seat.force is not None and (seat.chosen is seat.force or is_same(table.fitted[name], seat.force))


def _misfit(table: _Table, seat: Seat, misfit: Misfit) -> Flaw:
    tree = Tree(seat.source, seat.tree.root if seat.tree else None)
    path = (*seat.path, *misfit.path)
    ground = table.seats[str(misfit.on[0])].get(str(misfit.on[1]))
    if ground is not None and ground.chosen is not ground.asked:
        message = f"{written(ground.path)} is itself held back: {misfit.message}"
        tree.note("GROUND_HELD_BACK", path, message, f"mend {written(ground.path)} first", value=misfit.value)
        return tree.flaws[0]
    tree.note(misfit.code, path, misfit.message, misfit.remedy, value=misfit.value, at_key=misfit.at_key)
    return tree.flaws[0]


def _holding(ground: Seat, seat: Seat, misfit: Misfit) -> Flaw:
    tree = Tree(ground.source, ground.tree.root if ground.tree else None)
    what = "the new version is" if ground.chosen is not None else "its removal is"
    message = f"{what} held back: {seat.path[1]}, in force, does not fit it ({written(misfit.path)}: {misfit.message})"
    tree.note("HELD_BY_EXPERIMENT", ground.path, message, f"end {seat.path[1]}, or change both together", at_key=True)
    return tree.flaws[0]


def _unique(flaws: list[Flaw]) -> list[Flaw]:
    """Keep the first of several flaws with one code at one path; those of the check come first."""
    first: dict[tuple[str, str, Path], Flaw] = {}
    for one in flaws:
        first.setdefault((one.problem.file, one.problem.code, one.path), one)
    return list(first.values())
