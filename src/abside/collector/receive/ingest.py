"""Body → rows: unpacked and measured within bounds, decoded event by event, in slices short enough for the loop."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from typing import TYPE_CHECKING, Final

import msgpack
import zstandard

from abside.collector.receive.columns import EventRefused, record_batches
from abside.collector.receive.usual import decode_joined
from abside.event import MAX_EVENT_BYTES
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

ENCODINGS = ("zstd", "gzip", "identity")
LOOP_BYTES = 32 * 2**10  # unpacked in 0.1 ms: handing it to a thread and back takes longer
READ_BYTES = 64 * 2**10
MAX_MEMBERS = 16  # of gzip in one body: each costs what it costs to set one up, and a sender writes one
MIN_EVENT_BYTES = 23  # `event_id`, `type` and `ts` alone: their names and the shortest values
ZSTD_WINDOW_BYTES = 8 * 2**20  # RFC 8878 asks a decoder for no more; a frame may claim any amount
MAX_ROWS_BYTES = 64 * 2**20  # of one batch as Arrow: four times the largest; more is an exposure's rows multiplying


@dataclass(frozen=True, slots=True)
class Measured:
    """Concatenated events within their bounds, and where each ends."""

    data: bytes
    ends: Sequence[int]

    def events(self) -> Iterator[bytes]:
        """Yield each event as it was packed."""
        begin = 0
        for end in self.ends:
            yield self.data[begin:end]
            begin = end


class _Context(threading.local):
    """What decompresses in each thread: to make one costs fifteen times what it takes to unpack a small batch."""

    def __init__(self) -> None:
        self.zstd = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)


_CONTEXT: Final = _Context()


def unpack(body: bytes, encoding: str, *, max_bytes: int, count: int) -> Measured:
    """Undo a Content-Encoding and check the result against its bounds, before any of it becomes an object.

    Made for a thread: most of it is C that releases the GIL. Raises Refusal as `decompress` and `measure` do.
    """
    return measure(decompress(body, encoding, max_bytes), count)


def unpack_small(body: bytes, encoding: str, *, max_bytes: int, count: int) -> Measured | None:
    """Unpack a body that is small, on the loop; return None for one that is not. Raises Refusal as `unpack` does."""
    bound = min(LOOP_BYTES, max_bytes)
    if len(body) > bound:
        return None
    data = _decompressed(body, encoding, bound)
    return measure(data, count) if len(data) <= bound else None


def measure(data: bytes, count: int) -> Measured:
    """Check concatenated msgpack against its bounds by skipping through it: sixteen million empty maps cost 40 ms.

    Raises Refusal 422: UNDECODABLE, INVALID_EVENT for one that is too large, COUNT_MISMATCH.
    """
    if count * MIN_EVENT_BYTES > len(data):
        detail = f"X-Batch-Count says {count} events; the {len(data):,} bytes of this body hold fewer"
        raise Refusal(422, "COUNT_MISMATCH", detail)
    unpacker = _unpacker(data)
    skip, tell = unpacker.skip, unpacker.tell
    ends: list[int] = []
    end = 0
    for index in range(count + 1):  # one event more than X-Batch-Count is enough to refuse
        try:
            skip()
        except msgpack.OutOfData:
            break
        except (msgpack.UnpackException, ValueError) as exc:
            raise Refusal(422, "UNDECODABLE", "this event is not msgpack", index=index) from exc
        begin, end = end, tell()
        ends.append(end)
        if not MIN_EVENT_BYTES <= end - begin <= MAX_EVENT_BYTES:
            raise _size_refused(end - begin, index)
    else:
        raise Refusal(422, "COUNT_MISMATCH", f"X-Batch-Count says {count} events and the body has more")
    if end != len(data):
        raise Refusal(422, "UNDECODABLE", "the body ends in the middle of an event", index=index)
    _check_count(index, count)
    return Measured(data, ends)


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding.

    Raises Refusal 413 beyond `max_bytes`, before more is in memory, and 422 for what does not decompress.
    """
    data = _decompressed(body, encoding, max_bytes)
    if len(data) > max_bytes:
        raise Refusal(413, "TOO_LARGE", f"the batch has more than {max_bytes:,} bytes when it is unpacked")
    return data


def _decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a Content-Encoding; of more than `max_bytes` return a byte more. Raises Refusal 422."""
    try:
        if encoding == "gzip":
            return _gunzip(body, max_bytes + 1)
        if encoding == "zstd":
            reader = _CONTEXT.zstd.stream_reader(body, read_across_frames=True)
            return _read_zstd(reader, zstandard.frame_content_size(body), max_bytes + 1)
    except (zlib.error, zstandard.ZstdError) as exc:
        raise Refusal(422, "UNDECODABLE", f"the body is not {encoding}: {exc}") from exc
    return body


def batch_columns(measured: Measured, *, batch_id: str, recv_us: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a measured batch, a slice at a time: each step is about 2 ms of Python.

    Raises Refusal: 422 UNDECODABLE or an event's own error, with the event's index; 413 for a batch whose rows would
    take many times its bytes.
    """
    total = 0
    try:
        for piece in record_batches(
            measured.events(), batch_ids=repeat(batch_id), recv_us=repeat(recv_us), decode=decode_joined
        ):
            total += piece.get_total_buffer_size()
            if total > MAX_ROWS_BYTES:
                raise Refusal(413, "TOO_LARGE", "the rows of this batch take many times its bytes; send smaller ones")
            yield piece
    except EventRefused as exc:
        status = 413 if exc.code == "TOO_LARGE" else 422
        raise Refusal(status, exc.code, str(exc), path=exc.path, index=exc.index) from exc


def _read_zstd(reader: zstandard.ZstdDecompressionReader, claimed: int, max_bytes: int) -> bytes:
    """Read `max_bytes` at most. The first frame's header claims how many it has; -1: it does not.

    What `read` may return is allocated before it reads. Without the claim that is all of `max_bytes`, of which each
    page that is written to costs a fault anew: half of all that a collector has.
    """
    data = reader.read(min(max_bytes, claimed + 1) if claimed >= 0 else max_bytes)
    if not 0 <= claimed < len(data) < max_bytes:
        return data
    return data + reader.read(max_bytes - len(data))  # of further frames


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


def _unpacker(data: bytes) -> msgpack.Unpacker:
    # A length is a claim: an array of 2^32 members is eleven bytes long. No member is shorter than a byte.
    # It copies what it reads: a part at a time stays in the processor's cache.
    return msgpack.Unpacker(
        BytesIO(data),
        read_size=min(len(data), READ_BYTES) or 1,
        max_buffer_size=len(data) or 1,
        max_array_len=MAX_EVENT_BYTES,
        max_map_len=MAX_EVENT_BYTES,
    )


def _size_refused(size: int, index: int) -> Refusal:
    bound = f"at most {MAX_EVENT_BYTES:,} are taken" if size > MAX_EVENT_BYTES else "too few for event_id, type and ts"
    return Refusal(422, "INVALID_EVENT", f"this event has {size:,} bytes packed; {bound}", index=index)


def _check_count(events: int, count: int) -> None:
    if events != count:
        raise Refusal(422, "COUNT_MISMATCH", f"X-Batch-Count says {count} events and the body has {events}")
