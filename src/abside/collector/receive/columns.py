"""Packed events → columns of the store: usual events in bulk, the others row by row. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from operator import mul
from typing import TYPE_CHECKING, NoReturn

import msgpack
import pyarrow as pa

from abside.collector.receive.rows import RowsTooLargeError, StoreRow, record_batch, rows_of, unpacked
from abside.collector.receive.usual import Decoded, decode_each, row_counts, usual_columns
from abside.event import MAX_EVENT_BYTES, EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from abside.collector.receive.usual import UsualEvent

SLICE_EVENTS = 512  # decoded by one call; with their columns about 2 ms: what /livez may have to wait for
SLICE_DECODED_BYTES = 256 * 2**10  # packed, of the same
SLICE_ROWS = 1024
SLICE_PLAIN_ROWS = 256  # of events that are not usual: a row takes ten times as long
SLICE_BYTES = 512 * 2**10  # packed, times rows: as JSON text a byte takes six at most, so a slice takes 3 MiB
MAX_USUAL_BYTES = 2 * 2**20  # packed, times rows: an exposure with more may repeat too much text, which `rows` refuses


class EventRefused(Exception):  # noqa: N818 it is an answer, not a fault
    """An event that has no place in the store. `index` is its place among the events given, from 0.

    `code` is UNDECODABLE, TOO_LARGE (its rows would take many times its bytes) or an EventError's; `path` names the
    field. The sentence never repeats a shopper's value.
    """

    def __init__(self, index: int, code: str, detail: str, *, path: str | None = None) -> None:
        super().__init__(index, code, detail)
        self.index = index
        self.code = code
        self.detail = detail
        self.path = path

    def __str__(self) -> str:
        return self.detail


def _raise(refused: EventRefused) -> NoReturn:
    raise refused


def record_batches(
    events: Iterable[bytes],
    *,
    batch_ids: Iterable[str],
    recv_us: Iterable[int],
    decode: Callable[[Sequence[bytes]], Decoded] = decode_each,
    refuse: Callable[[EventRefused], None] = _raise,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of events, each one packed map, in their order, as columns of SCHEMA: 2 ms a step, of one slice.

    `batch_ids` and `recv_us` have an entry for each event. `decode` may be decode_joined where each event is known to
    be one msgpack value. `refuse` is called with each event that is refused, and the others become rows; without it the
    first one is raised as EventRefused.
    """
    ids, times = iter(batch_ids), iter(recv_us)
    begin = 0
    for packed in _together(events):
        part = _Part(begin, packed, decode(packed), list(islice(ids, len(packed))), list(islice(times, len(packed))))
        begin += len(packed)
        if whole := part.whole():
            yield whole.columns(begin - 1)
        else:
            yield from part.slices(refuse)


