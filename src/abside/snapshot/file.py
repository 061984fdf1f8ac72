"""The snapshot file: written whole, digested, and read whole or in slices.

header (magic, format, body length, sha256 of the body) | msgpack maps: head, then placement*, layer*, experiment*
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any, Literal, cast

import msgpack

from abside.snapshot.digests import digest_of, record_to_map
from abside.snapshot.records import Experiment, LeftOut, Problem, Snapshot, SnapshotHead
from abside.snapshot.shapes import head_from_map, record_or_why

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from abside.snapshot.records import Record

MAGIC = b"abside\x00S"
FORMAT = 2
# A sidecar reads n and n-1: upgrade sidecars first, then agents. In format 2 a variant's mapping may name some of its
# placement's keys. In format 1 it names them all, so that laid over key by key it means what it meant, replaced whole.
READABLE_FORMATS = frozenset({1, 2})
HEADER = struct.Struct("<8sIQ32s")
MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024  # 60 full ConfigMaps; a longer length field is garbage, not a snapshot


class SnapshotError(Exception):
    """A snapshot file that cannot be used; the reader keeps what it has."""

    def __init__(self, reason: Literal["short", "foreign", "format", "digest", "content"], detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"snapshot refused ({self.reason}): {self.detail}"


def encode(snapshot: Snapshot) -> bytes:
    """Return the whole file as bytes."""
    maps = [_head_to_map(snapshot.head)]
    maps += [
        {"kind": type(record).__name__, "digest": digest_of(record), **record_to_map(record)}
        for record in snapshot.records()
    ]
    body = b"".join(msgpack.packb(entry) for entry in maps)
    return HEADER.pack(MAGIC, FORMAT, len(body), hashlib.sha256(body).digest()) + body


def decode(data: bytes) -> Snapshot:
    """Read a whole file. Raises SnapshotError, for a record that cannot be read too; never returns a part."""
    reading = decode_in_slices(data)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            snapshot, _, left_out = done.value
            break
    for one in left_out:
        detail = f"{one.kind} {one.id} does not have format {FORMAT}'s shape: {one.reason}"
        raise SnapshotError("content", detail)
    return snapshot  # type: ignore[no-any-return]


def decode_in_slices(data: bytes) -> Generator[None, None, tuple[Snapshot, dict[str, str], list[LeftOut]]]:
    """Read a file record by record; return the snapshot, the digests of experiments by id, and what cannot be read.

    It pauses after each record, so that a reload never stalls the loop. Raises SnapshotError as `read`.
    """
    head: SnapshotHead | None = None
    kinds: dict[str, dict[str, Any]] = {"Placement": {}, "Layer": {}, "Experiment": {}}
    digests: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for digest, record in read(data):
        if isinstance(record, SnapshotHead):
            head = record
        elif isinstance(record, LeftOut):
            left_out.append(record)
        elif record.id in kinds[kind := type(record).__name__]:
            left_out.append(LeftOut(kind, record.id, "the file has it twice; the first is in force", record.source))
        else:
            kinds[kind][record.id] = record
            if isinstance(record, Experiment):
                digests[record.id] = digest
        yield
    whole = Snapshot(cast("SnapshotHead", head), kinds["Placement"], kinds["Layer"], kinds["Experiment"])
    return whole, digests, left_out


def read(data: bytes) -> Iterator[tuple[str, SnapshotHead | Record | LeftOut]]:
    """Yield ("", head), then (digest, record) one by one, after the whole body's digest was verified.

    A record of another shape is ("", LeftOut): it costs none of the others. Raises SnapshotError where the file or its
    head cannot be read.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=MAX_SNAPSHOT_BYTES, max_bin_len=0, max_ext_len=0)  # JSON has neither
    unpacker.feed(_verified_body(data))
    try:
        head, unread = head_from_map(unpacker.unpack())
        yield "", head
        for one in unread:
            yield "", one
        for entry in unpacker:
            yield record_or_why(entry)
    except (msgpack.UnpackException, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SnapshotError("content", f"a record does not have format {FORMAT}'s shape: {exc!r}") from exc


def file_digest(data: bytes) -> bytes:
    """Return the body digest a file's header claims, without reading the body. Raises SnapshotError."""
    return cast("bytes", _header(data)[3])


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


def _head_to_map(head: SnapshotHead) -> dict[str, Any]:
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
