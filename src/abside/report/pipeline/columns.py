"""Whether the files of a pipeline have the columns that are mapped, of types that can be ours: by their footers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from abside.collector.store import FileUnreadable, read_metadata, reading, reason_of
from abside.report.pipeline.mapping import TEXTS, meant

if TYPE_CHECKING:
    from pathlib import Path

    from abside.report.pipeline.mapping import OutcomeMapping


def check_files(mapping: OutcomeMapping) -> bool:
    """Return whether the times have no zone of their own, after a look at every footer. Raises NoOutcomes."""
    first = _schema(mapping, mapping.files[0])
    for path in mapping.files:
        schema = _schema(mapping, path)
        for ours, theirs in mapping.columns.items():
            if theirs not in schema.names:
                raise mapping.problem(f"columns.{ours}: {path} has no column {theirs}; {meant(theirs, schema.names)}")
            kind = _plain(schema.field(theirs).type)
            wanted = _wanted(ours, kind)
            if wanted:
                raise mapping.problem(f"columns.{ours}: {theirs} is {kind} in {path}, it must be {wanted}")
            if kind != _plain(first.field(theirs).type):
                other = f"{_plain(first.field(theirs).type)} in {mapping.files[0]}"
                raise mapping.problem(f"columns.{ours}: {theirs} is {kind} in {path}, and {other}: write them alike")
    return _is_local(mapping, first)


def _is_local(mapping: OutcomeMapping, schema: pa.Schema) -> bool:
    """Whether `zone` is needed; it must be there then, and only then."""
    theirs = mapping.columns["ts"]
    zone = schema.field(theirs).type.tz
    if zone is None and mapping.zone is None:
        raise mapping.problem(f'columns.ts: {theirs} has no zone; say which one it is in, for example zone = "UTC"')
    if zone is not None and mapping.zone is not None:
        raise mapping.problem(f"zone: {theirs} has a zone of its own, {zone}; leave this key out")
    return zone is None


def _schema(mapping: OutcomeMapping, path: Path) -> pa.Schema:
    try:
        metadata = read_metadata(path)
        with reading(path):
            return metadata.schema.to_arrow_schema()
    except FileUnreadable as exc:
        raise mapping.problem(f"files: {exc}") from exc
    except OSError as exc:
        raise mapping.problem(f"files: {path}: {reason_of(exc)}") from exc


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: the engine does not know a dictionary from what is in it."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(plain) or pa.types.is_string_view(plain) else plain


def _wanted(ours: str, kind: pa.DataType) -> str:
    """Return what a column must be, in words; nothing where it is that."""
    is_whole = pa.types.is_integer(kind)
    if ours == "ts":
        return "" if pa.types.is_timestamp(kind) else "a timestamp"
    if ours == "value":
        is_number = is_whole or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        return "" if is_number else "a number"
    if ours == "quantity":
        return "" if is_whole else "a whole number"
    if ours in TEXTS and is_whole and ours != "currency":
        return ""
    return "" if kind == pa.string() else "a string"
