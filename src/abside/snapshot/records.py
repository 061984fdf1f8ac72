"""The records of a snapshot: what the agent publishes, as the sidecar needs it.

All that can be decided at publish time is decided there: percentages are basis points, weights half-open integer
ranges, times µs UTC, pauses already applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Parameters: TypeAlias = "dict[str, Json]"
Status = Literal["draft", "running", "paused", "ended"]
UnitKind = Literal["user_or_session", "user", "session"]
AttributeType = Literal["string", "number", "boolean", "version", "date", "list"]

BASIS_POINTS = 10_000
MAX_SHOWN_CHARS = 64  # of a name in a record that cannot be read: no id is longer
ALGO = 1  # the bucketing algorithm these records are meant for


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, in the shape `check`, admission and status all show. `line` and `column` count from 1; 0 = none."""

    severity: Literal["error", "warning"]
    code: str
    file: str
    line: int
    column: int
    path: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Return the one-line form: `file:line:column: severity: path: message (got value) — remedy [CODE]`."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        got = f" (got {self.value})" if self.value else ""
        path = f"{self.path}: " if self.path else ""
        remedy = f" — {self.remedy}" if self.remedy else ""
        return f"{where}: {self.severity}: {path}{self.message}{got}{remedy} [{self.code}]"


@dataclass(frozen=True, slots=True)
class Attribute:
    """What the rec service may send for targeting: its type, and whether exposures carry it."""

    type: AttributeType
    log: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """A place where recommendations are shown, and every knob read there with its value outside experiments."""

    id: str
    parameters: Parameters
    source: str = ""  # the file that contributed it; not part of the digest


@dataclass(frozen=True, slots=True)
class Layer:
    """Mutual exclusion: experiments of one layer have disjoint slots of its buckets. Its salt is its id."""

    id: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm: the half-open range [start, stop) of variant buckets, and its parameters by placement."""

    id: str
    start: int
    stop: int
    parameters: dict[str, Parameters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """From `from_us` on (µs UTC), this share of eligible units, in basis points."""

    from_us: int
    traffic_bp: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment as the sidecar needs it. `eligibility` is a compiled condition tree, see assignment/target.py."""

    id: str
    name: str
    hypothesis: str
    status: Status
    placements: tuple[str, ...]
    variants: tuple[Variant, ...]
    control: str
    owner: str = ""
    unit: UnitKind = "user_or_session"
    layer: str | None = None
    slots: tuple[int, int] | None = None  # half-open, layer buckets
    steps: tuple[Step, ...] = (Step(0, BASIS_POINTS),)  # ascending; before the first: 0
    start_us: int | None = None  # in force while start <= t < end
    end_us: int | None = None
    eligibility: tuple[Json, ...] = ()  # all must hold
    force: dict[str, str] = field(default_factory=dict)  # unit id as text → variant id
    phase: int = 1
    analysis: dict[str, Json] = field(default_factory=dict)
    pause: str | None = None  # the reason from the paused directory; wins over status
    source: str = ""

    @property
    def salt(self) -> str:
        """The salt of its traffic and variant buckets (docs/bucketing.md): the id, and the phase when above 1."""
        return self.id if self.phase == 1 else f"{self.id}#{self.phase}"


Record = Placement | Layer | Experiment


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A record that cannot be read or built, and why. The others are in force without it."""

    kind: str  # of the record; "Attribute" or "Problem" for an entry of the head
    id: str  # "" where it names none
    reason: str
    source: str = ""
    record: Experiment | None = None  # where it could be read

    def as_problem(self) -> Problem:
        """Return it as the problem that status and page show."""
        path = f"{self.kind.lower()}s.{self.id}" if self.id else f"{self.kind.lower()}s"
        remedy = "bring sidecar and agent to one version, or change it in the documents"
        return Problem("error", "LEFT_OUT", self.source, 0, 0, path, "", f"left out: {self.reason}", remedy)


@dataclass(frozen=True, slots=True)
class SnapshotHead:
    """What is true of the whole snapshot. Only `attributes` are part of the revision.

    `pauses`: what each paused directory paused, by its label, for an agent that restarts while one cannot be read;
    None in a file from before this was stored. A reader takes an experiment's own `pause`.
    """

    revision: str
    written_at_us: int
    attributes: dict[str, Attribute]
    retired: dict[str, str]  # experiment id → the file that retired it
    degraded: bool = False  # something a file asks for is not in force; `problems` name it
    problems: tuple[Problem, ...] = ()
    pauses: dict[str, dict[str, str]] | None = None  # directory → experiment id, or `all` → reason
    report: dict[str, Json] = field(default_factory=dict)  # own metrics, the currency: what no answer is made of

    @property
    def currency(self) -> str | None:
        """What a value without a currency is in; None where no document has it."""
        found = self.report.get("currency")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot. Records are keyed and sorted by id."""

    head: SnapshotHead
    placements: dict[str, Placement]
    layers: dict[str, Layer]
    experiments: dict[str, Experiment]

    def records(self) -> Iterator[Record]:
        """Yield every record in file order."""
        yield from self.placements.values()
        yield from self.layers.values()
        yield from self.experiments.values()


def unpaused(experiment: Experiment) -> Experiment:
    """Return the experiment as its document has it, whatever the paused directory says."""
    return replace(experiment, pause=None)
