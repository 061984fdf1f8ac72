"""What a source reads: the files, the pauses, and what could not be seen. Plain records that can cross a pipe."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgpack

from abside.snapshot import Problem

MAX_FILE_BYTES = 1_048_576  # what Kubernetes lets one ConfigMap hold: a larger key cannot come from one
MAX_FILES = 1000  # of all directories: a person keeps tens
MAX_TOTAL_BYTES = 16 * 2**20  # sixteen full ConfigMaps: read every half second, and copied to the compiling child
EVERY_EXPERIMENT = "all"  # the key that pauses everything


@dataclass(frozen=True, slots=True)
class File:
    """A file: `name` is what problems call it and what records name as their source; `refusal` why it has no data."""

    name: str
    data: bytes
    directory: str = ""
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """A directory that gave no file. `prefix` begins the names of its files; `refusal` is empty for an empty one."""

    directory: str
    prefix: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything read at one moment.

    `keeps_pauses`: a paused directory cannot be seen, so what it paused last stays paused. `pauses`: experiment id →
    reason. `paused_from`: id → its file.
    """

    files: tuple[File, ...] = ()
    lost: tuple[Lost, ...] = ()
    problems: tuple[Problem, ...] = ()
    pauses: dict[str, str] = field(default_factory=dict)
    paused_from: dict[str, str] = field(default_factory=dict)
    keeps_pauses: bool = False

    def pack(self) -> bytes:
        """Give the reading as msgpack."""
        packed: bytes = msgpack.packb(
            {
                "files": [[file.name, file.data, file.directory, file.refusal] for file in self.files],
                "lost": [[lost.directory, lost.prefix, lost.refusal] for lost in self.lost],
                "problems": [problem_to_map(problem) for problem in self.problems],
                "pauses": self.pauses,
                "paused_from": self.paused_from,
                "keeps_pauses": self.keeps_pauses,
            }
        )
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Reading:
        """Read what `pack` gave."""
        entry = msgpack.unpackb(data)
        return cls(
            tuple(File(*fields) for fields in entry["files"]),
            tuple(Lost(*fields) for fields in entry["lost"]),
            tuple(Problem(**problem) for problem in entry["problems"]),
            entry["pauses"],
            entry["paused_from"],
            entry["keeps_pauses"],
        )


def digest_of(packed: bytes) -> bytes:
    """Give the digest by which a reading is told from the one before."""
    return hashlib.sha256(packed).digest()


def problem_to_map(problem: Problem) -> dict[str, object]:
    """Give a problem as the map it is in JSON and msgpack."""
    return {name: getattr(problem, name) for name in Problem.__slots__}
