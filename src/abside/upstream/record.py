"""From a batch to Kafka records: value, key, partition and the three headers; pure, in slices."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgpack

from abside.upstream.contract import Rejected
from abside.upstream.encode import json_object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.upstream.contract import Batch

RecordFormat = Literal["msgpack", "json"]
SPOOL, SEQ, INDEX = "abside-spool", "abside-seq", "abside-index"
# So many events before the loop has its turn: about 0.1 ms, as JSON 0.3 ms.
SLICE_EVENTS: dict[RecordFormat, int] = {"msgpack": 64, "json": 32}
_TEXT = rb"([\xa0-\xbf]|\xd9.)"  # how a packed text of at most 255 bytes begins
_TIME = rb"(?:\xcf.{8}|\xce.{4})"
# How every event begins that a sidecar packs. The sizes of texts are compared afterwards: the pattern finds where the
# next field may be, within bounds, so that no text of a caller makes it search for long.
_HEAD = re.compile(
    rb"(?:[\x80-\x8f]|\xde..)\xa8event_id" + _TEXT + rb"(.{0,255}?)"
    rb"\xa4type" + _TEXT + rb"([a-z0-9_]+)\xa2ts" + _TIME + rb"\xa7seen_ts" + _TIME + rb""
    rb"\xa7user_id(?:\xc0|" + _TEXT + rb"(.{0,255}?))\xaasession_id(?:\xc0|" + _TEXT + rb")",
    re.DOTALL,
).match
OVERHEAD_BYTES = 512  # what the library counts beside value and key: the headers, and the record's own fields


class KafkaRecord(NamedTuple):
    """What is produced of one event. A tuple: a frozen record takes a microsecond to make, and there are thousands."""

    value: bytes
    key: bytes | None
    partition: int
    headers: list[tuple[str, bytes]]


async def records(
    batch: Batch, partitions: int, form: RecordFormat, max_record_bytes: int
) -> list[KafkaRecord] | Rejected:
    """Return a record for each event of the batch, or which event cannot be one.

    What the sidecar packed begins with the ids, so that as msgpack it is sent without being decoded: what comes behind
    them has the spool's checksum, and a reader looks at it.

    The partition is that of the key, and without a key that of the series: never by chance, so that a re-send comes to
    the record that it repeats. With another number of partitions keys are elsewhere, so it is in the series' name.
    """
    series = f"{batch.series or batch.id}-{partitions}".encode()
    fixed = [(SPOOL, series), (SEQ, b"%d" % batch.seq)]
    keyless = partition_of(series, partitions)
    made: list[KafkaRecord] = []
    try:
        for payload in batch.events or split(batch.payload):
            found = packed_key(payload) if form == "msgpack" else None
            if found is not None:
                key, value = found or None, payload
            else:
                event = event_of(payload)
                key = key_of(event)
                value = payload if form == "msgpack" else json_object(event)
            size = len(value) + len(key or b"") + OVERHEAD_BYTES
            if size > max_record_bytes:
                return _refused(f"it makes a record of {size} bytes, and message.max.bytes is {max_record_bytes}", made)
            place = keyless if key is None else partition_of(key, partitions)
            made.append(KafkaRecord(value, key, place, [*fixed, (INDEX, b"%d" % (batch.first + len(made)))]))
            if len(made) % SLICE_EVENTS[form] == 0:
                await asyncio.sleep(0)
    except (ValueError, TypeError) as exc:
        return _refused(str(exc), made)
    if len(made) != batch.count:
        return Rejected(f"the payload has {len(made)} events, not {batch.count}", final=True, some_of_it=True)
    return made


def _refused(reason: str, before: list[KafkaRecord]) -> Rejected:
    index = len(before)
    return Rejected(f"event {index} cannot be a record: {reason}", final=True, some_of_it=True, index=index)


def split(payload: bytes) -> Iterator[bytes]:
    """Yield each event of a payload. Raises ValueError where a byte begins no msgpack."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    start = 0
    while start < len(payload):
        try:
            unpacker.skip()
        except (msgpack.UnpackException, ValueError) as exc:
            raise ValueError(f"byte {start} of the payload begins no msgpack map: {type(exc).__name__}") from exc
        stop = unpacker.tell()
        yield payload[start:stop]
        start = stop


def event_of(payload: bytes) -> dict[str, Any]:
    """Return what an event contains. Raises ValueError where it is not one msgpack map."""
    try:
        event = msgpack.unpackb(payload, unicode_errors="replace")
    except (msgpack.UnpackException, ValueError) as exc:
        raise ValueError(f"it is no msgpack map: {type(exc).__name__}") from exc
    if not isinstance(event, dict):
        raise ValueError(f"it is a msgpack {type(event).__name__}, not a map")  # noqa: TRY004 one error for one decision
    return event


def packed_key(payload: bytes) -> bytes | None:
    """Return the key of an event as the sidecar packs it, empty for none; None where it has to be decoded for that.

    The fields before the ids are walked through one by one, so that no text of a caller is taken for an id.
    """
    head = _HEAD(payload)
    if head is None:
        return None
    id_size, id_, kind_size, kind, user_size, user, session_size = head.groups()
    if len(id_) != _size(id_size) or len(kind) != _size(kind_size):
        return None
    if user_size is not None and len(user) != _size(user_size):
        return None
    if not user:
        if session_size is None:
            return b"" if user is None else None
        user = payload[head.end() : head.end() + _size(session_size)]
    return user if user and user.isascii() else None


def _size(header: bytes) -> int:
    """Return how many bytes a packed text has, by what begins it."""
    return header[0] & 0x1F if len(header) == 1 else header[1]


def key_of(event: dict[str, Any]) -> bytes | None:
    """Return the event's unit id, the user before the session; None where it has neither."""
    unit = event.get("user_id") or event.get("session_id")
    return unit.encode(errors="replace") if isinstance(unit, str) else None


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as the partitioner `consistent` of librdkafka finds it."""
    return zlib.crc32(key) % partitions
