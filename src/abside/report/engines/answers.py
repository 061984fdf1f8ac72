"""Answers of an engine, kept in a directory: each under a digest of the question and of all that it was asked of.

A file begins with the digest of the rest, so that a damaged one is as none. Nothing is forced to disk: what is lost is
asked for again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from abside.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = "abside-answers"  # in --work
MAX_FILES = 2_000  # some twenty reports of one experiment; of more, those used longest ago go
MAX_ANSWER_BYTES = 64 * 2**20  # a larger one is asked for again
DIGEST_BYTES = 32
TABLE = ".duckdb"  # ends the name of a table's file, whose digest is an answer


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers in one directory."""

    folder: Path

    def text(self, key: str) -> bytes | None:
        """Return an answer; None where there is none, or none that is whole."""
        path = self.folder / key
        try:
            if path.stat().st_size > MAX_ANSWER_BYTES + DIGEST_BYTES:
                return None
            whole = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        data = whole[DIGEST_BYTES:]
        return data if hashlib.sha256(data).digest() == whole[:DIGEST_BYTES] else None

    def take(self, key: str, data: bytes) -> None:
        """Keep an answer, unless it is too large or the disk is full: it is asked for again then."""
        if len(data) <= MAX_ANSWER_BYTES:
            with suppress(OSError):
                write_whole(self.folder / key, hashlib.sha256(data).digest() + data, fsync=_not_forced)

    def rows(self, key: str) -> pa.Table | None:
        """Return an answer that is a table of few rows."""
        data = self.text(key)
        if data is None:
            return None
        with pa.ipc.open_stream(data) as stream:
            return stream.read_all()

    def take_rows(self, key: str, rows: pa.Table) -> None:
        """Keep a table of few rows."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        self.take(key, sink.getvalue().to_pybytes())

    def table(self, key: str) -> Path | None:
        """Return the file of a table of many rows."""
        path = self.folder / f"{key}{TABLE}"
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            os.utime(path)
        except OSError:
            return None
        return path if self.text(f"{key}-table") == digest else None

    def take_table(self, key: str, write: Callable[[Path], None]) -> None:
        """Keep a table of many rows, which `write` writes to a file."""
        beside, path = self.folder / f"_{key}{TABLE}", self.folder / f"{key}{TABLE}"
        beside.unlink(missing_ok=True)
        try:
            write(beside)
            with beside.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        self.take(f"{key}-table", digest)

    def prune(self) -> None:
        """Remove what was used longest ago, beyond MAX_FILES."""
        with suppress(OSError):
            files = sorted(self.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
            for path in files[MAX_FILES:]:
                path.unlink()


def _not_forced(_descriptor: int) -> None:
    """Leave it to the system when it writes."""
