"""Reading a sealed segment, every checksum checked, in slices between which the event loop runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.files import read_regular
from abside.spool.frame import MAX_SEGMENT_BYTES, scan

if TYPE_CHECKING:
    from collections.abc import Generator

    from abside.spool.frame import Damage
    from abside.spool.segment import Segment

SLICE_EVENTS = 128  # about 0.1 ms of small events: a request that comes meanwhile does not notice
SHOWN_DAMAGE = 3  # places named in a reason and a log line
SLICE_BYTES = 256 * 1024  # about 0.1 ms of checksums, where events are large


@dataclass(frozen=True, slots=True)
class Contents:
    """A segment's good payloads in order, what is wrong with the rest (empty: nothing), and the bytes of that rest."""

    payloads: list[bytes]
    damage: str
    rest: bytes = b""


async def read(segment: Segment) -> Contents:
    """Read a segment. Bytes that are no good frame are described in `damage`.

    Raises FileNotFoundError when it is gone, and OSError when it cannot be read now, or is no file any more: its bytes
    may be good.
    """
    data = await asyncio.to_thread(read_regular, segment.path, MAX_SEGMENT_BYTES)
    payloads: list[bytes] = []
    scanning = slices(data)
    while True:
        try:
            payloads += next(scanning)
        except StopIteration as end:
            return _contents(data, payloads, end.value)
        await asyncio.sleep(0)


def slices(data: bytes) -> Generator[list[bytes], None, tuple[Damage, ...]]:
    """Yield a segment's good payloads a few at a time; return what is damaged."""
    chunk: list[bytes] = []
    room = SLICE_BYTES
    scanning = scan(data)
    while True:
        try:
            payload = next(scanning)
        except StopIteration as end:
            yield chunk
            damage: tuple[Damage, ...] = end.value
            return damage
        if payload:
            chunk.append(payload)
        room -= len(payload)
        if not payload or len(chunk) == SLICE_EVENTS or room <= 0:
            yield chunk
            chunk, room = [], SLICE_BYTES


def _contents(data: bytes, payloads: list[bytes], damage: tuple[Damage, ...]) -> Contents:
    shown = "; ".join(map(str, damage[:SHOWN_DAMAGE]))
    if len(damage) > SHOWN_DAMAGE:
        shown = f"{shown}; and {len(damage) - SHOWN_DAMAGE} more"
    return Contents(payloads, shown, b"".join(data[one.offset : one.stop] for one in damage))
