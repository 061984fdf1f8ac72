"""What keeps a report from being printed: each is a sentence for the person who asked, and exit code 1."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from abside.snapshot import Attribute

SHOWN = 10  # names or files of a kind in one sentence


class ReportProblem(Exception):  # noqa: N818 read as a sentence where it is caught
    """Something about the data or the documents; whoever asked can change it."""


class StoreChanged(Exception):  # noqa: N818 read as a sentence where it is caught
    """A collector merged or dropped a file meanwhile: look again."""


class NoEvents(ReportProblem):
    """A directory or a URL that is no collector's store."""

    def __init__(self, directory: Path | str, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"--events {self.directory}: {self.reason}"


class ForeignFiles(ReportProblem):
    """Files of the store that the collector did not write, or not whole. No figure is made from a part of a store."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(faults)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        more = f"\n  and {len(self.faults) - SHOWN} more" if len(self.faults) > SHOWN else ""
        listed = "".join(f"\n  {fault}" for fault in self.faults[:SHOWN])
        return f"the store holds what is no file of the collector's; move it out and ask again:{listed}{more}"


class NotVisible(ReportProblem):
    """A merged file whose rows no other file has any more, to an engine that skips names like its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path}: the collector has not given it its name yet, and Spark skips those that begin with _; "
            "ask again after its next round, or with --engine duckdb"
        )


class NoDocuments(ReportProblem):
    """Documents from which no snapshot came."""

    def __init__(self, place: Path, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"--config {self.place}: {self.reason}"


class NoOutcomes(ReportProblem):
    """A pipeline's outcomes that cannot be read as what they are said to be."""

    def __init__(self, place: Path, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        return f"--outcomes {self.place}: {self.reason}"


class EngineFailed(ReportProblem):
    """The engine gave up: out of disk, out of memory, a damaged page."""

    def __init__(self, asked: str, reason: str) -> None:
        super().__init__(asked, reason)
        self.asked = asked
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.asked}: {self.reason}"


class NoPeriod(ReportProblem):
    """A period in which nothing can have begun."""

    def __init__(self, option: str, at: datetime, reason: str) -> None:
        super().__init__(option, at, reason)
        self.option = option
        self.at = at
        self.reason = reason

    def __str__(self) -> str:
        return f"--{self.option} {self.at:%Y-%m-%dT%H:%M:%SZ}: {self.reason}"


class EngineAway(EngineFailed):
    """An engine elsewhere that cannot be reached, or died meanwhile: the same question may be answered later."""

    def __str__(self) -> str:
        return f"--engine {self.asked}: {self.reason}"


class NotTogether(ReportProblem):
    """Settings that contradict each other: the command line was wrong, whatever the data is."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, reason)
        self.option = option
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.option} {self.reason}"


class NotToday(ReportProblem):
    """A metric that the store cannot say anything of: what was asked for, and why."""

    def __init__(self, asked: str, reason: str) -> None:
        super().__init__(asked, reason)
        self.asked = asked
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.asked}: {self.reason}"


class NotLogged(ReportProblem):
    """An attribute to cut by that exposures do not carry."""

    def __init__(self, name: str, declared: Mapping[str, Attribute]) -> None:
        super().__init__(name, declared)
        self.name = name
        self.declared = dict(declared)

    def __str__(self) -> str:
        if (found := self.declared.get(self.name)) is not None:
            where = f" in {found.source}" if found.source else ""
            return (
                f"--by {self.name}: it is declared without log: true, so no exposure carries it; write "
                f"`{self.name}: {{type: {found.type}, log: true}}`{where}: those from then on do"
            )
        logged = [name for name, one in self.declared.items() if one.log]
        close = get_close_matches(self.name, logged, n=1)
        hint = f"did you mean {close[0]}?" if close else f"logged are: {listed(logged)}"
        return f"--by {self.name}: no attribute of the documents with log: true; {hint}"


class NoRoom(ReportProblem):
    """A place that cannot be written to."""

    def __init__(self, option: str, error: OSError) -> None:
        super().__init__(option, error)
        self.option = option
        self.error = error

    def __str__(self) -> str:
        return f"{self.option}: {self.error.filename}: {self.error.strerror or self.error}"


@dataclass(frozen=True, slots=True)
class ReportRefused:
    """One experiment whose figures cannot be given; the others are. `reason` is a sentence."""

    experiment: str
    reason: str


def unknown_experiment(name: str, found: Sequence[str]) -> ReportRefused:
    """Refuse a name that is neither in the documents nor in the events."""
    close = get_close_matches(name, found, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; found: {listed(found)}"
    return ReportRefused(name, f"is in no document and in no event{hint}")


def listed(names: Sequence[str]) -> str:
    """Return names as a person lists them, with a bound."""
    if not names:
        return "none"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
