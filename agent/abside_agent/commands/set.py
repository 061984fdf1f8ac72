"""`abside set`: changes fields of experiments in their files, and nothing else."""

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
        wanted = _read(settings.id, settings.changes)
    except ValueError as exc:
        return refuse("set", exc)
    try:
        edited = editing(settings.config)
        for name in wanted:
            edited.source("experiments", name)
        for name, fields in wanted.items():
            # What is new is added below the status, so that in this order the first of them is on top.
            for path, value in reversed(fields.items()):
                where = ("experiments", name, *path)
                edited = edited.changed(where, word(value)) if value else edited.without(where)
    except DocumentsError as exc:
        return refuse("set", exc)
    except EditError as exc:
        return refuse("set", exc, ExitCode.PROBLEMS)
    return put(edited, now_us(), yes=settings.yes)


def _read(first: str, words: tuple[str, ...]) -> dict[str, dict[Path, str]]:
    """Read `traffic=20% … -- ID layer=pdp …` as path → value by experiment. Raises ValueError."""
    wanted: dict[str, dict[Path, str]] = {first: {}}
    name = first
    for one in words:
        if "=" in one or one in _FIELDS:
            path, value = _change(one)
            wanted[name].pop(path, None)
            wanted[name][path] = value
        else:
            name = one
            wanted.setdefault(name, {})
    for name, fields in wanted.items():
        if not fields:
            raise ValueError(f"nothing is to change in {name}: write for example status=paused or traffic=20%")
    return wanted


def _change(change: str) -> tuple[Path, str]:
    """Read `traffic=20%` or `variants.treatment.weight=30%`; `traffic=` takes the field away. Raises ValueError."""
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise ValueError(f"{change!r} is no change: write for example status=paused or traffic=20%")
    path = tuple(name.split("."))
    if path[0] not in _FIELDS:
        remedy = did_you_mean(path[0], _FIELDS) or f"known are {', '.join(_FIELDS)}"
        raise ValueError(f"an experiment has no field {path[0]}: {remedy}")
    return path, value


_FIELDS = [field.encode_name for field in inspect.type_info(ExperimentEntry).fields]  # type: ignore[attr-defined]
