"""How much memory the engine may take where nobody says: 4 GiB, or a part of what the container has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

USUAL_BYTES = 4 * 2**30  # 5 million exposures and 2 million outcomes need 1.2 GB, Python's 200 MB included
PART = 0.6  # the rest is Python, Arrow, and what the engine takes beyond its bound
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # cgroup v2, v1
MAX_LIMIT_BYTES = 64  # of such a file: one number, or `max`


def default_memory(limits: tuple[Path, ...] = LIMITS) -> int:
    """Return bytes, within what this container and this machine have."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in limits:
        with suppress(OSError, ValueError), path.open() as file:  # no container, no limit
            found.append(int(file.read(MAX_LIMIT_BYTES)))
    return min(USUAL_BYTES, int(min(found) * PART))
