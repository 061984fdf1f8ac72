"""The last steps of `set` and `ship`: show the diff, check, ask, write."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from abside_agent.commands.edit.spans import EditError
from abside_agent.commands.exit_codes import ExitCode
from abside_agent.commands.shown import shown

if TYPE_CHECKING:
    from abside_agent.commands.edit.documents import Editing

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def put(edited: Editing, at_us: int, *, yes: bool) -> int:
    """Show the change; write it where it passes and is confirmed. Return 0 when the files are as asked, else 1."""
    lines = list(edited.diff())
    if not lines:
        click.echo("Nothing to change: the files are so already.")
        return ExitCode.DONE
    click.echo("".join(click.style(line, fg=_COLOURS.get(line[0])) for line in lines), nl=False)
    problems = edited.problems(at_us)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        click.echo("\n" + "\n".join(shown(errors, edited.read.lines())), nl=False, err=True)
        old = edited.old_errors(at_us)
        click.echo(_refused([(problem.code, problem.path) in old for problem in errors]), err=True)
        return ExitCode.PROBLEMS
    if problems:
        click.echo("\n" + "\n".join(shown(problems, edited.read.lines())), nl=False)
    if not yes and not _wanted():
        click.echo("Nothing was written.")
        return ExitCode.PROBLEMS
    try:
        edited.put()
    except (OSError, EditError) as exc:
        sys.stderr.write(f"abside: {exc}\n")
        return ExitCode.PROBLEMS
    click.echo("Written.")
    return ExitCode.DONE


def _refused(was_there: list[bool]) -> str:
    """Return what is against the change; `was_there`: of each error, whether the files have it without the change."""
    said = "Nothing was written: the result would not pass."
    if all(was_there):
        said += " These mistakes were there before: correct them first, or in one call, each experiment after --."
    elif any(was_there):
        verb = "was" if sum(was_there) == 1 else "were"
        said += f" Of {len(was_there)} mistakes {sum(was_there)} {verb} there before."
    return said


def _wanted() -> bool:
    try:
        return click.confirm("Write it?")
    except click.Abort:  # there is no terminal to ask
        click.echo()
        return False
