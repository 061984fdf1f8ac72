"""A start finishes what a crash left undone in a day, and nothing that it finds there keeps it from starting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.collector.keep.aside import set_aside
from abside.collector.keep.compact import publish
from abside.collector.store import BESIDE, FileUnreadable, reason_of
from abside.log import Log

if TYPE_CHECKING:
    from pathlib import Path

log = Log("abside.collector.keep.recovery")


def recover(folder: Path) -> None:
    """Remove files not yet whole, and finish a merge that was cut off.

    What cannot be removed is logged and left: it stops neither the other days nor the process.
    """
    for path in folder.glob(f"*{BESIDE}"):
        try:
            path.unlink()
        except OSError as exc:
            log.error("leftover_kept", file=str(path), reason=reason_of(exc))
        else:
            log.info("leftover_removed", file=str(path))
    _finish(folder)


def _finish(folder: Path) -> None:
    while True:
        try:
            if files := publish(folder):
                log.info("merge_finished", day=folder.name, files=files)
        except FileUnreadable as exc:
            if set_aside(exc):
                continue
        except OSError as exc:  # the next round of upkeep tries again
            log.error("merge_not_finished", day=folder.name, reason=reason_of(exc))
        return
