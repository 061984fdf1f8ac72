"""`abside set`: fields of one experiment changed in its file, nothing else touched."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from msgspec import inspect

from abside.environ import now_us
from abside_agent.commands.edit.documents import editing
from abside_agent.commands.edit.put import EXIT_PROBLEMS, put
from abside_agent.commands.edit.spans import EditError, word
from abside_agent.document.conform import did_you_mean
from abside_agent.document.records import ExperimentEntry
from abside_agent.sources.documents import DocumentsError

if TYPE_CHECKING:
    from abside_agent.document.tree import Path
    from abside_agent.settings import SetSettings

EXIT_USAGE = 2


def main(settings: SetSettings) -> int:
    """Change the fields. Give 0 when they stand as asked, 1 when refused or not wanted, 2 for a mistake of usage."""
    try:
        wanted = [_read(change) for change in settings.changes]
    except ValueError as exc:
        sys.stderr.write(f"abside set: {exc}\n")
        return EXIT_USAGE
    try:
        edited = editing(settings.config)
        edited.source("experiments", settings.id)
        for path, value in wanted:
            edited = edited.changed(("experiments", settings.id, *path), word(value))
    except DocumentsError as exc:
        sys.stderr.write(f"abside set: {exc}\n")
        return EXIT_USAGE
    except EditError as exc:
        sys.stderr.write(f"abside set: {exc}\n")
        return EXIT_PROBLEMS
    return put(edited, now_us(), yes=settings.yes)


def _read(change: str) -> tuple[Path, str]:
    """Read `traffic=20%` or `variants.treatment.weight=30%`. Raises ValueError."""
    name, equals, value = change.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{change!r} is no change: write for example status=paused or traffic=20%")
    path = tuple(name.split("."))
    known = [field.encode_name for field in inspect.type_info(ExperimentEntry).fields]  # type: ignore[attr-defined]
    if path[0] not in known:
        remedy = did_you_mean(path[0], known) or f"known are {', '.join(known)}"
        raise ValueError(f"an experiment has no field {path[0]}: {remedy}")
    return path, value
