"""What goes over the wire: a batch as concatenated msgpack maps or as a JSON array, compressed or not."""

from __future__ import annotations

import asyncio
import base64
import zlib
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgpack
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.upstream.contract import Batch, Encoding

ZSTD_LEVEL = 3  # its default: 512 KiB of events in about 3 ms, to a seventh
GZIP_LEVEL = 1  # a third of the time of the default level, for a tenth more bytes
SLICE_EVENTS = 32  # about 0.2 ms of decoding and encoding before the loop has its turn
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def best_encoding() -> Encoding:
    """Return zstd where the library is installed, else gzip."""
    return "zstd" if find_spec("zstandard") else "gzip"


async def compress(body: bytes, encoding: Encoding) -> bytes:
    """Compress in a thread: both libraries release the interpreter."""
    match encoding:
        case "zstd":
            compressor = import_module("zstandard").ZstdCompressor(level=ZSTD_LEVEL)
            packed: bytes = await asyncio.to_thread(compressor.compress, body)
            return packed
        case "gzip":
            return await asyncio.to_thread(zlib.compress, body, GZIP_LEVEL, _GZIP_WINDOW)
        case "identity":
            return body


async def json_array(batch: Batch) -> bytes:
    """Return the events as one JSON array. Raises ValueError when the payload is not `count` msgpack maps.

    What JSON cannot express is replaced: binary by base64, bytes that are not UTF-8 by replacement characters, a
    number that is not finite by null.
    """
    events: list[bytes] = []
    for event in _maps(batch.payload):
        events.append(json_object(event))
        if len(events) % SLICE_EVENTS == 0:
            await asyncio.sleep(0)
    if len(events) != batch.count:
        raise ValueError(f"the payload holds {len(events)} events, not {batch.count}")
    return b"[" + b",".join(events) + b"]"


def json_object(event: dict[str, Any]) -> bytes:
    """Return one event as a JSON object, with the same replacements."""
    return orjson.dumps(event, default=_readable)


def _maps(payload: bytes) -> Iterator[dict[str, Any]]:
    unpacker = msgpack.Unpacker(unicode_errors="replace", max_buffer_size=max(len(payload), 1))
    unpacker.feed(payload)
    end = 0
    try:
        for event in unpacker:
            if not isinstance(event, dict):
                raise ValueError(f"byte {end} of the payload begins a msgpack {type(event).__name__}, not a map")  # noqa: TRY004 one error for one decision
            end = unpacker.tell()
            yield event
    except msgpack.UnpackException as exc:
        raise ValueError(f"byte {end} of the payload begins no msgpack map: {exc!r}") from exc
    if end != len(payload):
        raise ValueError(f"the payload ends inside the event that begins at byte {end} of {len(payload)}")


def _readable(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
