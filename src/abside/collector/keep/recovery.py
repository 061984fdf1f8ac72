"""A start finishes what a crash left undone in a day, and nothing that it finds there keeps it from starting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.collector.keep.aside import set_aside
from abside.collector.store import BESIDE, FileUnreadable, reason_of, superseded
from abside.log import Log

if TYPE_CHECKING:
    from pathlib import Path

log = Log("abside.collector.keep.recovery")


def recover(folder: Path) -> None:
    """Remove what does not count: files not yet whole, and files already merged into another.

    What cannot be removed is logged and left: it stops neither the other days nor the process.
    """
    leftovers = [*folder.glob(f"*{BESIDE}"), *_merged_away(folder)]
    for path in leftovers:
        try:
            path.unlink()
        except OSError as exc:
            log.error("leftover_kept", file=str(path), reason=reason_of(exc))
        else:
            log.info("leftover_removed", file=str(path))


def _merged_away(folder: Path) -> set[Path]:
    while True:
        try:
            return superseded(folder)
        except FileUnreadable as exc:
            if not set_aside(exc):
                return set()
        except OSError as exc:
            log.error("day_not_read", day=folder.name, reason=reason_of(exc))
            return set()
