"""From a batch to Kafka records: value, key, partition and the three headers; pure, in slices."""

from __future__ import annotations

import asyncio
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
SLICE_EVENTS = 32  # about 0.1 ms of decoding before the loop has its turn, as JSON 0.3 ms
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

    The partition is that of the key, and without a key that of the series: never by chance, so that a re-send comes to
    the record that it repeats. With another number of partitions keys are elsewhere, so it is in the series' name.
    """
    series = f"{batch.series or batch.id}-{partitions}".encode()
    fixed = [(SPOOL, series), (SEQ, b"%d" % batch.seq)]
    keyless = partition_of(series, partitions)
    made: list[KafkaRecord] = []
    try:
        for event, payload in events(batch.payload):
            key = key_of(event)
            value = payload if form == "msgpack" else json_object(event)
            size = len(value) + len(key or b"") + OVERHEAD_BYTES
            if size > max_record_bytes:
                return _refused(f"it makes a record of {size} bytes, and message.max.bytes is {max_record_bytes}", made)
            place = keyless if key is None else partition_of(key, partitions)
            made.append(KafkaRecord(value, key, place, [*fixed, (INDEX, b"%d" % (batch.first + len(made)))]))
            if len(made) % SLICE_EVENTS == 0:
                await asyncio.sleep(0)
    except (ValueError, TypeError) as exc:
        return _refused(str(exc), made)
    if len(made) != batch.count:
        return Rejected(f"the payload has {len(made)} events, not {batch.count}", final=True, some_of_it=True)
    return made


def _refused(reason: str, before: list[KafkaRecord]) -> Rejected:
    index = len(before)
    return Rejected(f"event {index} cannot be a record: {reason}", final=True, some_of_it=True, index=index)


def events(payload: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield each event and the bytes it is made of. Raises ValueError where a byte begins no msgpack map."""
    unpacker = msgpack.Unpacker(unicode_errors="replace", max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    start = 0
    while start < len(payload):
        try:
            event = unpacker.unpack()
        except (msgpack.UnpackException, ValueError) as exc:
            raise ValueError(f"byte {start} of the payload begins no msgpack map: {type(exc).__name__}") from exc
        if not isinstance(event, dict):
            raise ValueError(f"byte {start} of the payload begins a msgpack {type(event).__name__}, not a map")  # noqa: TRY004 one error for one decision
        stop = unpacker.tell()
        yield event, payload[start:stop]
        start = stop


def key_of(event: dict[str, Any]) -> bytes | None:
    """Return the event's unit id, the user before the session; None where it has neither."""
    unit = event.get("user_id") or event.get("session_id")
    return unit.encode(errors="replace") if isinstance(unit, str) else None


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key, as the partitioner `consistent` of librdkafka finds it."""
    return zlib.crc32(key) % partitions
