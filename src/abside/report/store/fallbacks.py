"""`client_fallback` events → how many shoppers were answered without the sidecar, by arm.

Such a shopper saw the placement's base parameters whatever their variant: it pulls every arm towards control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.store.members import text_of, whole_of

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.units import Choice, Tally

EVENT = "client_fallback"


@dataclass(frozen=True, slots=True)
class FallbackCounts:
    """Calls answered by a client alone, and the shoppers concerned. `units` by variant: those in the figures."""

    calls: int = 0
    units: dict[str, int] | None = None
    elsewhere: int = 0  # shoppers who are in no arm, among them clients' own ids for calls that named nobody


def fallbacks(engine: Engine, tally: Tally, events: Table, choice: Choice, units: Table) -> FallbackCounts:
    """Count the fallbacks at the experiment's placements. Raises EngineFailed."""
    mine = events.filter(events.type == EVENT).distinct(on=["event_id", "user_id", "session_id"], keep="first")
    mine = mine.select(
        "user_id",
        "session_id",
        at=text_of(mine.properties, "placement"),
        calls=whole_of(mine.properties, "count").fill_null(1),
    )
    mine = mine.filter(mine["at"].isnull() | mine["at"].isin(choice.placements))
    by_unit = tally.outcomes.with_person(mine, choice.unit)
    by_unit = by_unit.group_by("person").agg(calls=by_unit.calls.sum())
    arms = units.select("person", "variant")
    joined = by_unit.left_join(arms, "person").drop("person_right")
    found = joined.group_by("variant").agg(calls=joined.calls.sum(), units=joined.count())
    rows = engine.rows(f"{choice.experiment}: fallbacks of clients", found)
    by_variant = {row["variant"]: row["units"] for row in rows}
    return FallbackCounts(
        calls=sum(row["calls"] for row in rows),
        units={name: count for name, count in sorted(by_variant.items(), key=str) if name is not None},
        elsewhere=by_variant.get(None, 0),
    )
