"""Returns freed memory to the system: an idle agent must not keep what a compilation needed."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Collect garbage and have glibc return its free heap; other C libraries have no such call."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
