"""The snapshot: what the agent publishes and the sidecar follows. One file, digested, read whole or in slices.

    header (magic, format, body length, sha256 of the body) | msgpack maps: head, then placement*, layer*, experiment*

All that can be decided at publish time is decided there: percentages are basis points, weights half-open integer
ranges, times µs UTC, pauses already applied. Digests are over canonical JSON (sorted keys), so two agents that read
the same files agree whatever the order of files and keys.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import msgpack
import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Parameters: TypeAlias = "dict[str, Json]"
Status = Literal["draft", "running", "paused", "ended"]
UnitKind = Literal["user_or_session", "user", "session"]
AttributeType = Literal["string", "number", "boolean", "version", "date", "list"]

MAGIC = b"abside\x00S"
FORMAT = 1
READABLE_FORMATS = frozenset({1})  # a sidecar reads n and n-1: upgrade sidecars first, then agents
HEADER = struct.Struct("<8sIQ32s")
MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024  # 60 full ConfigMaps; a longer length field is garbage, not a snapshot
BASIS_POINTS = 10_000
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
        """Give the one-line form: `file:line:column: severity: path: message (got value) — remedy [CODE]`."""
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
    """Mutual exclusion: experiments of one layer hold disjoint slots of its buckets. Its salt is its id."""

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
    pause: str | None = None  # the reason given in the paused directory; wins over status
    source: str = ""

    @property
    def salt(self) -> str:
        """The salt of its traffic and variant buckets (assignment.md): the id, and the phase when above 1."""
        return self.id if self.phase == 1 else f"{self.id}#{self.phase}"


Record = Placement | Layer | Experiment


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of the whole. Of these only `attributes` are part of the revision.

    `pauses`: what each paused directory paused, by its label, for an agent that restarts while one cannot be read;
    None in a file from before this was written down. A reader takes an experiment's own `pause`.
    """

    revision: str
    written_at_us: int
    attributes: dict[str, Attribute]
    retired: dict[str, str]  # experiment id → the file that retired it
    degraded: bool = False  # something a file asks for is held back; `problems` says what
    problems: tuple[Problem, ...] = ()
    pauses: dict[str, dict[str, str]] | None = None  # directory → experiment id, or `all` → reason
    report: dict[str, Json] = field(default_factory=dict)  # what the report alone reads: own metrics, the currency


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot. Records are keyed and sorted by id."""

    head: Head
    placements: dict[str, Placement]
    layers: dict[str, Layer]
    experiments: dict[str, Experiment]

    def records(self) -> Iterator[Record]:
        """Yield every record in file order."""
        yield from self.placements.values()
        yield from self.layers.values()
        yield from self.experiments.values()


class SnapshotError(Exception):
    """A snapshot file that cannot be used; the reader keeps what it has."""

    def __init__(self, reason: Literal["short", "foreign", "format", "digest", "content"], detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"snapshot refused ({self.reason}): {self.detail}"


def assemble(
    attributes: dict[str, Attribute],
    records: Iterable[Record],
    *,
    written_at_us: int,
    retired: dict[str, str] | None = None,
    degraded: bool = False,
    problems: tuple[Problem, ...] = (),
    pauses: dict[str, dict[str, str]] | None = None,
    report: dict[str, Json] | None = None,
) -> Snapshot:
    """Sort records by id, compute the revision and give the snapshot. Pure; the clock is an argument."""
    by_kind: dict[type[Record], dict[str, Record]] = {Placement: {}, Layer: {}, Experiment: {}}
    for record in sorted(records, key=lambda record: record.id):
        by_kind[type(record)][record.id] = record
    ordered = [record for kind in (Placement, Layer, Experiment) for record in by_kind[kind].values()]
    declared = dict(sorted(attributes.items()))
    revision = revision_of(declared, ordered)
    head = Head(revision, written_at_us, declared, retired or {}, degraded, problems, pauses, report or {})
    return Snapshot(
        head,
        cast("dict[str, Placement]", by_kind[Placement]),
        cast("dict[str, Layer]", by_kind[Layer]),
        cast("dict[str, Experiment]", by_kind[Experiment]),
    )


def revision_of(attributes: dict[str, Attribute], records: Iterable[Record]) -> str:
    """First 12 hex characters of the sha256 over attributes and record digests, sorted: no times, no file names."""
    declared = {name: [attribute.type, attribute.log] for name, attribute in attributes.items()}
    return digest([declared, sorted([type(record).__name__, record.id, digest_of(record)] for record in records)])[:12]


def digest_of(record: Record) -> str:
    """Give the hex sha256 of a record's canonical content, its source file left out."""
    body = _to_map(record)
    body.pop("source")
    return digest(body)


