"""Frames: how payloads are written in a segment file, so that a damaged or unfinished one is noticed.

A segment is MAGIC, then frames of `u32le length | u32le zlib.crc32(payload) | payload`. The checksum is not optional:
a payload format alone decodes most single-bit flips to something silently wrong.
"""

from __future__ import annotations

import re
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
OTHER_VERSIONS = frozenset(MAGIC[:-1] + b"%d" % digit for digit in (2, 4, 6, 7, 8))  # not one flipped bit from ours
MAX_SEGMENT_BYTES = 32 * 2**20  # twice the bound of an open one: a larger file was not written here
SEARCH_BYTES = 8 * 1024  # searched, 0.2 ms at worst, before a scan yields to its caller
MAX_SEARCH_BYTES = 64 * 2**20  # for one good frame: an event made to look like ten thousand frames costs no more
_LENGTH = re.compile(rb"[^\0].\0\0|.[^\0]\0\0|\0\0\x01\0", re.DOTALL)  # of 1 to MAX_PAYLOAD_BYTES, as a frame begins
_NOT_ZERO = re.compile(rb"[^\0]")
_HEADER = struct.Struct("<II")
_pack = _HEADER.pack
_crc32 = zlib.crc32


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes from `offset` up to `stop` that are no good frame, and what is wrong where they begin."""

    offset: int
    stop: int
    problem: str

    def __str__(self) -> str:
        return f"{self.problem} at byte {self.offset}"


@dataclass(frozen=True, slots=True)
class Frames:
    """The good payloads of a whole segment in order, and the damage between and behind them."""

    payloads: list[bytes]
    damage: tuple[Damage, ...]


def frame(payload: bytes) -> bytes:
    """Return the payload's frame. Raises PayloadSizeError for an empty or an oversized one."""
    size = len(payload)
    if not 0 < size <= MAX_PAYLOAD_BYTES:
        raise PayloadSizeError(size, MAX_PAYLOAD_BYTES)
    return _pack(size, _crc32(payload)) + payload


def scan(data: bytes) -> Generator[bytes, None, tuple[Damage, ...]]:
    """Yield each good payload of a segment in order; return what is damaged. A damaged frame costs itself alone.

    Nothing is read ahead: a caller on an event loop takes a few payloads, lets the loop run, and takes more. An empty
    payload is no event: the search for the next good frame takes long, and the caller should let the loop run.
    """
    unpack, header, offset, end = _HEADER.unpack_from, _HEADER.size, len(MAGIC), len(data)
    damage: list[Damage] = []
    if not data.startswith(MAGIC):
        problem = "the file does not begin as a segment does"
        is_another = not data or data[: len(MAGIC)] in OTHER_VERSIONS
        offset = end if is_another else (yield from _next_good(data, 0, 0))
        damage.append(Damage(0, offset, problem))
    while offset < end:
        start, size = offset + header, 0
        if start <= end:
            size, checksum = unpack(data, offset)
            stop = start + size
            if 0 < size <= MAX_PAYLOAD_BYTES and stop <= end:
                payload = data[start:stop]
                if _crc32(payload) == checksum:
                    yield payload
                    offset = stop
                    continue
        stop = yield from _next_good(data, offset + 1, start + size)
        damage.append(Damage(offset, stop, _problem_of(data, offset)))
        offset = stop
    return tuple(damage)


def _problem_of(data: bytes, offset: int) -> str:
    """Return why the bytes at `offset` are no good frame; empty when they are one."""
    start = offset + _HEADER.size
    if start > len(data):
        return "an unfinished frame header"
    size, checksum = _HEADER.unpack_from(data, offset)
    if size == 0:
        return "a zeroed tail" if _NOT_ZERO.search(data, start) is None else "zeros"
    if size > MAX_PAYLOAD_BYTES:
        return f"a frame that claims {size} bytes"
    if start + size > len(data):
        return "an unfinished frame"
    return "" if _crc32(memoryview(data)[start : start + size]) == checksum else "a frame whose checksum is wrong"


def _next_good(data: bytes, offset: int, claimed_end: int) -> Generator[bytes, None, int]:
    """Search from `offset` for the next frame that is good; return where it begins, or the end of the data.

    Where a good frame, or the end, is just where the damaged one claims to end, its length is believed: whatever looks
    like frames inside is an event's own text, but for one up to which the checksum is right. Else the flipped bit may
    be in the length: the nearest one is taken.
    """
    end, effort, left = len(data), 0, MAX_SEARCH_BYTES
    start = offset - 1 + _HEADER.size
    believed = start < claimed_end <= start + MAX_PAYLOAD_BYTES and (
        claimed_end == end or not _problem_of(data, claimed_end)
    )
    checksum = _HEADER.unpack_from(data, offset - 1)[1] if believed else 0
    stop = claimed_end if believed else end
    while offset + _HEADER.size < end and offset < stop:
        found = _LENGTH.search(data, offset, min(end, offset + SEARCH_BYTES))
        reached = found.start() if found else min(end, offset + SEARCH_BYTES - 3)  # a length may begin in its last 3
        effort += reached - offset
        offset = reached
        if found and offset + _HEADER.size <= end:
            if not _problem_of(data, offset):
                if not believed or offset == stop or _crc32(memoryview(data)[start:offset]) == checksum:
                    return offset
                effort += offset - start
            effort += min(MAX_PAYLOAD_BYTES, _HEADER.unpack_from(data, offset)[0])
            offset += 1
        if effort >= SEARCH_BYTES:
            left, effort = left - effort, 0
            if left < 0:
                return stop
            yield b""
    return stop


def good_frames(data: bytes) -> Frames:
    """Scan the whole segment at once: for start-up, before anything else runs."""
    payloads: list[bytes] = []
    scanning = scan(data)
    while True:
        try:
            payloads.append(next(scanning))
        except StopIteration as end:
            return Frames([payload for payload in payloads if payload], end.value)
