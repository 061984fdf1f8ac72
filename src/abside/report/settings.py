"""The settings of `abside report`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import integer, positive, setting, size


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What to report on, and where the page goes."""

    events: Path = setting(MISSING, "the collector's store: a directory of dt=…/*.parquet", Path)
    config: tuple[Path, ...] = setting(
        MISSING, "directory of documents, several times as for the agent; or a file it published", Path, many=True
    )
    experiment: tuple[str, ...] = setting((), "report this one only; may be given several times", many=True)
    phase: int | None = setting(None, "report this phase; default the latest one that has exposures", integer)
    json: Path | None = setting(None, "also write every figure to this file, as JSON", Path)
    show_sql: bool = setting(False, "print the SQL that ran, before the page", flag=True)
    # Beyond it DuckDB spills to disk. 5 million exposures and 2 million outcomes need 1.2 GB, Python's 200 MB included.
    memory: int = setting("4GiB", "memory the engine may use before it spills to disk", positive(size))
    work: Path | None = setting(
        None, "directory for what is spilled; default the system's directory for temporary files", Path
    )