def digest(value: Json | list[Any] | dict[str, Any]) -> str:
    """Give the hex sha256 of `value` as canonical JSON: sorted keys, UTF-8, no spaces."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def config_id(config: Parameters) -> str:
    """Name one merged configuration: the first 12 hex characters of its digest, whatever the order of its keys."""
    return digest(config)[:12]


def encode(snapshot: Snapshot) -> bytes:
    """Give the whole file as bytes."""
    maps = [_head_to_map(snapshot.head)]
    maps += [
        {"kind": type(record).__name__, "digest": digest_of(record), **_to_map(record)} for record in snapshot.records()
    ]
    body = b"".join(msgpack.packb(entry) for entry in maps)
    return HEADER.pack(MAGIC, FORMAT, len(body), hashlib.sha256(body).digest()) + body


def decode(data: bytes) -> Snapshot:
    """Read a whole file. Raises SnapshotError; never returns a part."""
    entries = read(data)
    head = cast("Head", next(entries)[1])
    by_kind: dict[type[Any], dict[str, Any]] = {Placement: {}, Layer: {}, Experiment: {}}
    for _, record in entries:
        by_kind[type(record)][cast("Record", record).id] = record
    return Snapshot(head, by_kind[Placement], by_kind[Layer], by_kind[Experiment])


def read(data: bytes) -> Iterator[tuple[str, Head | Record]]:
    """Yield ("", head), then (digest, record) one by one, after the whole body's digest was verified.

    A reader may pause between two: that is how a reload never stalls the loop. Raises SnapshotError.
    """
    body = _verified_body(data)
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_SNAPSHOT_BYTES, max_bin_len=0, max_ext_len=0)  # JSON has neither
    unpacker.feed(body)
    try:
        yield "", _head_from_map(unpacker.unpack())
        for entry in unpacker:
            yield _record_from_map(entry)
    except (msgpack.UnpackException, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SnapshotError("content", f"a record does not have format {FORMAT}'s shape: {exc!r}") from exc


def file_digest(data: bytes) -> bytes:
    """Give the body digest a file's header claims, without reading the body. Raises SnapshotError."""
    return cast("bytes", _header(data)[3])


def unpaused(experiment: Experiment) -> Experiment:
    """Give the experiment as its document has it, whatever the paused directory says."""
    return replace(experiment, pause=None)


def _header(data: bytes) -> tuple[Any, ...]:
    if len(data) < HEADER.size:
        raise SnapshotError("short", f"{len(data)} bytes; the header alone is {HEADER.size}")
    fields = HEADER.unpack_from(data)
    if fields[0] != MAGIC:
        raise SnapshotError("foreign", f"starts with {fields[0]!r}, not with {MAGIC!r}: not a snapshot file")
    if fields[1] not in READABLE_FORMATS:
        known = ", ".join(map(str, sorted(READABLE_FORMATS)))
        raise SnapshotError("format", f"format {fields[1]}, this reader knows {known}: upgrade the sidecar first")
    return fields


def _verified_body(data: bytes) -> memoryview:
    _, _, length, claimed = _header(data)
    body = memoryview(data)[HEADER.size :]
    if len(body) != length or length > MAX_SNAPSHOT_BYTES:
        raise SnapshotError("short", f"the header announces {length} bytes, the file has {len(body)}")
    if hashlib.sha256(body).digest() != claimed:
        raise SnapshotError("digest", "the body does not match the sha256 in the header")
    return body


def _to_map(record: Record) -> dict[str, Any]:
    """Flatten one record to plain values (no dataclasses), in field order."""
    match record:
        case Placement():
            return {"id": record.id, "parameters": record.parameters, "source": record.source}
        case Layer():
            return {"id": record.id, "source": record.source}
        case Experiment():
            body = {name: getattr(record, name) for name in _EXPERIMENT_PLAIN}
            body["variants"] = [[arm.id, arm.start, arm.stop, arm.parameters] for arm in record.variants]
            body["steps"] = [[step.from_us, step.traffic_bp] for step in record.steps]
            return body


