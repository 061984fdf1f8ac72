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
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

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
MAX_SHOWN_CHARS = 64  # of a name in a record that cannot be read: no id is longer
MAX_REASON_CHARS = 300  # of why: it stands in the log, and in the status as often as there are such records
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
        """Return it in the shape that status and page show."""
        path = f"{self.kind.lower()}s.{self.id}" if self.id else f"{self.kind.lower()}s"
        remedy = "bring sidecar and agent to one version, or change it in the documents"
        return Problem("error", "LEFT_OUT", self.source, 0, 0, path, "", f"left out: {self.reason}", remedy)


@dataclass(frozen=True, slots=True)
class SnapshotHead:
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
) -> Snapshot:
    """Sort records by id, compute the revision and give the snapshot. Pure; the clock is an argument."""
    by_kind: dict[type[Record], dict[str, Record]] = {Placement: {}, Layer: {}, Experiment: {}}
    for record in sorted(records, key=lambda record: record.id):
        by_kind[type(record)][record.id] = record
    ordered = [record for kind in (Placement, Layer, Experiment) for record in by_kind[kind].values()]
    declared = dict(sorted(attributes.items()))
    head = SnapshotHead(
        revision_of(declared, ordered), written_at_us, declared, retired or {}, degraded, problems, pauses
    )
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
    """Read a whole file. Raises SnapshotError, for a record that cannot be read too; never returns a part."""
    entries = read(data)
    head = cast("SnapshotHead", next(entries)[1])
    by_kind: dict[type[Any], dict[str, Any]] = {Placement: {}, Layer: {}, Experiment: {}}
    for _, record in entries:
        if isinstance(record, LeftOut):
            detail = f"{record.kind} {record.id} does not have format {FORMAT}'s shape: {record.reason}"
            raise SnapshotError("content", detail)
        by_kind[type(record)][cast("Record", record).id] = record
    return Snapshot(head, by_kind[Placement], by_kind[Layer], by_kind[Experiment])


def read(data: bytes) -> Iterator[tuple[str, SnapshotHead | Record | LeftOut]]:
    """Yield ("", head), then (digest, record) one by one, after the whole body's digest was verified.

    A record of another shape comes as ("", LeftOut): it costs none of the others. A reader may pause between two:
    that is how a reload never stalls the loop. Raises SnapshotError where the file or its head cannot be read.
    """
    body = _verified_body(data)
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_SNAPSHOT_BYTES, max_bin_len=0, max_ext_len=0)  # JSON has neither
    unpacker.feed(body)
    try:
        head, unread = _head_from_map(unpacker.unpack())
        yield "", head
        for one in unread:
            yield "", one
        for entry in unpacker:
            yield _record_or_why(entry)
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


_WRONG_SHAPE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


def _record_or_why(entry: Any) -> tuple[str, Record | LeftOut]:
    try:
        return _record_from_map(entry)
    except _WRONG_SHAPE as exc:
        named = entry if isinstance(entry, dict) else {}
        kind, record_id, source = (
            value[:MAX_SHOWN_CHARS] if isinstance(value := named.get(name), str) else ""
            for name in ("kind", "id", "source")
        )
        return "", LeftOut(kind or "Record", record_id, _why(exc), source)


def _why(exc: Exception) -> str:
    """Say in words why a record has another shape; the sentence is cut, for it may repeat what the record holds."""
    said = f"it has no {exc.args[0]}" if isinstance(exc, KeyError) else str(exc)
    return said[:MAX_REASON_CHARS]


def _record_from_map(entry: dict[str, Any]) -> tuple[str, Record]:
    """Give (digest, record). Raises one of _WRONG_SHAPE: what is inside is trusted afterwards."""
    if not isinstance(entry, dict):
        raise TypeError(f"a record is a map, not a {type(entry).__name__}")
    _check(entry, {"kind": str, "digest": str, "id": str, "source": str})
    build = _FROM_MAP.get(entry["kind"])
    if build is None:
        raise ValueError(f"the kind {entry['kind'][:MAX_SHOWN_CHARS]!r} is not known to this version")
    orjson.dumps(entry)  # answers and events carry it on: it raises where a value is none of JSON, or nested too deep
    return entry["digest"], build(entry)


def _check(entry: dict[str, Any], shape: dict[str, Any]) -> None:
    for name, kind in shape.items():
        value = entry[name]
        if not isinstance(value, kind) or (type(value) is bool and kind is not bool):  # in Python True is an int
            raise TypeError(f"{name} is a {type(value).__name__}")


def _check_all(name: str, values: Iterable[Any], kind: Any) -> None:
    for value in values:
        _check({name: value}, {name: kind})


def _placement_from_map(entry: dict[str, Any]) -> Placement:
    _check(entry, {"parameters": dict})
    return Placement(entry["id"], entry["parameters"], entry["source"])


def _layer_from_map(entry: dict[str, Any]) -> Layer:
    return Layer(entry["id"], entry["source"])


