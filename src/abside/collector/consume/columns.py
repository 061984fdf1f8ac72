"""Packed events, each for itself, to columns: one that has no place is set apart, and the others become rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from abside.collector.receive.columns import EventRefused, record_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa


class WaitingEvent(Struct, frozen=True, gc=False):
    """A packed event with its record's offset and value. A Struct: a frozen dataclass takes a microsecond to make."""

    offset: int
    value: bytes
    packed: bytes
    batch_id: str
    recv_us: int


def columns_of(waiting: Sequence[WaitingEvent], refuse: Callable[[WaitingEvent, str], None]) -> list[pa.RecordBatch]:
    """Return the rows of events in pieces; `refuse` is called with each event that has no place, and why."""
    refused: list[EventRefused] = []
    try:
        pieces = list(
            record_batches(
                [one.packed for one in waiting],
                batch_ids=[one.batch_id for one in waiting],
                recv_us=[one.recv_us for one in waiting],
                refuse=refused.append,
            )
        )
    except EventRefused as exc:
        # Arrow refused some together, and only each alone shows which one it was.
        if len(waiting) > 1:
            return [piece for one in waiting for piece in columns_of([one], refuse)]
        refuse(waiting[0], str(exc))
        return []
    for one in refused:
        refuse(waiting[one.index], str(one))
    return pieces
