"""The settings of `abside report`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from abside.environ import integer, one_of, positive, setting, size

EMBEDDED = "duckdb"  # the engine in this process


def moment(value: str) -> datetime:
    """Read a date (its first moment, UTC) or a time with a zone; return it in UTC. Raises ValueError."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError as exc:
        raise ValueError(f"{value!r} is no moment, for example 2026-12-01 or 2026-12-01T09:00:00Z") from exc
    if found.tzinfo is None and len(value.strip()) > len("2026-12-01"):
        raise ValueError(f"{value!r} has no zone, write for example {value}Z")
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def events_place(value: str) -> Path | str:
    """Take a directory, or the URL of an object store as it is written: as a path it would lose a slash."""
    return value if "://" in value else Path(value)


def engine_url(value: str) -> str:
    """Take `duckdb`, or the URL of Spark Connect, as written. Raises ValueError."""
    written = value.strip()
    if written.lower() == EMBEDDED:
        return EMBEDDED
    try:
        parts = urlsplit(written)
        if parts.scheme == "sc" and parts.hostname and (parts.port or 1) > 0:
            return written
    except ValueError:
        pass
    shown = written.partition(";")[0]  # what follows may be a token
    raise ValueError(f"{shown!r} is no engine: write duckdb, or the URL of a Spark Connect server, sc://host:15002")


dialect = one_of("duckdb", "spark", "bigquery", "snowflake", "trino", "clickhouse")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What to report on, and where the page goes."""

    events: Path | str = setting(
        MISSING, "the collector's store or archive: a directory, or s3://bucket/prefix (gs://, az:// too)", events_place
    )
    config: tuple[Path, ...] = setting(
        MISSING, "directory of documents, several times as for the agent; or a file it published", Path, many=True
    )
    outcomes: Path | None = setting(
        None, "count a pipeline's outcomes too, or in place of ours: a TOML file that maps its Parquet", Path
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
    engine: str = setting(
        EMBEDDED, "what computes: duckdb in this process, or Spark Connect, as sc://host:15002", engine_url
    )
    partitions: int | None = setting(
        None, "shuffle partitions of Spark; default what the server has set", positive(integer)
    )
    show_sql: bool = setting(
        False, "print the SQL that ran, before the page; it runs as it is printed against the same files", flag=True
    )
    dialect: str | None = setting(
        None, "print that SQL as another engine reads it, compiled and not run; default the engine's own", dialect
    )
    aa: bool = setting(
        False,
        "read an A/A test as a check of the pipeline: which intervals do not hold 0; exit code 4 on an alarm",
        flag=True,
    )
    memory: int | None = setting(
        None,
        "memory the report may take; beyond it, it spills to disk; default 4GiB, or 80 % of what the container has",
        positive(size),
    )
    work: Path | None = setting(
        None, "directory for what DuckDB spills; default the system's directory for temporary files", Path
    )
    reuse: bool = setting(
        False, "use answers of earlier reports about the same files again, and keep new ones, in --work", flag=True
    )
