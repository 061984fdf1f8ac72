"""Changes of what experiments refer to: placements, layers, attributes, retired ids. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside_agent.commands.impact.change import Change, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.snapshot import Placement, Snapshot


def ground_changes(old: Snapshot, new: Snapshot) -> list[Change]:
    """Return every change of the ground, each kind by id."""
    found: list[Change] = []
    for name in sorted(old.placements.keys() | new.placements.keys()):
        found += _placement(old.placements.get(name), new.placements.get(name))
    found += _ground("layer", old.layers, new.layers)
    found += _ground("attribute", old.head.attributes, new.head.attributes)
    for name in sorted(old.head.attributes.keys() & new.head.attributes.keys()):
        was, now = old.head.attributes[name], new.head.attributes[name]
        if (was.type, was.log) != (now.type, now.log):
            found.append(Change("ground", name, f"Attribute {name} is declared anew ({_declared(now.type, now.log)})."))
    retired = sorted(new.head.retired.keys() - old.head.retired.keys())
    return [*found, *(Change("retired", name, f"{name} is retired.") for name in retired)]


def _placement(before: Placement | None, after: Placement | None) -> Iterator[Change]:
    if before is None and after is not None:
        yield Change("placement", after.id, f"Placement {after.id} is added.")
    elif before is not None and after is None:
        yield Change("placement", before.id, f"Placement {before.id} is removed: asking for it becomes an error.")
    elif before is not None and after is not None:
        for what in values(before.parameters, after.parameters):
            rest = "for all units whose variant does not set it"
            yield Change("placement", after.id, f"{after.id} gives {what}, {rest}.")


def _ground(what: str, was: Iterable[str], now: Iterable[str]) -> Iterator[Change]:
    one, other = set(was), set(now)
    for name in sorted(one ^ other):
        yield Change("ground", name, f"{what.capitalize()} {name} is {'added' if name in other else 'removed'}.")


def _declared(kind: str, log: bool) -> str:
    return f"{kind}, logged" if log else kind
