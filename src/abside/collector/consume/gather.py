"""One partition in this collector's hands: what is gathered of it, and the file that is on its way. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside.collector.consume.columns import WaitingEvent, columns_of
from abside.collector.consume.record import NotOurs, SentSegment, SentSeries, packed_event
from abside.collector.store.chain import ChainTip, SpoolMark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from abside.collector.consume.record import KafkaMessage

SILENT_US = 7 * 86_400 * 1_000_000  # after it the mark of a spool is dropped: a re-send comes within minutes
WAITING_EVENTS = 2048  # packed events that wait to become columns, so that a group has few and long pieces
WAITING_BYTES = 512 * 2**10  # of the same: an event's rows may take 256 times its bytes


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """A record of ours whose event has no place in the columns."""

    offset: int
    value: bytes
    reason: str


@dataclass(slots=True)
class TakenCounts:
    """Counts of what records were, each time they were taken."""

    events: int = 0  # new ones of ours
    rows: int = 0
    resent: int = 0
    foreign: Counter[str] = field(default_factory=Counter)  # by reason
    refused: int = 0  # of the new ones


@dataclass(slots=True)
class Group:
    """What becomes one file: the records from offset `begin` up to the chain's end when it is cut."""

    begin: int
    since: float  # the loop's time at its first record
    pieces: list[pa.RecordBatch] = field(default_factory=list)
    refused: list[RefusedRecord] = field(default_factory=list)
    rows: int = 0
    size: int = 0  # bytes in memory


@dataclass(frozen=True, slots=True)
class SealedGroup:
    """A group that gets no more records, with the tip that its file makes."""

    begin: int
    tip: ChainTip
    pieces: tuple[pa.RecordBatch, ...]
    refused: tuple[RefusedRecord, ...]
    rows: int
    size: int


class Gatherer:
    """Takes a partition's records in their order and cuts them into groups, each of which begins where the last ends.

    It begins at the tip of the chain and trusts nothing else. `sealed` is the group on its way; there is one at a time.
    """

    def __init__(self, tip: ChainTip, counts: TakenCounts | None = None) -> None:
        self.end = tip.next_offset  # the next offset to take
        self.sealed: SealedGroup | None = None
        self.counts = counts or TakenCounts()
        self.first_foreign: tuple[int, str] | None = None  # since it was last taken from here, for the log
        self._marks = {spool: (mark.sequence, mark.index) for spool, mark in tip.marks.items()}
        self._heard = {spool: mark.heard_us for spool, mark in tip.marks.items()}
        self._time_us = max(self._heard.values(), default=0)
        self._open: Group | None = None
        self._waiting: list[WaitingEvent] = []
        self._waiting_size = 0
        self._series = SentSeries()
        self._segment: SentSegment | None = None  # of the last event
        self._batch_id = ""  # of the same

    @property
    def size(self) -> int:
        """Bytes in memory, of the group on its way too."""
        return self.open_size + (self.sealed.size if self.sealed else 0)

    @property
    def open_size(self) -> int:
        """Bytes of the group that still gets records."""
        return (self._open.size if self._open else 0) + self._waiting_size

    @property
    def since(self) -> float | None:
        """When the open group got its first record; None: it has none."""
        return self._open.since if self._open else None

    @property
    def has_rows(self) -> bool:
        """Whether the open group contains anything that must be stored, not only offsets that are passed."""
        return bool(self._waiting or (self._open and (self._open.rows or self._open.refused)))

    def take(self, messages: Iterable[KafkaMessage], *, now: float, now_us: int) -> None:
        """Take records: new ones are gathered, re-sends and foreign ones are counted, and all of them are passed."""
        for message in messages:
            offset = message.offset()
            if offset < self.end:
                continue
            if self._open is None:
                self._open = Group(self.end, now)
            self.end = offset + 1
            try:
                segment, index = self._series.read(message.headers())
            except NotOurs as exc:
                self.counts.foreign[exc.reason] += 1
                self.first_foreign = self.first_foreign or (offset, exc.reason)
                continue
            # A partition's own time: that of its records, as far as it is not ahead of ours. A clock of ours that jumps
            # ahead thus lets no spool look silent.
            self._time_us = max(self._time_us, min(message.timestamp()[1] * 1000, now_us))
            spool, place = segment.spool, (segment.sequence, index)
            self._heard[spool] = self._time_us
            if place <= self._marks.get(spool, (-1, -1)):
                self.counts.resent += 1
                continue
            self._marks[spool] = place
            self.counts.events += 1
            if segment is not self._segment:
                self._segment, self._batch_id = segment, segment.batch_id
            self._wait(offset, message.value() or b"", now_us)

    def cut(self) -> SealedGroup | None:
        """Seal the open group, to be written; None while another is on its way, or where there is nothing."""
        if self.sealed is not None or self._open is None:
            return None
        self._convert()
        group, self._open = self._open, None
        self.sealed = SealedGroup(
            group.begin, self._tip(), tuple(group.pieces), tuple(group.refused), group.rows, group.size
        )
        return self.sealed

    def stored(self) -> None:
        """Note that the group on its way is in the store."""
        self.sealed = None

    def _tip(self) -> ChainTip:
        """Return the chain's end after everything taken, and forget the spools that were silent for long."""
        for spool in [name for name, heard in self._heard.items() if heard < self._time_us - SILENT_US]:
            del self._heard[spool], self._marks[spool]
        return ChainTip(self.end, _marks(self._marks, self._heard))

    def _wait(self, offset: int, value: bytes, now_us: int) -> None:
        try:
            packed = packed_event(value)
        except ValueError as exc:
            self._refuse(offset, value, str(exc))
            return
        self._waiting.append(WaitingEvent(offset, value, packed, self._batch_id, now_us))
        self._waiting_size += len(packed)
        if len(self._waiting) >= WAITING_EVENTS or self._waiting_size >= WAITING_BYTES:
            self._convert()

    def _convert(self) -> None:
        """Make columns of the events that wait."""
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        if not waiting or self._open is None:
            return
        for piece in columns_of(waiting, lambda one, reason: self._refuse(one.offset, one.value, reason)):
            self._open.pieces.append(piece)
            self._open.rows += piece.num_rows
            self._open.size += piece.nbytes
            self.counts.rows += piece.num_rows

    def _refuse(self, offset: int, value: bytes, reason: str) -> None:
        if self._open is not None:
            self.counts.refused += 1
            self._open.refused.append(RefusedRecord(offset, value, reason))
            self._open.size += len(value)


def _marks(marks: Mapping[str, tuple[int, int]], heard: Mapping[str, int]) -> dict[str, SpoolMark]:
    return {spool: SpoolMark(*mark, heard[spool]) for spool, mark in marks.items()}
