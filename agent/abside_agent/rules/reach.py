"""Changes that reach more or fewer shoppers than somebody would expect: warnings between two states. Pure."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from abside.assignment.attribute import date_text
from abside.snapshot import BASIS_POINTS, digest, leaves, value_at
from abside_agent.document.tree import short
from abside_agent.document.wording import shown_percent, written_percent
from abside_agent.rules.apart import LIVE, WHOLE
from abside_agent.rules.values import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.snapshot import Experiment, Json, Leaf, Placement, Snapshot, Variant
    from abside_agent.document.tree import Tree


def widened(ran: Iterable[Experiment], old: Snapshot, new: Snapshot, now_us: int) -> Iterator[tuple[Placement, Doubt]]:
    """Yield (placement, warning) where everybody gets a variant that was tested on a part of the shoppers."""
    for one in ran:
        tested = _tested(one, now_us)
        if one.status not in LIVE or not tested:
            continue
        for arm in one.variants:
            shipped = _shipped(arm, old, new)
            if shipped is not None:
                placement, leaf = shipped
                message = f"{arm.id} of {one.id} was tested on {tested}; now everybody gets it"
                remedy = f"leave {one.id} running to keep it to these, or test it on the others first"
                path = ("parameters", *leaf)
                yield new.placements[placement], Doubt("WIDER_THAN_TESTED", path, message, remedy)


def _tested(one: Experiment, now_us: int) -> str:
    """Return on whom an experiment tests its variants; empty where that is everybody."""
    start, stop = one.slots or WHOLE
    points = traffic_at(one, now_us) * (stop - start) // BASIS_POINTS
    words = [_words(one.eligibility)] if one.eligibility else []
    words += ["with a user id"] if one.unit == "user" else []
    if points == BASIS_POINTS and not words:
        return ""
    whose = f"{shown_percent(points)} of shoppers" if points != BASIS_POINTS else "a part of the shoppers"
    return f"{whose}: {short(' and '.join(words))}" if words else whose


def _words(conditions: Iterable[Json], joined: str = " and ") -> str:
    """Return conditions in words, as they are written or as a snapshot has them: `country DE, AT`."""
    parts = []
    for condition in conditions:
        if not isinstance(condition, dict):
            continue
        group = next((word for word in ("any", "all") if isinstance(condition.get(word), list)), None)
        if group is not None:
            nodes = condition[group]
            parts.append(_words(nodes if isinstance(nodes, list) else (), " or " if group == "any" else " and "))
            continue
        op, value = condition.get("op"), condition.get("value")
        values = value if isinstance(value, list) else [] if value is None else [value]
        if condition.get("type") == "date":
            values = [date_text(one) if isinstance(one, int) else one for one in values]
        shown = ", ".join(map(str, values))
        parts.append(" ".join(filter(None, (str(condition.get("attribute")), _SAID.get(str(op), str(op)), shown))))
    return joined.join(parts)


_SAID = {"eq": "", "in": "", "ne": "not", "not_in": "not", "gte": "from", "lt": "below", "gt": "above", "lte": "up to"}


def _shipped(arm: Variant, old: Snapshot, new: Snapshot) -> tuple[str, Leaf] | None:
    """Return the first (placement, leaf) that takes a variant's value, where all of them have it afterwards."""
    first = None
    for (placement, *keys), value in sorted(leaves(arm.parameters), key=itemgetter(0)):
        leaf = tuple(keys)
        if not leaf:
            continue  # a placement of which nothing is set
        if not _has(new, placement, leaf, value):
            return None
        if first is None and not _has(old, placement, leaf, value):
            first = placement, leaf
    return first


def _has(snapshot: Snapshot, placement: str, leaf: Leaf, value: Json) -> bool:
    found = snapshot.placements.get(placement)
    return found is not None and digest([value_at(found.parameters, leaf)]) == digest([value])


def surprises(before: Experiment, after: Experiment, now_us: int, tree: Tree) -> Iterator[Doubt]:
    """Yield warnings about an experiment that ran: it empties for a while, opens to everybody, or ran before."""
    was, now = traffic_at(before, now_us), traffic_at(after, now_us)
    was_over = before.status == "ended" or (before.end_us is not None and before.end_us <= now_us)
    is_over = after.status == "ended" or (after.end_us is not None and after.end_us <= now_us)
    if was_over and not is_over and after.status in LIVE:
        message = "it had ended, and runs again in the same phase: its figures mix both times, with a gap between"
        remedy = f"write phase: {after.phase + 1} to measure anew, or begin a new experiment"
        yield Doubt("REOPENED", ("end",) if before.status in LIVE else ("status",), message, remedy)
    if before.status != "running" or after.status != "running" or was_over or is_over or not was:
        return
    if after.start_us is not None and after.start_us > now_us:
        message = f"it runs at {shown_percent(was)}, and with this start nobody is in until then"
        yield Doubt("EMPTY_UNTIL", ("start",), message, "keep a start that is past, or delete the line")
    elif not now and after.steps and after.steps[0].from_us > now_us:
        since = date_text(after.steps[0].from_us)
        message = f"it runs at {shown_percent(was)}, and before this first step nobody is in, until {since}"
        today = f'{{from: "{date_text(now_us // 10**6 * 10**6)}", traffic: {written_percent(was)}}}'
        remedy = f"begin with a step that is in force already: {today}"
        yield Doubt("EMPTY_UNTIL", ("steps", 0, "from"), message, remedy)
    path = ("experiments", after.id)
    if (
        was < now == BASIS_POINTS
        and tree.root is not None
        and not any(tree.node((*path, name)) for name in ("traffic", "steps"))
    ):
        message = f"without traffic everybody is in: it goes from {shown_percent(was)} to 100 % at once"
        yield Doubt("OPENED", (), message, "write traffic: 100%, if that is meant, or the share it had")


def traffic_at(one: Experiment, now_us: int) -> int:
    """Return the share of its units, in basis points, that an experiment takes at an instant."""
    return next((step.traffic_bp for step in reversed(one.steps) if step.from_us <= now_us), 0)
