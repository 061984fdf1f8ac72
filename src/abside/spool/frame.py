"""Frames: how payloads stand in a segment file, so that a damaged or unfinished one is noticed.

A segment is MAGIC, then frames of `u32le length | u32le zlib.crc32(payload) | payload`. The checksum is not optional:
a payload format alone decodes most single-bit flips to something silently wrong.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.event import MAX_EVENT_BYTES
from abside.spool.errors import PayloadSizeError

if TYPE_CHECKING:
    from collections.abc import Generator

MAGIC = b"ABSPOOL1"  # the last byte is the format's version
MAX_PAYLOAD_BYTES = MAX_EVENT_BYTES  # a receiver refuses a batch with a larger one; a longer length is damage
_HEADER = struct.Struct("<II")
_pack = _HEADER.pack
_crc32 = zlib.crc32


@dataclass(frozen=True, slots=True)
class Damage:
    """Where a scan ended before the end of the data, and what stood there."""

    offset: int
    problem: str

    def __str__(self) -> str:
        return f"{self.problem} at byte {self.offset}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """The good beginning of a segment: its payloads, its length in bytes, and what ended it (None: its own end)."""

    payloads: list[bytes]
    good_bytes: int
    damage: Damage | None


def frame(payload: bytes) -> bytes:
    """Give the payload's frame. Raises PayloadSizeError for an empty or an oversized one."""
    size = len(payload)
    if not 0 < size <= MAX_PAYLOAD_BYTES:
        raise PayloadSizeError(size, MAX_PAYLOAD_BYTES)
    return _pack(size, _crc32(payload)) + payload


def scan(data: bytes) -> Generator[bytes, None, Damage | None]:
    """Yield each good payload of a segment in order; return what ended the scan early, or None.

    Nothing is read ahead: a caller on an event loop takes a few payloads, gives way, and takes more.
    """
    if not data.startswith(MAGIC):
        return Damage(0, "the file does not begin as a segment does")
    unpack = _HEADER.unpack_from
    offset, end = len(MAGIC), len(data)
    while offset < end:
        start = offset + _HEADER.size
        if start > end:
            return Damage(offset, "an unfinished frame header")
        size, checksum = unpack(data, offset)
        if size == 0:
            return Damage(offset, "a zeroed tail")
        if size > MAX_PAYLOAD_BYTES:
            return Damage(offset, f"a frame that claims {size} bytes")
        if start + size > end:
            return Damage(offset, "an unfinished frame")
        payload = data[start : start + size]
        if _crc32(payload) != checksum:
            return Damage(offset, "a frame whose checksum is wrong")
        yield payload
        offset = start + size
    return None


def good_prefix(data: bytes) -> Prefix:
    """Scan the whole segment at once: for start-up, before anything else runs."""
    payloads: list[bytes] = []
    scanning = scan(data)
    while True:
        try:
            payloads.append(next(scanning))
        except StopIteration as end:
            damage: Damage | None = end.value
            return Prefix(payloads, damage.offset if damage else len(data), damage)
