"""Lists shown → how often each item was shown to each group of people of each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
import numpy as np

from abside.report.stats.gini import GROUPS
from abside.report.tally.outcomes import NAMED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from abside.report.store.engine import Engine, Table
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice

DIGITS = "0123456789abcdef"
MAX_ITEMS = 200_000  # of a catalogue: a larger one would need more memory than a page is worth


def items_shown(
    engine: Engine, outcomes: Outcomes, events: Table, choice: Choice, units: Table
) -> dict[str, NDArray[np.int64]]:
    """Count by variant: GROUPS rows of people by one column an item, of all items shown to any arm at the placements.

    Nothing where the catalogue has more than MAX_ITEMS. Raises EngineFailed.
    """
    lists = events.filter(events.type == "impression", events["items"].notnull(), ~events.bot)
    seen = outcomes.resolved(lists.select("event_id", *NAMED, "items"), choice.unit)
    seen = seen.filter(seen.placement.isin(choice.placements))
    seen = outcomes.owned(seen.select("event_id", "person", "via", "ts", "items"), units)
    seen = seen.group_by("event_id", "person").agg(ts=seen.ts.min(), items=seen["items"].argmin(seen.ts))
    grouped = units.select("person", "first_ts", "until", "variant", bucket=_group(units.person))
    met = seen.inner_join(engine.keep(f"{choice.experiment}: groups of units", "grouped", grouped), "person")
    met = met.filter(met.ts >= met.first_ts, met.ts < met.until)
    each = met.select("variant", "bucket", item=met["items"].unnest())
    counted = each.group_by("variant", "bucket", "item").agg(shown=each.count())
    counted = engine.keep(f"{choice.experiment}: items shown", "items_shown", counted)
    catalogue = counted.select("item").distinct()
    catalogue = engine.keep("catalogue", "catalogue", catalogue.mutate(number=ibis.row_number().over(order_by="item")))
    size = engine.rows("items of the catalogue", catalogue.agg(size=catalogue.count()))[0]["size"]
    if size > MAX_ITEMS:
        return {}
    numbered = counted.inner_join(catalogue, "item").select("variant", "bucket", "number", "shown")
    found = engine.columns("items by group", numbered)
    names = np.array(found["variant"])
    arms = {}
    for variant in sorted(set(names.tolist())):
        mine = names == variant
        counts = np.zeros((GROUPS, size), dtype=np.int64)
        counts[found["bucket"][mine].astype(int), found["number"][mine].astype(int)] = found["shown"][mine]
        arms[str(variant)] = counts
    return arms


def _group(person: Any) -> Any:
    """Return a person's group, 0 to GROUPS - 1, alike on every engine: six bits of the MD5."""
    digits = person.hexdigest("md5")
    high, low = (ibis.literal(DIGITS).find(digits.substr(index, 1)) for index in (0, 1))
    return high % (GROUPS // len(DIGITS)) * len(DIGITS) + low
