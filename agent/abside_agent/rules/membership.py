"""Who joins and leaves where slots and layer of an experiment that ran change, and who comes from another. Pure.

Slots and layer are membership, like traffic: the variant of a unit depends on neither.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from abside.snapshot import BASIS_POINTS
from abside_agent.document.wording import shown_percent, written_range
from abside_agent.rules.apart import LIVE, WHOLE, gaps
from abside_agent.rules.overlap import SharedSlots
from abside_agent.rules.values import Doubt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.snapshot import Experiment

Ranges = list[tuple[int, int]]  # half-open, ascending, in buckets of one layer
MOST_NAMED = 5  # experiments that units come from, in one warning


def moved(before: Experiment, after: Experiment) -> Iterator[Doubt]:
    """Yield a warning where slots or layer of an experiment change while it runs."""
    places = _place(before), _place(after)
    if places[0] == places[1] or not {before.status, after.status} <= LIVE:
        return
    was, now = before.slots or WHOLE, after.slots or WHOLE
    sizes = was[1] - was[0], now[1] - now[0]
    if before.layer in {None, after.layer} or after.layer is None:
        stay = float(max(min(was[1], now[1]) - max(was[0], now[0]), 0))
    else:  # another layer deals the units anew
        stay = sizes[0] * sizes[1] / BASIS_POINTS
    leave, new = (round(BASIS_POINTS * (1 - stay / size)) for size in sizes)
    leaving = f"{_share(leave)} of its units leave" if leave else "nobody leaves"
    joining = f"{_share(new)} of those in it then are new" if new else "nobody joins"
    message = f"it goes from {places[0]} to {places[1]}: {leaving}, {joining}; who stays keeps the variant"
    remedy = "as with a ramp, nothing else is to do"
    if leave:
        remedy = "what those who leave did so far still counts; to lose nobody, wait for its end"
    path = "layer" if before.slots == after.slots else "slots"
    yield Doubt("MEMBERSHIP_CHANGED", (path,), message, remedy)


def _place(one: Experiment) -> str:
    return "no layer" if one.slots is None else f"{written_range(one.slots)} of {one.layer}"


def _share(points: int) -> str:
    return "all" if points == BASIS_POINTS else shown_percent(points)


def carried_over(
    pairs: Iterable[tuple[Experiment | None, Experiment | None]], now_us: int
) -> Iterator[tuple[Experiment, Doubt]]:
    """Yield (experiment, warning) where units come into an experiment straight from another one of its layer.

    `pairs`: each experiment before and after the change; before is None where it has not run.
    """
    by_layer: dict[str, list[tuple[Experiment | None, Experiment | None]]] = defaultdict(list)
    for pair in pairs:
        for layer in {one.layer for one in pair if one is not None and one.layer is not None}:
            by_layer[layer].append(pair)
    for layer, members in sorted(by_layer.items()):
        left, traffic = SharedSlots(), {}
        for before, after in members:
            if before is not None and (most := _traffic(before, now_us)):
                traffic[before.id] = most
                for part in _without(_held(before, layer, [WHOLE]), _held(after, layer, [])):
                    left.add(replace(before, slots=part))
        for before, after in members if traffic else ():
            if after is not None and after.layer == layer:
                gained = _without(_held(after, layer, []), _held(before, layer, []))
                yield from _arrivals(after, gained, left, traffic)


def _arrivals(
    after: Experiment, gained: Ranges, left: SharedSlots, traffic: dict[str, int]
) -> Iterator[tuple[Experiment, Doubt]]:
    came = dict.fromkeys(one.id for part in gained for one in left.overlapping(replace(after, slots=part)))
    names = [name for name in came if name != after.id]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        share = shown_percent(min(sum(traffic[name] for name in names), BASIS_POINTS))
        whose = f"{', '.join(names[:MOST_NAMED])}{more}"
        message = f"its slots were those of {whose}: up to {share} of the units there come straight from it"
        remedy = "they may carry over what they got; to avoid that, take free slots, or leave these empty for a while"
        yield after, Doubt("CARRY_OVER", ("slots",), message, remedy)


def _held(one: Experiment | None, layer: str, elsewhere: Ranges) -> Ranges:
    """Return the buckets of a layer whose units an experiment may take; `elsewhere`: those of one in another layer."""
    if one is None or one.status not in LIVE:
        return []
    if one.layer is None or one.slots is None:
        return [WHOLE]
    return [one.slots] if one.layer == layer else elsewhere


def _without(ranges: Ranges, others: Ranges) -> Ranges:
    found = [(max(start, low), min(stop, high)) for start, stop in ranges for low, high in gaps(others)]
    return [(start, stop) for start, stop in found if start < stop]


def _traffic(one: Experiment, now_us: int) -> int:
    """Return the largest share of its units, in basis points, that an experiment had so far."""
    return max((step.traffic_bp for step in one.steps if step.from_us <= now_us), default=0)
