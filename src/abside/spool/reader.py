"""Reading a sealed segment, every checksum checked, in slices that give way to the event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.spool.frame import scan

if TYPE_CHECKING:
    from collections.abc import Generator

    from abside.spool.frame import Damage
    from abside.spool.segment import Segment

SLICE_EVENTS = 128  # about 0.1 ms of small events: a request that comes meanwhile does not notice
SLICE_BYTES = 256 * 1024  # about 0.1 ms of checksums, where events are large


@dataclass(frozen=True, slots=True)
class Contents:
    """A segment's good payloads in order, and what is wrong with the rest (empty: nothing)."""

    payloads: list[bytes]
    damage: str


async def read(segment: Segment) -> Contents:
    """Read a segment. What its bytes are not stands in `damage`.

    Raises FileNotFoundError when it is gone, and OSError when it cannot be read now: that says nothing about its bytes.
    """
    data = await asyncio.to_thread(segment.path.read_bytes)
    payloads: list[bytes] = []
    scanning = slices(data)
    while True:
        try:
            payloads += next(scanning)
        except StopIteration as end:
            return Contents(payloads, str(end.value or ""))
        await asyncio.sleep(0)


def slices(data: bytes) -> Generator[list[bytes], None, Damage | None]:
    """Yield a segment's good payloads a few at a time; return what ended the scan early, or None."""
    chunk: list[bytes] = []
    room = SLICE_BYTES
    scanning = scan(data)
    while True:
        try:
            payload = next(scanning)
        except StopIteration as end:
            yield chunk
            damage: Damage | None = end.value
            return damage
        chunk.append(payload)
        room -= len(payload)
        if len(chunk) == SLICE_EVENTS or room <= 0:
            yield chunk
            chunk, room = [], SLICE_BYTES
