"""The compiling child: reads one order from stdin, settles it within limits, writes one reply to stdout, exits.

A hostile document can only end this process, whose imports and memory end with it.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from abside.snapshot import HEADER, MAX_SNAPSHOT_BYTES, Snapshot, SnapshotError, decode, encode
from abside_agent.document.reading import Reading
from abside_agent.run.child.answering import answer_one
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.settle.pause import over
from abside_agent.settle.settle import bounded, settle


def answer(order: Order) -> ChildReply:
    """Return the reply to an order. It has a snapshot only where that differs from the published one."""
    if order.only_pauses:
        return ChildReply(
            *over(order.last, Reading.unpack(order.reading), order.now_us, HEADER.size + MAX_SNAPSHOT_BYTES)
        )
    last, last_refused = _last(order.last)
    settled = settle(Reading.unpack(order.reading), last, order.now_us, unread=order.unread)
    snapshot = settled.snapshot
    if snapshot is None:
        return ChildReply(b"", "", {}, bounded(settled.problems), settled.held, last_refused)
    return ChildReply(
        b"" if last is not None and _is_same(snapshot, last) else encode(snapshot),
        snapshot.head.revision,
        {kind: len(getattr(snapshot, kind)) for kind in ("placements", "layers", "experiments")},
        bounded(settled.problems),
        settled.held,
        last_refused,
    )


def _last(data: bytes) -> tuple[Snapshot | None, str]:
    if not data:
        return None, ""
    try:
        return decode(data), ""
    except SnapshotError as exc:
        return None, str(exc)


def _is_same(one: Snapshot, other: Snapshot) -> bool:
    """Compare all but the time of writing; sources count, because they show what a broken file contributed."""
    return replace(one, head=replace(one.head, written_at_us=other.head.written_at_us)) == other


if __name__ == "__main__":
    sys.exit(answer_one(answer))
