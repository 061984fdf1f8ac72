"""`abside set`: changes fields of one experiment in its file, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import inspect

from abside.environ import now_us
from abside_agent.commands.edit.documents import editing
from abside_agent.commands.edit.put import put
from abside_agent.commands.edit.spans import EditError, word
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.document.records import ExperimentEntry
from abside_agent.document.wording import did_you_mean
from abside_agent.sources.documents import DocumentsError

if TYPE_CHECKING:
    from abside_agent.document.tree import Path
    from abside_agent.settings import SetSettings


def main(settings: SetSettings) -> int:
    """Change the fields. Return 0 when they are as asked, 1 when refused or not confirmed, 2 for a wrong call."""
    try:
        wanted = [_read(change) for change in settings.changes]
    except ValueError as exc:
        return refuse("set", exc)
    try:
        edited = editing(settings.config)
        edited.source("experiments", settings.id)
        for path, value in wanted:
            edited = edited.changed(("experiments", settings.id, *path), word(value))
    except DocumentsError as exc:
        return refuse("set", exc)
    except EditError as exc:
        return refuse("set", exc, ExitCode.PROBLEMS)
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
