"""The settings of `abside report`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from datetime import UTC, datetime
from pathlib import Path

from abside.environ import integer, positive, setting, size


def moment(value: str) -> datetime:
    """Read a date (its first moment, UTC) or a time with a zone; return it in UTC. Raises ValueError."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError as exc:
        raise ValueError(f"{value!r} is no moment, for example 2026-12-01 or 2026-12-01T09:00:00Z") from exc
    if found.tzinfo is None and len(value.strip()) > len("2026-12-01"):
        raise ValueError(f"{value!r} has no zone, write for example {value}Z")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What to report on, and where the page goes."""

    events: Path = setting(MISSING, "the collector's store: a directory of dt=…/*.parquet", Path)
    config: tuple[Path, ...] = setting(
        MISSING, "directory of documents, several times as for the agent; or a file it published", Path, many=True
    )
    experiment: tuple[str, ...] = setting((), "report this one only; may be given several times", many=True)
    phase: int | None = setting(None, "report this phase; default the latest one that has exposures", integer)
    since: datetime | None = setting(
        None, "first exposures from this moment on (2026-12-01 or 2026-12-01T09:00:00Z), over all that changed", moment
    )
    until: datetime | None = setting(None, "first exposures before this moment; their outcomes may be later", moment)
    by: tuple[str, ...] = setting((), "cut the primary by this attribute; may be given several times", many=True)
    json: Path | None = setting(
        None, "also write every figure to this file, as JSON; - is standard output, and no page", Path
    )
    html: Path | None = setting(None, "also write the page to this file, as one HTML file with pictures; or -", Path)
    csv: Path | None = setting(None, "also write one row a metric and arm to this file; or -", Path)
    markdown: Path | None = setting(None, "also write the pages as Markdown, for a pull request; or -", Path)
    export: Path | None = setting(None, "also write units.parquet and attribution.parquet into this directory", Path)
    show_sql: bool = setting(False, "print the SQL that ran, before the page", flag=True)
    memory: int | None = setting(
        None,
        "memory the engine may use before it spills to disk; default 4GiB, or 60 % of what the container has",
        positive(size),
    )
    work: Path | None = setting(
        None, "directory for what is spilled; default the system's directory for temporary files", Path
    )
