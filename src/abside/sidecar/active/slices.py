"""Long work on the loop, in slices: requests are answered between two of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

T = TypeVar("T")
SLICE_SECONDS = 0.001  # work between two yields to the loop: far below what a request would notice


async def in_slices(work: Generator[None, None, T]) -> T:
    """Run a generator to its end, yielding to the loop whenever a slice is used up; return its return value."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SLICE_SECONDS
    while True:
        try:
            next(work)
        except StopIteration as done:
            value: T = done.value
            return value
        if loop.time() >= until:
            await asyncio.sleep(0)
            until = loop.time() + SLICE_SECONDS