_EXPERIMENT_PLAIN = tuple(name for name in Experiment.__slots__ if name not in {"variants", "steps"})


def _record_from_map(entry: dict[str, Any]) -> tuple[str, Record]:
    """Give (digest, record). Raises KeyError or TypeError for another shape: what is inside is trusted afterwards."""
    _check(entry, {"kind": str, "digest": str, "id": str, "source": str})
    return entry["digest"], _FROM_MAP[entry["kind"]](entry)


def _check(entry: dict[str, Any], shape: dict[str, Any]) -> None:
    for name, kind in shape.items():
        if not isinstance(entry[name], kind):
            raise TypeError(f"{name} is a {type(entry[name]).__name__}")


def _placement_from_map(entry: dict[str, Any]) -> Placement:
    _check(entry, {"parameters": dict})
    return Placement(entry["id"], entry["parameters"], entry["source"])


def _layer_from_map(entry: dict[str, Any]) -> Layer:
    return Layer(entry["id"], entry["source"])


def _experiment_from_map(entry: dict[str, Any]) -> Experiment:
    _check(entry, _EXPERIMENT_SHAPE)
    plain = {name: entry[name] for name in _EXPERIMENT_PLAIN}
    plain["placements"] = tuple(plain["placements"])
    plain["eligibility"] = tuple(plain["eligibility"])
    plain["slots"] = None if plain["slots"] is None else tuple(plain["slots"])
    return Experiment(
        **plain,
        variants=tuple(_variant(*arm) for arm in entry["variants"]),
        steps=tuple(Step(*step) for step in entry["steps"]),
    )


def _variant(arm_id: Any, start: Any, stop: Any, parameters: Any) -> Variant:
    _check({"variant": arm_id, "start": start, "stop": stop}, {"variant": str, "start": int, "stop": int})
    _check(parameters, dict.fromkeys(parameters, dict))
    return Variant(arm_id, start, stop, parameters)


_EXPERIMENT_SHAPE: dict[str, Any] = {
    **dict.fromkeys(("name", "hypothesis", "control", "owner"), str),
    **dict.fromkeys(("placements", "variants", "steps", "eligibility"), list),
    **dict.fromkeys(("force", "analysis"), dict),
    **dict.fromkeys(("layer", "pause"), str | None),
    **dict.fromkeys(("start_us", "end_us"), int | None),
    "slots": list | None,
    "phase": int,
}
_FROM_MAP: dict[str, Callable[[dict[str, Any]], Record]] = {
    "Placement": _placement_from_map,
    "Layer": _layer_from_map,
    "Experiment": _experiment_from_map,
}


def _head_to_map(head: Head) -> dict[str, Any]:
    return {
        "revision": head.revision,
        "written_at_us": head.written_at_us,
        "attributes": {name: [a.type, a.log, a.source] for name, a in head.attributes.items()},
        "retired": head.retired,
        "degraded": head.degraded,
        "problems": [{name: getattr(problem, name) for name in Problem.__slots__} for problem in head.problems],
        "pauses": head.pauses,
        "report": head.report,
    }


def _head_from_map(entry: dict[str, Any]) -> Head:
    _check(entry, {"revision": str, "written_at_us": int, "attributes": dict, "retired": dict, "degraded": bool})
    return Head(
        entry["revision"],
        entry["written_at_us"],
        {name: _attribute(*fields) for name, fields in entry["attributes"].items()},
        entry["retired"],
        entry["degraded"],
        tuple(Problem(**problem) for problem in entry["problems"]),
        _pauses(entry.get("pauses")),
        _report(entry.get("report")),
    )


def _report(fields: Any) -> dict[str, Json]:
    _check({"report": fields}, {"report": dict | None})
    return fields or {}


def _attribute(kind: Any, log: Any, source: Any) -> Attribute:
    _check({"type": kind, "log": log, "source": source}, {"type": str, "log": bool, "source": str})
    return Attribute(kind, log, source)


def _pauses(by_directory: Any) -> dict[str, dict[str, str]] | None:
    _check({"pauses": by_directory}, {"pauses": dict | None})
    for found in (by_directory or {}).values():
        _check({"pauses": found}, {"pauses": dict})
        _check(found, dict.fromkeys(found, str))
    return cast("dict[str, dict[str, str]] | None", by_directory)
