"""`abside check`: every problem of files and directories, as an agent that starts now would find them."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from abside_agent.check import Checked, check
from abside_agent.resolve import resolve
from abside_agent.settle import refuse
from abside_agent.sources.mounted import read_file
from abside_agent.sources.reading import MAX_FILE_BYTES, File, Reading, problem_to_map

if TYPE_CHECKING:
    from abside.snapshot import Problem
    from abside_agent.settings import CheckSettings

EXIT_PROBLEMS = 1
EXIT_USAGE = 2


def main(settings: CheckSettings) -> int:
    """Print the problems and a closing line. Give 0 without errors, 1 with, 2 for a path that is not there."""
    missing = [path for path in settings.paths if not Path(path).exists()]
    if missing:
        sys.stderr.write(f"abside check: no such file or directory: {', '.join(missing)}\n")
        return EXIT_USAGE
    files = list({file.name: file for path in settings.paths for file in _files(Path(path))}.values())
    checked = check(files)
    problems = _problems(files, checked)
    errors = sum(problem.severity == "error" for problem in problems)
    experiments = {c.id for c in checked.candidates if c.section == "experiments"}
    summary = {
        "files": len(files),
        "experiments": len(experiments),
        "errors": errors,
        "warnings": len(problems) - errors,
    }
    sys.stdout.write(_json(problems, summary) if settings.json else _text(problems, summary))
    return EXIT_PROBLEMS if errors else 0


def _files(path: Path) -> list[File]:
    if path.is_dir():
        names = sorted(entry for entry in path.iterdir() if entry.suffix == ".yaml" and entry.name[0] != ".")
        return [_file(entry, str(path)) for entry in names]
    return [_file(path, str(path.parent))]


def _file(path: Path, directory: str) -> File:
    data, refusal = read_file(path, MAX_FILE_BYTES + 1)
    return File(str(path), data or b"", directory, refusal)


def _problems(files: list[File], checked: Checked) -> list[Problem]:
    found = [one.problem for one in checked.flaws()]
    if any(problem.severity == "error" for problem in found):
        return found  # what an agent would refuse for want of anything left follows from these
    refusal = refuse(Reading(tuple(files)), checked, resolve(checked, None), None)
    return [*found, refusal.problem] if refusal else found


def _text(problems: list[Problem], summary: dict[str, int]) -> str:
    lines = []
    for _, group in groupby(problems, key=lambda problem: problem.file):
        lines += [*map(str, group), ""]
    counts = f"{_count(summary, 'file')}, {_count(summary, 'experiment')}"
    lines.append(f"{counts}: {_count(summary, 'error')}, {_count(summary, 'warning')}")
    return "\n".join(lines) + "\n"


def _count(summary: dict[str, int], noun: str) -> str:
    number = summary[f"{noun}s"]
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _json(problems: list[Problem], summary: dict[str, int]) -> str:
    body = {"problems": [problem_to_map(problem) for problem in problems], "summary": summary}
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"
