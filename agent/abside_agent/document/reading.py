"""What a source reads: the files, the pauses, and what could not be seen. Plain records that can cross a pipe."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack

from abside.snapshot import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE_BYTES = 1_048_576  # the limit of a ConfigMap in Kubernetes: a larger key cannot come from one
MAX_FILES = 1000  # of all directories: a person keeps tens
MAX_TOTAL_BYTES = 16 * 2**20  # sixteen full ConfigMaps: read every half second, and copied to the compiling child
EVERY_EXPERIMENT = "all"  # the key that pauses everything
Pauses = dict[str, str]  # experiment id, or `all` → reason


@dataclass(frozen=True, slots=True)
class File:
    """A file. `name` is used in problems and as the source of records; `refusal`: why it has no data."""

    name: str
    data: bytes
    directory: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A directory without files. `prefix`: how the names of its files begin; `refusal`: empty for an empty one."""

    directory: str
    prefix: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything read at one moment.

    `paused`: by label, the pauses that each paused directory shows or showed last. `keeps`: labels of directories
    that this agent cannot see, so that the pauses in the published snapshot stay, except for the ids in `lifted`.
    `order`: how the names of the files of each directory begin, in the order in which they win; empty: all are equal.
    """

    files: tuple[File, ...] = ()
    lost: tuple[Lost, ...] = ()
    problems: tuple[Problem, ...] = ()
    paused: dict[str, Pauses] = field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    lifted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    @property
    def pauses(self) -> Pauses:
        """The pauses of all directories together."""
        return together(self.paused)

    @property
    def keeps_pauses(self) -> bool:
        """Whether more may be paused than the directories show."""
        return bool(self.keeps)

    def pack(self) -> bytes:
        """Return the reading as msgpack."""
        packed: bytes = msgpack.packb(
            {
                "files": [[file.name, file.data, file.directory, file.refusal] for file in self.files],
                "lost": [[lost.directory, lost.prefix, lost.refusal] for lost in self.lost],
                "problems": [problem_to_map(problem) for problem in self.problems],
                "paused": self.paused,
                "keeps": self.keeps,
                "lifted": self.lifted,
                "order": self.order,
            }
        )
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Reading:
        """Read what `pack` returned."""
        entry = msgpack.unpackb(data)
        return cls(
            tuple(File(*fields) for fields in entry["files"]),
            tuple(Lost(*fields) for fields in entry["lost"]),
            tuple(Problem(**problem) for problem in entry["problems"]),
            entry["paused"],
            tuple(entry["keeps"]),
            {label: tuple(names) for label, names in entry["lifted"].items()},
            tuple(entry["order"]),
        )


def is_document(name: str) -> bool:
    """Whether the agent reads a file, or a key of a ConfigMap, of this name as a document."""
    return name.endswith(".yaml") and name[0] != "."


def together(paused: Mapping[str, Pauses]) -> Pauses:
    """Return the pauses of all directories; a key that is in several has all their reasons."""
    reasons: dict[str, dict[str, None]] = {}
    for found in paused.values():
        for name, reason in found.items():
            reasons.setdefault(name, {})[reason] = None
    return {name: "; ".join(filter(None, given)) for name, given in reasons.items()}


def digest_of(packed: bytes) -> bytes:
    """Return the digest that distinguishes a reading from the one before."""
    return hashlib.sha256(packed).digest()


def holds_back(problem: Problem) -> bool:
    """Whether something that a file asks for is not in force: an error, or a pause that pauses nothing."""
    return problem.severity == "error" or problem.code == "PAUSED_UNKNOWN"


def problem_to_map(problem: Problem) -> dict[str, object]:
    """Return a problem as the map that JSON and msgpack contain."""
    return {name: getattr(problem, name) for name in Problem.__slots__}
