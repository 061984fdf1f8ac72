"""The files of one Kafka partition: a chain, each file named by where it begins, its footer saying where the next does.

A name is created once, so a chain cannot fork: whoever writes the next file first has it, and everybody else finds
the name taken. The first file of every chain begins at 0, whatever the topic still had then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from abside.collector.store.place import NameMissing
from abside.collector.store.schema import SCHEMA
from abside.collector.store.writing import parquet_writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.collector.store.place import StorePlace

CHAIN = b"abside.kafka"  # the footer's key
LEAST_BYTES = 12  # of any Parquet file
TAIL_BYTES = 64 * 2**10  # of a file, read at once: most footers are shorter
MAX_TAIL_BYTES = 64 * 2**20  # a footer's length is a claim
STEP_OFFSETS = 2**20  # how far from the end of a partition its newest file is looked for at first
_NAME = re.compile(r"[0-9]{20}\.parquet\Z")


class ChainBroken(Exception):  # noqa: N818 read as a sentence where it is caught
    """A file of a chain does not say where the next one begins; only a person can mend that."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SpoolMark:
    """The last record stored of one series: a record of it at or below (sequence, index) is a re-send."""

    sequence: int
    index: int
    heard_us: int  # by the partition's own time, see `consume.gather`


@dataclass(frozen=True, slots=True)
class ChainTip:
    """Where a chain ends: the next offset to store, and the mark of each spool that was heard lately."""

    next_offset: int = 0
    marks: Mapping[str, SpoolMark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChainKey:
    """One partition of one topic. The topic's id, not its name: a topic made anew begins at offset 0 again."""

    topic_id: str
    partition: int

    @property
    def folder(self) -> str:
        """The folder of its files. An id may begin with `_`, and readers skip such names: hence `topic=`."""
        return f"topic={self.topic_id}/p={self.partition:04d}"

    def name(self, offset: int) -> str:
        """Return the name of the file that begins at an offset."""
        return f"{self.folder}/{offset:020d}.parquet"


def find_tip(place: StorePlace, key: ChainKey, end_offset: int) -> ChainTip:
    """Find where a chain ends. `end_offset` is where the partition ends now.

    Raises ChainBroken, PlaceFailed and PlaceRefused.
    """
    name = _newest(place, key, end_offset)
    return follow(place, key, read_tip(place, key, name) if name else ChainTip())


def follow(place: StorePlace, key: ChainKey, tip: ChainTip) -> ChainTip:
    """Read on from a tip, name by name: a listing may be older than what was written, a read is not.

    Raises ChainBroken, PlaceFailed and PlaceRefused.
    """
    while True:
        try:
            tip = read_tip(place, key, key.name(tip.next_offset))
        except NameMissing:
            return tip


def _newest(place: StorePlace, key: ChainKey, end_offset: int) -> str | None:
    """Name the newest file: from the end of the partition back, in growing steps. A year of files is half a million."""
    back = STEP_OFFSETS
    while True:
        begin = end_offset - back
        listed = place.names(key.folder, after=key.name(begin) if begin > 0 else "")
        names = [name for name in listed if _NAME.match(name, len(key.folder) + 1)]
        if names or begin <= 0:
            return names[-1] if names else None
        back *= 8


def read_tip(place: StorePlace, key: ChainKey, name: str) -> ChainTip:
    """Read where the file of a name ends. Raises ChainBroken, NameMissing, PlaceFailed and PlaceRefused."""
    entry = _footer(place, name).get(CHAIN)
    if entry is None:
        raise ChainBroken(name, "it is not a file of a Kafka collector; move it elsewhere")
    try:
        said = orjson.loads(entry)
        marks = {spool: SpoolMark(*map(int, mark)) for spool, mark in said["spools"].items()}
        first, after, where = int(said["first"]), int(said["next"]), (said["topic_id"], said["partition"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ChainBroken(name, f"its footer cannot be understood ({exc!r})") from exc
    if where != (key.topic_id, key.partition) or key.name(first) != name or after <= first:
        raise ChainBroken(name, f"it belongs elsewhere: offsets {first} to {after} of {where}; move it there")
    return ChainTip(after, marks)


def packed_file(pieces: Sequence[pa.RecordBatch], key: ChainKey, first: int, tip: ChainTip, topic: str) -> bytes:
    """Return a chain's file from `first` on, after which the chain ends at `tip`."""
    entry = {
        "topic": topic,
        "topic_id": key.topic_id,
        "partition": key.partition,
        "first": first,
        "next": tip.next_offset,
        "spools": {spool: (mark.sequence, mark.index, mark.heard_us) for spool, mark in tip.marks.items()},
    }
    sink = pa.BufferOutputStream()
    with parquet_writer(sink) as out:
        out.write_table(pa.Table.from_batches(pieces, SCHEMA))
        out.add_key_value_metadata({CHAIN: orjson.dumps(entry)})
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _footer(place: StorePlace, name: str) -> Mapping[bytes, bytes]:
    """Return the entries of a Parquet file's footer, from its end alone. Raises ChainBroken."""
    size = place.size(name)
    if size < LEAST_BYTES:
        raise ChainBroken(name, f"it is damaged: it has {size} bytes; move it elsewhere")
    tail = place.read_range(name, max(0, size - TAIL_BYTES), min(size, TAIL_BYTES))
    length = int.from_bytes(tail[-8:-4], "little")
    if not tail.endswith(b"PAR1") or length > min(size, MAX_TAIL_BYTES):
        raise ChainBroken(name, "it is damaged: it does not end like a Parquet file; move it elsewhere")
    if length + 8 > len(tail):
        tail = place.read_range(name, size - length - 8, length + 8)
    try:
        # The metadata is all that is read, so nothing of the file in front of it needs to be there.
        entries: Mapping[bytes, bytes] = pq.read_metadata(pa.BufferReader(tail)).metadata or {}
    except (pa.ArrowException, ValueError, OSError) as exc:
        raise ChainBroken(name, f"it is damaged: its footer cannot be read ({exc}); move it elsewhere") from exc
    return entries
