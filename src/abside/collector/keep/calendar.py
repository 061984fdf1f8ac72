"""The days of a store as evidence about the clock: which are believed, which wait for a person. Pure."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# A sidecar that lives sends at least once a day: a week without anything is an outage, a shutdown or a clock.
GAP_DAYS = 7
SETTLED_DAYS = 4  # days of data in a row that are no accident; fewer behind a gap may be a clock's
ONE_DAY = timedelta(days=1)


def runs(days: Iterable[date], gap_days: int = GAP_DAYS) -> list[list[date]]:
    """Split days into runs, oldest first: between two runs there are more than `gap_days` days."""
    ordered = sorted(set(days))
    found = [ordered[:1]] if ordered else []
    for before, after in pairwise(ordered):
        if (after - before).days > gap_days:
            found.append([])
        found[-1].append(after)
    return found


def isolated(days: Iterable[date]) -> set[date]:
    """Find the days of short runs beside others: what a clock leaves behind that was wrong for a while."""
    found = runs(days)
    return {day for run in found if len(found) > 1 and len(run) < SETTLED_DAYS for day in run}


def known_since(days: Iterable[date], known_days: int) -> date:
    """Return the day from which batch ids are known: the newest settled day of the store and `known_days` before it.

    Days that exist are counted, so neither a jump of the clock nor an idle month makes a batch unknown.
    """
    days = set(days)
    settled = sorted(days - isolated(days))
    return settled[-1 - known_days] if len(settled) > known_days else date.min


def receipt_day(days: Iterable[date], today: date) -> date:
    """Return the day of what is received now: today, or the newest day where the clock went back.

    Under a day long past a file would be forgotten at the next start and dropped by the next upkeep.
    """
    found = runs(days)
    near = [run for run in found if run[0] - timedelta(GAP_DAYS) <= today <= run[-1] + timedelta(GAP_DAYS)]
    settled = [run for run in found if len(run) >= SETTLED_DAYS] or found
    if near:
        newest = near[-1][-1]
    elif settled and today < settled[-1][0]:
        newest = settled[-1][-1]
    else:
        return today
    return today if today >= newest - ONE_DAY else newest


def doubtful(days: Iterable[date], *, keep_days: int, confirmed: date) -> date | None:
    """Return the first of the newest days where they are far after all others and too few to be believed; else None.

    A gap counts that is longer than a week, or than what is kept: no one jump drops all there was. `confirmed` is the
    day up to which a person has confirmed the days.
    """
    found = runs(days, min(GAP_DAYS, keep_days))
    if len(found) < 2 or len(found[-1]) >= SETTLED_DAYS or found[-1][0] <= confirmed:
        return None
    return found[-1][0]
