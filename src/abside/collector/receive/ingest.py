"""Body → rows: unpacked and measured within bounds, decoded event by event, in slices short enough for the loop."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import msgpack
import pyarrow as pa
import zstandard

from abside.collector.receive.rows import RowsTooLargeError, StoreRow, record_batch, rows_of
from abside.event import MAX_EVENT_BYTES, EventError, EventMap
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCODINGS = ("zstd", "gzip", "identity")
SLICE_ROWS = 256  # about 2 ms of Python: what /livez may have to wait for
SLICE_BYTES = 512 * 2**10  # packed, times rows: as JSON text a byte takes six at most, so a slice takes 3 MiB
MAX_MEMBERS = 16  # of gzip in one body: each costs what it costs to set one up, and a sender writes one
MIN_EVENT_BYTES = 23  # `event_id`, `type` and `ts` alone: their names and the shortest values
ZSTD_WINDOW_BYTES = 8 * 2**20  # RFC 8878 asks a decoder for no more; a frame may claim any amount
MAX_ROWS_BYTES = 64 * 2**20  # of one batch as Arrow: four times the largest; more is an exposure's rows multiplying


def unpack(body: bytes, encoding: str, *, max_bytes: int, count: int) -> bytes:
    """Undo a Content-Encoding and check the result against its bounds, before any of it becomes an object.

    Made for a thread: most of it is C that releases the GIL. Raises Refusal as `decompress` and `measure` do.
    """
    data = decompress(body, encoding, max_bytes)
    measure(data, count)
    return data


def measure(data: bytes, count: int) -> None:
    """Check concatenated msgpack against its bounds by skipping through it: sixteen million empty maps cost 40 ms.

    Raises Refusal 422: UNDECODABLE, INVALID_EVENT for one that is too large, COUNT_MISMATCH.
    """
    if count * MIN_EVENT_BYTES > len(data):
        detail = f"X-Batch-Count says {count} events; the {len(data):,} bytes of this body hold fewer"
        raise Refusal(422, "COUNT_MISMATCH", detail)
    unpacker = _unpacker(data)
    end = 0
    for index in range(count + 1):  # one event more than X-Batch-Count is enough to refuse
        try:
            unpacker.skip()
        except msgpack.OutOfData:
            break
        except (msgpack.UnpackException, ValueError) as exc:
            raise Refusal(422, "UNDECODABLE", "this event is not msgpack", index=index) from exc
        size = unpacker.tell() - end
        end += size
        _check_size(size, index)
        if size < MIN_EVENT_BYTES:
            detail = f"this event has {size} bytes packed, too few for event_id, type and ts"
            raise Refusal(422, "INVALID_EVENT", detail, index=index)
    else:
        raise Refusal(422, "COUNT_MISMATCH", f"X-Batch-Count says {count} events and the body has more")
    if end != len(data):
        raise Refusal(422, "UNDECODABLE", "the body ends in the middle of an event", index=index)
    _check_count(index, count)


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding.

    Raises Refusal 413 beyond `max_bytes`, before more is in memory, and 422 for what does not decompress.
    """
    try:
        if encoding == "gzip":
            data = _gunzip(body, max_bytes + 1)
        elif encoding == "zstd":
            reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).stream_reader(
                body, read_across_frames=True
            )
            data = reader.read(max_bytes + 1)
        else:
            data = body
    except (zlib.error, zstandard.ZstdError) as exc:
        raise Refusal(422, "UNDECODABLE", f"the body is not {encoding}: {exc}") from exc
    if len(data) > max_bytes:
        raise Refusal(413, "TOO_LARGE", f"the batch has more than {max_bytes:,} bytes when it is unpacked")
    return data


def record_batches(data: bytes, *, count: int, batch_id: str, recv_us: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of concatenated msgpack maps, a slice at a time: each step is about 2 ms of Python.

    Raises Refusal: 422 UNDECODABLE, COUNT_MISMATCH or an event's own error, with the event's index; 413 for a batch
    whose rows would take many times its bytes.
    """
    rows: list[StoreRow] = []
    total = waiting = index = 0
    for index, (event, size) in enumerate(_events(data), 1):
        try:
            own = rows_of(event, batch_id=batch_id, recv_us=recv_us)
        except EventError as exc:
            status, code = (413, "TOO_LARGE") if isinstance(exc, RowsTooLargeError) else (422, exc.code)
            raise Refusal(status, code, str(exc), path=exc.path, index=index - 1) from exc
        rows += own
        waiting += size * len(own)
        if len(rows) >= SLICE_ROWS or waiting >= SLICE_BYTES:
            piece = _columns(rows, index - 1)
            rows, waiting = [], 0
            total += piece.nbytes
            if total > MAX_ROWS_BYTES:
                raise Refusal(413, "TOO_LARGE", "the rows of this batch take many times its bytes; send smaller ones")
            yield piece
    _check_count(index, count)
    if rows:
        yield _columns(rows, index - 1)


def _columns(rows: list[StoreRow], last: int) -> pa.RecordBatch:
    """Return rows as columns. What Arrow refuses is the sender's error: a 500 would be tried again for ever."""
    try:
        return record_batch(rows)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as exc:
        detail = f"an event up to this one has no place in the columns ({type(exc).__name__})"
        raise Refusal(422, "INVALID_EVENT", detail, index=last) from exc


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress every member of a gzip body (RFC 1952), `max_bytes` at most."""
    parts: list[bytes] = []
    room = max_bytes
    members = 0
    while body and room:
        members += 1
        if members > MAX_MEMBERS:
            raise zlib.error(f"it has more than {MAX_MEMBERS} members; send it as one")
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        parts.append(member.decompress(body, room))
        room -= len(parts[-1])
        if room and not member.eof:
            raise zlib.error("it ends in the middle of a member")
        body = member.unused_data
    return b"".join(parts)


def _events(data: bytes) -> Iterator[tuple[EventMap, int]]:
    """Yield each event and its packed size in bytes; each is skipped through before it is built."""
    ahead, unpacker = _unpacker(data), _unpacker(data)
    end = 0
    for index in itertools.count():
        try:
            ahead.skip()
            size = ahead.tell() - end
            end += size
            _check_size(size, index)
            event = unpacker.unpack()
        except msgpack.OutOfData:
            break
        except (msgpack.UnpackException, ValueError) as exc:
            raise Refusal(422, "UNDECODABLE", "this event is not msgpack", index=index) from exc
        if not isinstance(event, dict):
            raise Refusal(422, "UNDECODABLE", f"this event is a msgpack {type(event).__name__}, not a map", index=index)
        yield event, size
    if end != len(data):
        raise Refusal(422, "UNDECODABLE", "the body ends in the middle of an event", index=index)


def _unpacker(data: bytes) -> msgpack.Unpacker:
    # A length is a claim: an array of 2^32 members is eleven bytes long. No member is shorter than a byte.
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(data) or 1, max_array_len=MAX_EVENT_BYTES, max_map_len=MAX_EVENT_BYTES
    )
    unpacker.feed(data)
    return unpacker


def _check_size(size: int, index: int) -> None:
    if size > MAX_EVENT_BYTES:
        detail = f"this event has {size:,} bytes packed; at most {MAX_EVENT_BYTES:,} are taken"
        raise Refusal(422, "INVALID_EVENT", detail, index=index)


def _check_count(events: int, count: int) -> None:
    if events != count:
        raise Refusal(422, "COUNT_MISMATCH", f"X-Batch-Count says {count} events and the body has {events}")