def _together(events: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield events in lists that one call decodes within a step."""
    packed: list[bytes] = []
    size = 0
    for event in events:
        packed.append(event)
        size += len(event)
        if len(packed) == SLICE_EVENTS or size >= SLICE_DECODED_BYTES:
            yield packed
            packed, size = [], 0
    if packed:
        yield packed


@dataclass(frozen=True, slots=True)
class _Part:
    """Events that were decoded by one call; the first is the one at `begin`."""

    begin: int
    packed: Sequence[bytes]
    decoded: Decoded
    batch_ids: list[str]
    recv_us: list[int]

    def whole(self) -> _Slice | None:
        """Return all as one slice; None where not all are usual, or they are more than a slice takes."""
        usual = [event for event in self.decoded.events if event]
        if len(usual) < len(self.packed) or max(map(len, self.packed)) > MAX_EVENT_BYTES:
            return None
        counts = row_counts(usual)
        if sum(counts) > SLICE_ROWS or sum(map(mul, map(len, self.packed), counts)) > SLICE_BYTES:
            return None
        return _Slice(self.decoded.texts, usual, self.batch_ids, self.recv_us)

    def slices(self, refuse: Callable[[EventRefused], None]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of usual events and of others, within the bounds of a slice."""
        piece = _Slice(self.decoded.texts)
        given = zip(self.packed, self.decoded.events, self.batch_ids, self.recv_us, strict=True)
        for index, (packed, event, batch_id, recv_us) in enumerate(given, self.begin):
            if event and len(packed) * row_counts([event])[0] <= MAX_USUAL_BYTES and len(packed) <= MAX_EVENT_BYTES:
                piece.add_usual(event, len(packed), batch_id, recv_us)
            else:
                try:
                    piece.add_plain(_plain_rows(index, packed, batch_id, recv_us), len(packed))
                except EventRefused as refused:
                    refuse(refused)
            if piece.is_full():
                yield piece.columns(index)
                piece = _Slice(self.decoded.texts)
        if piece.order:
            yield piece.columns(self.begin + len(self.packed) - 1)


@dataclass(slots=True)
class _Slice:
    """Rows on their way into one RecordBatch."""

    texts: dict[bytes, str | None]
    usual: list[UsualEvent] = field(default_factory=list)
    batch_ids: list[str] = field(default_factory=list)  # of the usual ones
    recv_us: list[int] = field(default_factory=list)
    plain: list[StoreRow] = field(default_factory=list)
    order: list[int] = field(default_factory=list)  # of the rows: 0, 1, … is a usual one, -1, -2, … another
    weight: int = 0  # packed bytes, times rows

    def add_usual(self, event: UsualEvent, size: int, batch_id: str, recv_us: int) -> None:
        rows = row_counts([event])[0]
        begin = len(self.order) - len(self.plain)
        self.order += range(begin, begin + rows)
        self.usual.append(event)
        self.batch_ids.append(batch_id)
        self.recv_us.append(recv_us)
        self.weight += size * rows

    def add_plain(self, rows: list[StoreRow], size: int) -> None:
        begin = len(self.plain)
        self.order += [~row for row in range(begin, begin + len(rows))]
        self.plain += rows
        self.weight += size * len(rows)

    def is_full(self) -> bool:
        return len(self.order) >= SLICE_ROWS or len(self.plain) >= SLICE_PLAIN_ROWS or self.weight >= SLICE_BYTES

    def columns(self, last: int) -> pa.RecordBatch:
        """Return its rows. What Arrow refuses is the sender's error: a 500 would be tried again for ever."""
        try:
            return self._columns()
        except MemoryError:  # of Arrow's too, whose own is an ArrowException: later there may be some
            raise
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as exc:
            detail = f"an event up to this one has no place in the columns ({type(exc).__name__})"
            raise EventRefused(last, "INVALID_EVENT", detail) from exc

    def _columns(self) -> pa.RecordBatch:
        if not self.usual:
            return record_batch(self.plain)
        usual = usual_columns(self.usual, self.texts, self.batch_ids, self.recv_us)
        if not self.plain:
            return usual
        at = [row if row >= 0 else usual.num_rows + ~row for row in self.order]
        return pa.concat_batches([usual, record_batch(self.plain)]).take(pa.array(at, pa.int32()))


def _plain_rows(index: int, packed: bytes, batch_id: str, recv_us: int) -> list[StoreRow]:
    """Return the rows of one event, field by field. Raises EventRefused."""
    if len(packed) > MAX_EVENT_BYTES:
        detail = f"this event has {len(packed):,} bytes packed; at most {MAX_EVENT_BYTES:,} are taken"
        raise EventRefused(index, "INVALID_EVENT", detail)
    try:
        event = unpacked(packed)
    except (msgpack.UnpackException, ValueError) as exc:
        raise EventRefused(index, "UNDECODABLE", "this event is not msgpack") from exc
    if not isinstance(event, dict):
        raise EventRefused(index, "UNDECODABLE", f"this event is a msgpack {type(event).__name__}, not a map")
    try:
        return rows_of(event, batch_id=batch_id, recv_us=recv_us)
    except EventError as exc:
        code = "TOO_LARGE" if isinstance(exc, RowsTooLargeError) else exc.code
        raise EventRefused(index, code, str(exc), path=exc.path) from exc
