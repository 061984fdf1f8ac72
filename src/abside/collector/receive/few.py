"""The events of small batches: checked when they come, and made columns together when their group is written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import mul
from typing import TYPE_CHECKING, Self

from abside.collector.receive.columns import SLICE_EVENTS
from abside.collector.receive.usual import decode_joined, row_counts, usual_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from abside.collector.receive.usual import UsualEvent

FEW_EVENTS = 64
FEW_BYTES = 32 * 2**10  # packed, times rows
OBJECTS = 4  # bytes in memory of a packed byte, as records and texts


@dataclass(frozen=True, slots=True)
class Few:
    """A small batch of usual events."""

    batch_id: str
    recv_us: int
    events: Sequence[UsualEvent]
    texts: dict[bytes, str | None]
    size: int

    def with_others(self, all_few: Sequence[Self]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all these batches, this one among them, as columns: about SLICE_EVENTS events at a time."""
        slice_: list[Self] = []
        room = SLICE_EVENTS
        for few in all_few:
            slice_.append(few)
            room -= len(few.events)
            if room <= 0:
                yield _columns(slice_)
                slice_, room = [], SLICE_EVENTS
        if slice_:
            yield _columns(slice_)


def few_of(events: Iterable[bytes], batch_id: str, recv_us: int) -> Few | None:
    """Return a batch of measured events; None for one that is not small, or contains what is not usual."""
    packed = list(events)
    if not 0 < len(packed) <= FEW_EVENTS:
        return None
    decoded = decode_joined(packed)
    usual = [event for event in decoded.events if event]
    weight = sum(map(mul, map(len, packed), row_counts(usual)))
    if len(usual) < len(packed) or weight > FEW_BYTES:
        return None
    return Few(batch_id, recv_us, usual, decoded.texts, OBJECTS * weight)


def _columns(slice_: Sequence[Few]) -> pa.RecordBatch:
    texts: dict[bytes, str | None] = {}
    for few in slice_:
        texts |= few.texts
    return usual_columns(
        list(chain.from_iterable(few.events for few in slice_)),
        texts,
        [few.batch_id for few in slice_ for _ in few.events],
        [few.recv_us for few in slice_ for _ in few.events],
    )
