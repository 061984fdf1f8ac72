"""A command within a memory limit, as in a container: a control group of its own, which it also sees as its limit.

It takes root, and a memory controller (cgroup v1 or v2). What a process may not have, the kernel kills it for.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path("/sys/fs/cgroup")
V1 = ROOT / "memory"


def has_containers() -> bool:
    """Whether a control group can be made here."""
    return os.geteuid() == 0 and shutil.which("unshare") is not None and (_is_v2() or V1.is_dir())


@contextmanager
def contained(command: Sequence[str], limit_bytes: int) -> Iterator[tuple[list[str], Path]]:
    """Make the group; yield the command that runs in it, and the file with its peak in bytes, page cache included."""
    root = ROOT if _is_v2() else V1
    group = root / f"abside-bench-{os.getpid()}"
    group.mkdir()
    limit, peak = ("memory.max", "memory.peak") if _is_v2() else ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
    try:
        (group / limit).write_text(str(limit_bytes))
        with suppress(OSError):  # swap would hide what does not fit
            (group / "memory.swap.max").write_text("0")
        enter = 'echo $$ > "$0/cgroup.procs" && mount --bind "$0" "$1" && shift && exec "$@"'
        yield ["unshare", "--mount", "sh", "-c", enter, str(group), str(root), *command], group / peak
    finally:
        with suppress(OSError):
            group.rmdir()


def _is_v2() -> bool:
    controllers = ROOT / "cgroup.controllers"
    return controllers.exists() and "memory" in controllers.read_text()
