"""The settings of `abside spool ls|cat|retry`, each once."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import seconds, setting


@dataclass(frozen=True, slots=True)
class ListSettings:
    """The options of `abside spool ls`."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    spool_open: Path | None = setting(None, "directory of its open segment, if it is another", Path)
    json: bool = setting(False, "one JSON document instead of a table", flag=True)


@dataclass(frozen=True, slots=True)
class PrintSettings:
    """The options of `abside spool cat`."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    names: tuple[str, ...] = setting((), "files as `ls` names them; without any, all", many=True, words=True)
    spool_open: Path | None = setting(None, "directory of its open segment, if it is another", Path)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The options of `abside spool retry`."""

    spool: Path = setting(MISSING, "the sidecar's directory of accepted events", Path)
    names: tuple[str, ...] = setting((), "files of dead/ as `ls` names them; without any, all", many=True, words=True)
    wait_seconds: float = setting("10", "how long to wait until a running sidecar has taken them back", seconds)
