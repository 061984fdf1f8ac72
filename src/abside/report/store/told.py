"""What the footers of merged files say of their rows, so that only the rows of the other files have to be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.collector.store import FileSummary

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from abside.report.store.engine import Engine, Table
    from abside.report.store.period import FileFacts

WORTH = 0.5  # of the rows: where footers say less, reading the rest costs as much as reading all


@dataclass(frozen=True, slots=True)
class Told:
    """The footers' summaries as one, and the events of the files that have none; None: all files have one."""

    summary: FileSummary
    rest: Table | None


def told_by(engine: Engine, found: dict[Path, FileFacts], columns: Iterable[str]) -> Told | None:
    """Return what the footers of these files say, where that is most of it. Raises EngineFailed."""
    summary = FileSummary()
    for facts in found.values():
        if facts.summary is not None:
            summary.take(facts.summary)
    rest = [path for path, facts in found.items() if facts.summary is None]
    if summary.rows < WORTH * sum(facts.rows for facts in found.values()):
        return None
    return Told(summary, engine.parquet(rest).select(*columns) if rest else None)
