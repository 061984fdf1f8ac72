"""The files named on a command line, each under its place as the user wrote it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from abside_agent.sources.documents import documents
from abside_agent.sources.mounted import shown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot import Problem
    from abside_agent.document.reading import File


@dataclass(frozen=True, slots=True)
class Given:
    """Files by their place. `shown`: file name → the file that people open, for keys inside manifests."""

    files: tuple[File, ...]
    shown: dict[str, str]
    problems: tuple[Problem, ...]

    def place(self, problem: Problem) -> Problem:
        """Return the problem with the place of its file for people."""
        return replace(problem, file=shown_name(self.shown.get(problem.file, problem.file)))

    def lines(self) -> dict[tuple[str, int], str]:
        """Return every line that is not blank, by (shown file, line from 1)."""
        found = {}
        for file in self.files:
            text = file.data.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
            place = shown_name(self.shown[file.name])
            found.update({(place, number): line for number, line in enumerate(text.split("\n"), 1) if line.strip()})
        return found


def given(paths: Iterable[str]) -> Given:
    """Read files, directories of *.yaml, ConfigMap manifests and revisions. Raises DocumentsError."""
    files: dict[str, File] = {}
    shown: dict[str, str] = {}
    problems: list[Problem] = []
    for path in paths:
        found = documents(path)
        problems += found.problems
        manifests = [place for place in found.shown.values() if list(found.shown.values()).count(place) > 1]
        for file in found.files:
            place = found.shown[file.name]
            name = shown_name(f"{place}#{file.name}" if place in manifests else place)
            shown[name] = place
            files[name] = replace(file, name=name, directory=path)
    return Given(tuple(files.values()), shown, tuple(problems))
