"""Digests of a snapshot and its parts, over canonical JSON: the order of files and keys changes none of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import orjson

from abside.snapshot.records import Experiment, Layer, Placement, Snapshot, SnapshotHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot.records import Attribute, Json, Parameters, Problem, Record


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
    """Sort records by id, compute the revision and return the snapshot. Pure; the clock is an argument."""
    by_kind: dict[type[Record], dict[str, Record]] = {Placement: {}, Layer: {}, Experiment: {}}
    for record in sorted(records, key=lambda record: record.id):
        by_kind[type(record)][record.id] = record
    ordered = [record for kind in (Placement, Layer, Experiment) for record in by_kind[kind].values()]
    declared = dict(sorted(attributes.items()))
    head = SnapshotHead(
        revision_of(declared, ordered), written_at_us, declared, retired or {}, degraded, problems, pauses, report or {}
    )
    return Snapshot(
        head,
        cast("dict[str, Placement]", by_kind[Placement]),
        cast("dict[str, Layer]", by_kind[Layer]),
        cast("dict[str, Experiment]", by_kind[Experiment]),
    )


def revision_of(attributes: dict[str, Attribute], records: Iterable[Record]) -> str:
    """Return 12 hex characters of the sha256 over attributes and sorted record digests: no times, no file names."""
    declared = {name: [attribute.type, attribute.log] for name, attribute in attributes.items()}
    return digest([declared, sorted([type(record).__name__, record.id, digest_of(record)] for record in records)])[:12]


def digest_of(record: Record) -> str:
    """Return the hex sha256 of a record's canonical content, its source file left out."""
    body = record_to_map(record)
    body.pop("source")
    return digest(body)


def digest(value: Json | list[Any] | dict[str, Any]) -> str:
    """Return the hex sha256 of `value` as canonical JSON: sorted keys, UTF-8, no spaces."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def config_id(config: Parameters) -> str:
    """Return the id of a merged configuration: 12 hex characters of its digest, whatever the order of its keys."""
    return digest(config)[:12]


def record_to_map(record: Record) -> dict[str, Any]:
    """Flatten one record to plain values (no dataclasses), in field order."""
    match record:
        case Placement():
            return {"id": record.id, "parameters": record.parameters, "source": record.source}
        case Layer():
            return {"id": record.id, "source": record.source}
        case Experiment():
            body = {name: getattr(record, name) for name in EXPERIMENT_PLAIN}
            body["variants"] = [[arm.id, arm.start, arm.stop, arm.parameters] for arm in record.variants]
            body["steps"] = [[step.from_us, step.traffic_bp] for step in record.steps]
            return body


EXPERIMENT_PLAIN = tuple(name for name in Experiment.__slots__ if name not in {"variants", "steps"})
