"""Clocks that are wrong: measured by sidecar against the collector's, told, and taken out of the events' times.

Nothing is received before it is seen: `recv_ts` below `seen_ts` is a sidecar's clock ahead. A clock behind looks like
late shipping; it is believed only of a sidecar whose batches are all late alike, because a backlog's delays differ: by
as much as passed between its first event and its last. So a sidecar that lived shorter than that has no clock behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import ibis

from abside.collector.store import SIDECAR, FileSummary

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table
    from abside.report.store.told import Told

AHEAD_US = 1_000_000  # less is what NTP leaves between two machines
BEHIND_US = 60_000_000  # a batch is shipped within seconds
ALIKE_US = 60_000_000  # delays of one sidecar that differ by less are a clock's, not a backlog's
LIVED_US = 2 * ALIKE_US  # over so long nearly all batches were made: one backlog of them has no delays alike
BATCHES = 20  # of a sidecar, to tell the two apart
AT_ONCE_US = 60_000_000  # `ts` this near to `seen_ts`: by the same clock. Else it is a caller's own
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 in the engine times have no zone


@dataclass(frozen=True, slots=True)
class Clock:
    """One sidecar's clock, all days alike: seconds ahead of the collector's (negative: behind), and its events."""

    sidecar: str  # its host; "" for events whose batch id names none
    ahead_seconds: float
    rows: int


def corrected(engine: Engine, events: Table, told: Told | None = None) -> tuple[Table, tuple[Clock, ...]]:
    """Return the events with `ts` by the better clock, and the clocks that were wrong.

    Where footers have `told` that no clock is, no batch is looked at. Raises EngineFailed.
    """
    if told is not None and _are_right(engine, told):
        return events, ()
    delay = events.recv_ts.delta(events.seen_ts, unit="microsecond")
    by_batch = events.group_by("batch_id").agg(
        rows=events.count(),
        least=delay.min(),
        ahead=(delay < -AHEAD_US).sum(),
        future=(events.ts.delta(events.recv_ts, unit="microsecond") > AHEAD_US).sum(),
        day=events.seen_ts.max().date(),
        seen_us=events.seen_ts.max().delta(ibis.literal(EPOCH, events.seen_ts.type()), unit="microsecond"),
    )
    sidecar = by_batch.batch_id.re_extract(SIDECAR, 1).fill_null("")
    batches = engine.keep("delays by batch", "batches", by_batch.mutate(sidecar=sidecar))
    skews = _skews(engine, batches)
    found = engine.rows("clocks", skews.group_by("sidecar").agg(least=skews.skew.min(), rows=skews.rows.sum()))
    alone = batches.filter(batches.sidecar == "")
    loose = engine.rows(
        "events from the future",
        batches.agg(
            future=batches.future.sum().fill_null(0),
            ahead=alone.ahead.sum().as_scalar().fill_null(0),
            least=alone.least.min().as_scalar().fill_null(0),
        ),
    )[0]
    clocks = [Clock(row["sidecar"], -row["least"] / 1e6, row["rows"]) for row in found]
    if loose["ahead"]:
        clocks.append(Clock("", -loose["least"] / 1e6, loose["ahead"]))
    if clocks or loose["future"]:
        events = _shifted(engine, events, batches, skews if found else None)
    return events, tuple(sorted(clocks, key=lambda one: (-abs(one.ahead_seconds), one.sidecar)))


def _are_right(engine: Engine, told: Told) -> bool:
    """Whether no event came before it was seen or happened, and from each sidecar one came at once."""
    whole = FileSummary()
    whole.take(told.summary)
    if told.rest is not None:
        rest = told.rest
        delay = rest.recv_ts.delta(rest.seen_ts, unit="microsecond")
        ahead = rest.ts.delta(rest.recv_ts, unit="microsecond").max()
        by_batch = rest.group_by("batch_id").agg(least=delay.min(), ahead=ahead)
        by_batch = by_batch.mutate(sidecar=by_batch.batch_id.re_extract(SIDECAR, 1).fill_null(""))
        found = by_batch.group_by("sidecar").agg(least=by_batch.least.min(), ahead=by_batch.ahead.max())
        for row in engine.rows("delays by sidecar", found):
            delays = {} if row["least"] is None else {row["sidecar"]: row["least"]}
            whole.take(FileSummary(delays=delays, ahead_us=row["ahead"] or 0))
    is_late = any(delay > BEHIND_US for sidecar, delay in whole.delays.items() if sidecar)
    return not is_late and whole.ahead_us <= AHEAD_US and min(whole.delays.values(), default=0) >= -AHEAD_US


def _skews(engine: Engine, batches: Table) -> Table:
    """Keep {sidecar, day, skew, rows} of the sidecars whose clock was wrong; skew in µs to add to their times."""
    named = batches.filter(batches.sidecar != "")
    by_day = named.group_by("sidecar", "day").agg(skew=named.least.min(), rows=named.rows.sum())
    ahead = by_day.filter(by_day.skew < -AHEAD_US)
    whole = named.group_by("sidecar").agg(
        least=named.least.min(),
        usual=named.least.quantile(0.9),
        lived=named.seen_us.max() - named.seen_us.quantile(0.1),
        batches=named.count(),
    )
    late_alike = (whole.batches >= BATCHES) & (whole.least > BEHIND_US) & (whole.usual - whole.least < ALIKE_US)
    late_alike &= whole.lived > LIVED_US
    behind = by_day.semi_join(whole.filter(late_alike), "sidecar")
    return engine.keep("clocks that are wrong", "skews", ahead.union(behind))


def _shifted(engine: Engine, events: Table, batches: Table, skews: Table | None) -> Table:
    """Add each sidecar's skew to the times it stamped; where no sidecar is named, an event's own impossible delay."""
    delay = events.recv_ts.delta(events.seen_ts, unit="microsecond")
    own = ibis.ifelse(delay < -AHEAD_US, delay, 0)
    if skews is None:
        told = events.mutate(shift_us=own)
    else:
        shifts = batches.inner_join(skews, ["sidecar", "day"]).select(shifted_id="batch_id", skew="skew")
        shifts = engine.keep("times to shift", "shifts", shifts)
        joined = events.left_join(shifts, events.batch_id == shifts.shifted_id).select(events, shifts.skew)
        alone = ibis.ifelse(joined.batch_id.re_search(SIDECAR).fill_null(False), 0, 1)
        delay = joined.recv_ts.delta(joined.seen_ts, unit="microsecond")
        own = ibis.ifelse(delay < -AHEAD_US, delay, 0) * alone
        told = joined.mutate(shift_us=ibis.coalesce(joined.skew, own)).drop("skew")
    is_at_once = told.ts.delta(told.seen_ts, unit="microsecond").abs() < AT_ONCE_US
    ts = ibis.ifelse(is_at_once, told.ts + told.shift_us.as_interval("us"), told.ts)
    return told.mutate(ts=ibis.least(ts, told.recv_ts)).drop("shift_us")
