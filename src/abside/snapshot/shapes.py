"""The shapes of a snapshot's maps: each is checked as it is read, so that what is inside is trusted afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import orjson

from abside.snapshot.digests import EXPERIMENT_PLAIN
from abside.snapshot.records import (
    MAX_SHOWN_CHARS,
    Attribute,
    Experiment,
    Layer,
    LeftOut,
    Placement,
    Problem,
    SnapshotHead,
    Status,
    Step,
    UnitKind,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from abside.snapshot.records import Record

MAX_REASON_CHARS = 300  # of why: the log contains it, and the status as often as there are such records
_WRONG_SHAPE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


def record_or_why(entry: Any) -> tuple[str, Record | LeftOut]:
    """Return (digest, record), or ("", LeftOut) for a map of another shape."""
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
    """Return why a record has another shape; the sentence is cut, for it may repeat what the record contains."""
    reason = f"it has no {exc.args[0]}" if isinstance(exc, KeyError) else str(exc)
    return reason[:MAX_REASON_CHARS]


def _record_from_map(entry: dict[str, Any]) -> tuple[str, Record]:
    """Return (digest, record). Raises one of _WRONG_SHAPE: what is inside is trusted afterwards."""
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
    plain = {name: entry[name] for name in EXPERIMENT_PLAIN}
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


def head_from_map(entry: dict[str, Any]) -> tuple[SnapshotHead, list[LeftOut]]:
    """Return the head, and what of its lists cannot be read. Raises one of _WRONG_SHAPE for the head itself."""
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
        revision,
        written_at_us,
        attributes,
        entry["retired"],
        entry["degraded"],
        tuple(problems),
        pauses,
        _report(entry.get("report")),
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


def _report(fields: Any) -> dict[str, Any]:
    _check({"report": fields}, {"report": dict | None})
    return fields or {}


def _pauses(by_directory: Any) -> dict[str, dict[str, str]] | None:
    _check({"pauses": by_directory}, {"pauses": dict | None})
    for found in (by_directory or {}).values():
        _check({"pauses": found}, {"pauses": dict})
        _check(found, dict.fromkeys(found, str))
    return cast("dict[str, dict[str, str]] | None", by_directory)
