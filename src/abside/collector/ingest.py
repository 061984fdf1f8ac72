"""Body → rows: decompressed within a bound, decoded event by event, in slices short enough for the loop."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING

import msgpack
import zstandard

from abside.collector.rows import Row, record_batch, rows_of
from abside.event import MAX_EVENT_BYTES, EventError, EventMap
from abside.serve import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

ENCODINGS = ("zstd", "gzip", "identity")
SLICE_ROWS = 256  # about 2 ms of Python: what /livez may have to wait for
ZSTD_WINDOW_BYTES = 8 * 2**20  # RFC 8878 asks a decoder for no more; a frame may claim any amount
MAX_ROWS_BYTES = 64 * 2**20  # of one batch as Arrow: four times the largest; more is an exposure's rows multiplying


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding; C calls that release the GIL: made for a thread.

    Raises Refusal 413 beyond `max_bytes`, without having held more, and 422 for what does not decompress.
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
    """Give the rows of concatenated msgpack maps, a slice at a time: each step is about 2 ms of Python.

    Raises Refusal: 422 UNDECODABLE, COUNT_MISMATCH or an event's own error, with the event's index; 413 for a batch
    whose rows would take many times its bytes.
    """
    rows: list[Row] = []
    size = index = 0
    for index, event in enumerate(_events(data), 1):
        try:
            rows += rows_of(event, batch_id=batch_id, recv_us=recv_us)
        except EventError as exc:
            raise Refusal(422, exc.code, str(exc), path=exc.path, index=index - 1) from exc
        if len(rows) >= SLICE_ROWS:
            piece = record_batch(rows)
            rows = []
            size += piece.nbytes
            if size > MAX_ROWS_BYTES:
                raise Refusal(413, "TOO_LARGE", "the rows of this batch take many times its bytes; send smaller ones")
            yield piece
    if index != count:
        raise Refusal(422, "COUNT_MISMATCH", f"X-Batch-Count says {count} events and the body has {index}")
    if rows:
        yield record_batch(rows)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress every member of a gzip body (RFC 1952), `max_bytes` at most."""
    parts: list[bytes] = []
    room = max_bytes
    while body and room:
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        parts.append(member.decompress(body, room))
        room -= len(parts[-1])
        if room and not member.eof:
            raise zlib.error("it ends in the middle of a member")
        body = member.unused_data
    return b"".join(parts)


def _events(data: bytes) -> Iterator[EventMap]:
    # A length is a claim: an array of 2^32 members is eleven bytes long. No member is shorter than a byte.
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(data) or 1, max_array_len=MAX_EVENT_BYTES, max_map_len=MAX_EVENT_BYTES
    )
    unpacker.feed(data)
    end = 0
    for index in itertools.count():
        try:
            event = unpacker.unpack()
        except msgpack.OutOfData:
            break
        except (msgpack.UnpackException, ValueError) as exc:
            raise Refusal(422, "UNDECODABLE", "this event is not msgpack", index=index) from exc
        size = unpacker.tell() - end
        end += size
        if not isinstance(event, dict):
            raise Refusal(422, "UNDECODABLE", f"this event is a msgpack {type(event).__name__}, not a map", index=index)
        if size > MAX_EVENT_BYTES:
            detail = f"this event has {size:,} bytes packed; at most {MAX_EVENT_BYTES:,} are taken"
            raise Refusal(422, "INVALID_EVENT", detail, index=index)
        yield event
    if end != len(data):
        raise Refusal(422, "UNDECODABLE", "the body ends in the middle of an event", index=index)
