"""The settings of `abside spool ls|cat|retry`, each once."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import seconds, setting


@dataclass(frozen=True, slots=True)
class ListSettings:
    """What `abside spool ls` can be told."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    spool_open: Path | None = setting(None, "directory of its open segment, if it is another", Path)
    json: bool = setting(False, "one JSON document instead of a table", flag=True)


@dataclass(frozen=True, slots=True)
class PrintSettings:
    """What `abside spool cat` can be told."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    names: tuple[str, ...] = setting((), "files as `ls` names them; without any, all", many=True, words=True)
    spool_open: Path | None = setting(None, "directory of its open segment, if it is another", Path)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """What `abside spool retry` can be told."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    names: tuple[str, ...] = setting((), "files of dead/ as `ls` names them; without any, all", many=True, words=True)
    wait_seconds: float = setting("10", "how long to wait until a running sidecar has taken them back", seconds)
