"""The files of a store for readers that skip names beginning with `_`, as Spark does even with a file it is handed.

A merged file counts from when it is `_….parquet.next`, and gets a name for all readers a round later. Until then the
files that it replaces have the same rows, as long as all of them are there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from abside.collector.store.files import LISTINGS, NEXT, live_files_of, read_footer, superseded, whole_files

if TYPE_CHECKING:
    from pathlib import Path


def visible_files_of(day: Path) -> tuple[list[Path], list[Path]]:
    """List the files of one day that count by names that every reader takes; and those whose rows have no such name.

    Raises FileUnreadable and OSError.
    """
    for _ in range(LISTINGS - 1):
        before = whole_files(day)
        with suppress(FileNotFoundError):  # published meanwhile
            found = _listed(day)
            if whole_files(day) == before:
                return found
    return _listed(day)


def _listed(day: Path) -> tuple[list[Path], list[Path]]:
    visible: list[Path] = []
    unseen: list[Path] = []
    files, gone = whole_files(day), superseded(day)
    for path in live_files_of(day):
        if not path.name.endswith(NEXT):
            visible.append(path)
            continue
        names = read_footer(path).replaces
        replaced = [files[name] for name in names if files.get(name) in gone and not files[name].name.endswith(NEXT)]
        if len(replaced) == len(names):
            visible += replaced
        else:
            unseen.append(path)
    return sorted(visible), unseen