def _experiment_from_map(entry: dict[str, Any]) -> Experiment:
    _check(entry, _EXPERIMENT_SHAPE)
    for name, words in _EXPERIMENT_WORDS.items():
        if entry[name] not in words:
            raise ValueError(f"{name} is none of {', '.join(words)}")
    _check_all("placements", entry["placements"], str)
    _check_all("force", entry["force"].values(), str)
    slots = (0, 0) if entry["slots"] is None else entry["slots"]
    _check_all("slots", slots, int)
    if len(slots) != 2:
        raise ValueError(f"slots has {len(slots)} edges, not 2")
    plain = {name: entry[name] for name in _EXPERIMENT_PLAIN}
    plain["placements"] = tuple(plain["placements"])
    plain["eligibility"] = tuple(plain["eligibility"])
    plain["slots"] = None if plain["slots"] is None else tuple(plain["slots"])
    return Experiment(
        **plain,
        variants=tuple(_variant(*arm) for arm in entry["variants"]),
        steps=tuple(_step(*step) for step in entry["steps"]),
    )


def _variant(arm_id: Any, start: Any, stop: Any, parameters: Any) -> Variant:
    _check({"variant": arm_id, "start": start, "stop": stop}, {"variant": str, "start": int, "stop": int})
    _check(parameters, dict.fromkeys(parameters, dict))
    return Variant(arm_id, start, stop, parameters)


def _step(from_us: Any, traffic_bp: Any) -> Step:
    _check({"from_us": from_us, "traffic_bp": traffic_bp}, {"from_us": int, "traffic_bp": int})
    return Step(from_us, traffic_bp)


_EXPERIMENT_SHAPE: dict[str, Any] = {
    **dict.fromkeys(("name", "hypothesis", "control", "owner"), str),
    **dict.fromkeys(("placements", "variants", "steps", "eligibility"), list),
    **dict.fromkeys(("force", "analysis"), dict),
    **dict.fromkeys(("layer", "pause"), str | None),
    **dict.fromkeys(("start_us", "end_us"), int | None),
    **dict.fromkeys(("status", "unit"), str),
    "slots": list | None,
    "phase": int,
}
_EXPERIMENT_WORDS: dict[str, tuple[str, ...]] = {"status": get_args(Status), "unit": get_args(UnitKind)}
_FROM_MAP: dict[str, Callable[[dict[str, Any]], Record]] = {
    "Placement": _placement_from_map,
    "Layer": _layer_from_map,
    "Experiment": _experiment_from_map,
}


def _head_to_map(head: SnapshotHead) -> dict[str, Any]:
    return {
        "revision": head.revision,
        "written_at_us": head.written_at_us,
        "attributes": {name: [a.type, a.log, a.source] for name, a in head.attributes.items()},
        "retired": head.retired,
        "degraded": head.degraded,
        "problems": [{name: getattr(problem, name) for name in Problem.__slots__} for problem in head.problems],
        "pauses": head.pauses,
    }


def _head_from_map(entry: dict[str, Any]) -> tuple[SnapshotHead, list[LeftOut]]:
    """Give the head, and what of its lists cannot be read. Raises one of _WRONG_SHAPE for the head itself."""
    _check(entry, {"revision": str, "written_at_us": int, "attributes": dict, "retired": dict, "degraded": bool})
    _check(entry, {"problems": list})
    attributes: dict[str, Attribute] = {}
    problems: list[Problem] = []
    unread: list[LeftOut] = []
    for name, fields in entry["attributes"].items():
        try:
            attributes[name] = _attribute(*fields)
        except _WRONG_SHAPE as exc:
            unread.append(LeftOut("Attribute", name[:MAX_SHOWN_CHARS], _why(exc)))
    for index, fields in enumerate(entry["problems"]):
        try:
            problems.append(_problem(fields))
        except _WRONG_SHAPE as exc:
            unread.append(LeftOut("Problem", str(index), _why(exc)))
    revision, written_at_us, pauses = entry["revision"], entry["written_at_us"], _pauses(entry.get("pauses"))
    head = SnapshotHead(
        revision, written_at_us, attributes, entry["retired"], entry["degraded"], tuple(problems), pauses
    )
    return head, unread


def _attribute(kind: Any, log: Any, source: Any) -> Attribute:
    _check({"type": kind, "log": log, "source": source}, {"type": str, "log": bool, "source": str})
    return Attribute(kind, log, source)


def _problem(fields: dict[str, Any]) -> Problem:
    """Read one problem; what a newer agent adds to it does not disturb."""
    shape = {name: int if name in {"line", "column"} else str for name in Problem.__slots__}
    _check(fields, shape)
    return Problem(**{name: fields[name] for name in shape})


def _pauses(by_directory: Any) -> dict[str, dict[str, str]] | None:
    _check({"pauses": by_directory}, {"pauses": dict | None})
    for found in (by_directory or {}).values():
        _check({"pauses": found}, {"pauses": dict})
        _check(found, dict.fromkeys(found, str))
    return cast("dict[str, dict[str, str]] | None", by_directory)
