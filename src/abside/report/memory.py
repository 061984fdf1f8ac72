"""How much memory the report may take, and its engine of that: 4 GiB, or a part of what the container has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from abside.report.problem import NotTogether

USUAL_BYTES = 4 * 2**30  # the engine takes what it may: 5 million exposures and 2 million outcomes took 2.9 GB of it
PART = 0.8  # the rest is for what else the container does, and for the system's own of it
BESIDE_BYTES = 400 * 2**20  # Python, its libraries, Arrow, and buffers that the engine does not count
BEYOND = 1.05  # what the engine takes, of its bound. With 192 MiB the process took 475, with 636 1,027, with 724 1,109
LEAST_BYTES = 64 * 2**20  # of the engine: with less it does not even open many files
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroup v2, v1
MAX_LIMIT_BYTES = 64  # of such a file: one number, or `max`


def engine_memory(asked: int | None) -> int:
    """Return the bytes of the engine, of those that were asked for, or else of the default. Raises NotTogether."""
    whole = default_memory() if asked is None else asked
    found = int((whole - BESIDE_BYTES) / BEYOND)
    if asked is not None and found < LEAST_BYTES:
        least = f"{whole_memory(LEAST_BYTES) // 2**20}MiB"
        why = f"Python and the engine take {least}, whatever the data; give more, for example 1GiB"
        raise NotTogether("--memory", f"{asked / 2**20:.4g}MiB is too little: {why}")
    return max(LEAST_BYTES, found)


def whole_memory(engine_bytes: int) -> int:
    """Return what the report takes whose engine has so many bytes."""
    return int(engine_bytes * BEYOND) + BESIDE_BYTES


def default_memory(limits: tuple[Path, ...] = LIMITS) -> int:
    """Return the bytes of the whole report, within what this container and this machine have."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        with suppress(OSError, ValueError), path.open() as file:  # no container, no limit
            found.append(int(file.read(MAX_LIMIT_BYTES)))
    return min(USUAL_BYTES, int(min(found) * PART))
