"""What the spool refuses, one class per decision a caller can take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

FullReason = Literal["quota", "floor", "stuck"]


class SpoolBusy(Exception):  # noqa: N818 the decision's name: another process owns the directory
    """Another process owns the directory; `owner` is what it wrote about itself (its process id), or empty."""

    def __init__(self, directory: Path, owner: str) -> None:
        super().__init__(directory, owner)
        self.directory = directory
        self.owner = owner

    def __str__(self) -> str:
        by = f" (process {self.owner})" if self.owner else ""
        return f"the spool directory {self.directory} is in use by another process{by}: give each sidecar its own"


class SpoolTaken(Exception):  # noqa: N818 the decision's name: stop, and touch nothing more
    """The directory is not this process's any more: `lock` was removed, or replaced by another file."""

    def __init__(self, lock: Path) -> None:
        super().__init__(lock)
        self.lock = lock

    def __str__(self) -> str:
        return (
            f"{self.lock} was removed or replaced, so another process may own the spool: this one stops before events "
            f"are lost or sent twice. Leave {self.lock.name} alone, and give each sidecar a directory of its own"
        )


class SpoolRefused(Exception):  # noqa: N818 callers answer 503 to it; it is no fault of theirs
    """Nothing of this append is in the spool."""


class PayloadSizeError(SpoolRefused):
    """A payload that no frame can carry; `size` in bytes, `limit` the most there may be."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"a payload of {self.size} bytes cannot be framed: it must have 1 to {self.limit}"


class SpoolFull(SpoolRefused):
    """There is no room: `reason` is the bytes' quota, the disk's free-space floor, or a disk too slow to seal."""

    def __init__(self, directory: Path, reason: FullReason, used_bytes: int, limit_bytes: int) -> None:
        super().__init__(directory, reason, used_bytes, limit_bytes)
        self.directory = directory
        self.reason: FullReason = reason
        self.used_bytes = used_bytes
        self.limit_bytes = limit_bytes

    def __str__(self) -> str:
        if self.reason == "floor":
            return f"the disk of {self.directory} has less than its floor of {self.limit_bytes} bytes free"
        what = "the open segment of" if self.reason == "stuck" else ""
        return f"{what} {self.directory} holds {self.used_bytes} of at most {self.limit_bytes} bytes".lstrip()


class SpoolFailed(SpoolRefused):
    """An operation of the disk failed: `action` on `path`, and the system's own sentence in `problem`."""

    def __init__(self, action: str, path: Path, problem: object) -> None:
        super().__init__(action, path, problem)
        self.action = action
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"could not {self.action} {self.path}: {self.problem}"


def disk_failed(action: str, path: Path, exc: OSError) -> SpoolFailed:
    """Return what the system refused. Raises `exc` where it is not the system's, whose errors have a number.

    A signal handler may raise a TimeoutError within any step. That is the application's: it passes through.
    """
    if exc.errno is None:
        raise exc
    return SpoolFailed(action, path, exc)
