"""Gives freed memory back to the system: an idle agent is counted by what it holds, not by what it once needed."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect garbage and have glibc return what lies free on its heap; elsewhere the allocator does as it likes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
