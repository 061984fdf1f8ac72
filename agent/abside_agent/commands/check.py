"""`abside check`: every problem of files and directories, as an agent that starts now would find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
import orjson

from abside.environ import now_us
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.review.markdown import code, form_of, problem_table
from abside_agent.commands.shown import shown, shown_slots
from abside_agent.document.reading import Reading, problem_to_map
from abside_agent.document.wording import counted
from abside_agent.settle.check import check
from abside_agent.settle.doubts import doubt, free_slots
from abside_agent.settle.resolve import resolve
from abside_agent.settle.settle import refusal_of
from abside_agent.sources.documents import DocumentsError
from abside_agent.sources.given import Given, given

if TYPE_CHECKING:
    from abside.snapshot import Problem
    from abside_agent.settings import CheckSettings
    from abside_agent.settle.check import Checked


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of `abside check`. `free`: layer → free ranges as half-open basis points."""

    problems: list[Problem]
    free: dict[str, list[tuple[int, int]]]
    files: int
    experiments: int

    @property
    def errors(self) -> int:
        """The number of errors: problems that keep something out of force."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def summary(self) -> dict[str, int]:
        """The counts of the closing line."""
        warnings = len(self.problems) - self.errors
        return {"files": self.files, "experiments": self.experiments, "errors": self.errors, "warnings": warnings}


FULL = "none: end an experiment, narrow its slots, or declare another layer"


def main(settings: CheckSettings) -> int:
    """Print the problems and a closing line. Return 0 without errors, 1 with errors, 2 for a missing path."""
    try:
        form = form_of(settings.json, settings.format)
        read = given(settings.paths)
    except (DocumentsError, ValueError) as exc:
        return refuse("check", exc)
    found = findings(read, now_us())
    click.echo({"json": _json, "markdown": _markdown}[form](found) if form != "text" else _text(found, read), nl=False)
    return ExitCode.PROBLEMS if found.errors or (settings.strict and found.problems) else ExitCode.DONE


def findings(read: Given, at_us: int) -> Findings:
    """Check files as one document, at an instant in µs UTC."""
    checked = check(read.files)
    doubt(checked, at_us)
    problems = sorted({read.place(one) for one in (*read.problems, *_problems(read, checked))}, key=_order)
    experiments = {c.id for c in checked.candidates if c.section == "experiments"}
    return Findings(problems, free_slots(checked, at_us), len(set(read.shown.values())), len(experiments))


def _order(problem: Problem) -> tuple[str, int, int, str, str]:
    return problem.file, problem.line, problem.column, problem.code, problem.path


def _problems(read: Given, checked: Checked) -> list[Problem]:
    found = [one.problem for one in checked.flaws()]
    if any(problem.severity == "error" for problem in found):
        return found  # a refusal of the whole document would only follow from these
    resolved = resolve(checked, None)
    found += [one.problem for one in resolved.flaws if one.problem.code == "UNBUILDABLE"]
    refusal = refusal_of(Reading(read.files), checked, resolved, None)
    return [*found, refusal.problem] if refusal else found


def _text(found: Findings, read: Given) -> str:
    lines = read.lines() if found.problems else {}
    errors = [problem for problem in found.problems if problem.severity == "error"]
    warnings = [problem for problem in found.problems if problem.severity == "warning"]
    parts = [*shown(errors, lines), *shown(warnings, lines)]
    if found.free:
        parts.append(
            "free slots\n" + "".join(f"  {name}: {shown_slots(free) or FULL}\n" for name, free in found.free.items())
        )
    looked = f"{counted(found.files, 'file')}, {counted(found.experiments, 'experiment')}"
    parts.append(f"{looked}: {counted(len(errors), 'error')}, {counted(len(warnings), 'warning')}\n")
    return "\n".join(parts)


def _json(found: Findings) -> str:
    layers = {name: {"free": [shown_slots([one]) for one in free]} for name, free in found.free.items()}
    body = {"problems": [problem_to_map(one) for one in found.problems], "summary": found.summary, "layers": layers}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def _markdown(found: Findings) -> str:
    counts = found.summary
    errors, warnings = counted(counts["errors"], "error"), counted(counts["warnings"], "warning")
    looked = f"{counted(counts['files'], 'file')}, {counted(counts['experiments'], 'experiment')}"
    lines = [f"### abside check: {errors}, {warnings} in {looked}"]
    if found.problems:
        lines += ["", *problem_table(found.problems, "abside check")]
    if found.free:
        free = [f"{code(name)} {shown_slots(free) or FULL}" for name, free in found.free.items()]
        lines += ["", f"Free slots: {'; '.join(free)}"]
    return "\n".join(lines) + "\n"
