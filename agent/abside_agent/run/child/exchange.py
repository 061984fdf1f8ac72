"""The messages between the agent and its compiling child, over a pipe."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgpack

from abside.snapshot import Problem
from abside_agent.document.reading import holds_back, problem_to_map

EXIT_MEMORY = 3  # of a child out of memory; a bug ends with 1 and a traceback


@dataclass(frozen=True, slots=True)
class Order:
    """What to compile. `last`: the published snapshot file, empty for none. `unread`: see settle.py.

    `only_pauses`: apply the reading's pauses to `last`, and read nothing else.
    """

    reading: bytes
    last: bytes
    now_us: int
    cpu_seconds: int
    memory_bytes: int
    unread: Problem | None = None
    only_pauses: bool = False

    def pack(self) -> bytes:
        """Return the order as msgpack."""
        unread = None if self.unread is None else problem_to_map(self.unread)
        fields = [self.reading, self.last, self.now_us, self.cpu_seconds, self.memory_bytes, unread, self.only_pauses]
        return bytes(msgpack.packb(fields))

    @classmethod
    def unpack(cls, data: bytes) -> Order:
        """Read what `pack` returned."""
        reading, last, now_us, cpu_seconds, memory_bytes, unread, only_pauses = msgpack.unpackb(data)
        problem = None if unread is None else Problem(**unread)
        return cls(reading, last, now_us, cpu_seconds, memory_bytes, problem, only_pauses)


@dataclass(frozen=True, slots=True)
class ChildReply:
    """The result of an order. `snapshot`: the file to publish, empty when there is nothing to publish.

    `revision`: what is in force then, empty for nothing. `last_refused`: why the published snapshot cannot be read.
    """

    snapshot: bytes
    revision: str
    counts: dict[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    held: dict[str, str] = field(default_factory=dict)
    last_refused: str = ""

    @property
    def is_degraded(self) -> bool:
        """Whether anything that a file asks for is not in force."""
        return any(map(holds_back, self.problems))

    def pack(self) -> bytes:
        """Return the reply as msgpack."""
        problems = [problem_to_map(problem) for problem in self.problems]
        fields = [self.snapshot, self.revision, self.counts, problems, self.held, self.last_refused]
        return bytes(msgpack.packb(fields))

    @classmethod
    def unpack(cls, data: bytes) -> ChildReply:
        """Read what `pack` returned. Raises ValueError for anything else."""
        fields = msgpack.unpackb(data)
        snapshot, revision, counts, problems, held, last_refused = fields
        known = tuple(Problem(**problem) for problem in problems)
        return cls(snapshot, revision, counts, known, held, last_refused)
