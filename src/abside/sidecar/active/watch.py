"""One look at the snapshot file and the clock: a new file is read and swapped in whole, a due change is applied.

A file that cannot be used changes a counter, a log line and a status, nothing else: the last good stays in force.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from abside.files import FileRefusedError, open_regular, read_regular
from abside.log import Log
from abside.sidecar.active.building import is_right_at, read_in_slices, rebuild_in_slices
from abside.snapshot import (
    HEADER,
    MAX_SNAPSHOT_BYTES,
    SnapshotError,
    file_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from abside.sidecar.active.current import Cell, Current
    from abside.snapshot import LeftOut

log = Log("abside.follow")
MAX_LOGGED_LEFT_OUT = 20  # lines of one file; the status has all
Signature = tuple[int, int, int]  # inode, mtime in ns, size: a rename changes the first


class SnapshotWatch:
    """Keeps `cell.current` true to the snapshot file and the clock (`clock` returns µs UTC), whoever drives it.

    `applied` is called after every swap, whether a new file or a scheduled change brought it.
    """

    def __init__(self, path: Path, cell: Cell, clock: Callable[[], int], applied: Callable[[Current], None]) -> None:
        self._path = path
        self._cell = cell
        self._clock = clock
        self._applied = applied
        self._seen: Signature | None = None
        self._taken = b""  # the digest of the file in force

    def go_on_from(self, parent: SnapshotWatch) -> None:
        """Know what another watch of the same file has read; the cell has to have it."""
        self._seen, self._taken = parent._seen, parent._taken

    def look(self) -> Generator[None, None, None]:
        """Take a changed file, or apply a change that is due, pausing after each record."""
        signature = self._signature()
        self._cell.missing = signature is None
        self._cell.beat_us = None if signature is None else signature[1] // 1000
        if signature is not None and signature != self._seen:
            before, self._seen = self._seen, None  # whoever is cut short, or goes on from here meanwhile, reads it
            if self._is_touch(before, signature) or (yield from self._take()):
                self._seen = signature
        current = self._cell.current
        if current is not None and not is_right_at(current, self._clock()):
            self._put_in_force((yield from rebuild_in_slices(current, self._clock())))

    @property
    def due_us(self) -> int | None:
        """When what is in force has to be built anew (µs UTC); None: never."""
        return None if self._cell.current is None else self._cell.current.plans.next_change_us

    def _is_touch(self, before: Signature | None, after: Signature) -> bool:
        """Whether only the time of the file in force changed: the agent's sign of life."""
        if before is None or (before[0], before[2]) != (after[0], after[2]):
            return False
        try:
            handle, _ = open_regular(self._path, MAX_SNAPSHOT_BYTES)
            try:
                return file_digest(os.read(handle, HEADER.size)) == self._taken
            finally:
                os.close(handle)
        except (OSError, SnapshotError):
            return False

    def _take(self) -> Generator[None, None, bool]:
        """Put the file in force, or refuse it; return False where it has to be looked at again."""
        try:
            # One short read of a file in memory or page cache; its sha256 releases the GIL but is under 1 ms a MB.
            data = read_regular(self._path, MAX_SNAPSHOT_BYTES)
            current = yield from read_in_slices(data, self._cell.current, self._clock)
        except FileNotFoundError:  # replaced in between
            return False
        except OSError as exc:  # descriptors or a disk that fail may come back
            self._unreadable(exc)
            return False
        except SnapshotError as exc:
            self._refuse(str(exc))
        except Exception as exc:  # noqa: BLE001 whatever else a file makes us do wrong, what is in force stays
            self._refuse(f"{type(exc).__name__}: {exc}")
        else:
            self._cell.refusal = ""
            self._taken = file_digest(data)
            self._put_in_force(current)
        return True

    def _signature(self) -> Signature | None:
        """Return the file's signature; None for no file, or for one whose status cannot be read, which is refused."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as exc:  # a link to itself, a directory that is closed to us
            self._unreadable(exc)
            return None
        return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _unreadable(self, exc: OSError) -> None:
        """Refuse an unreadable file once, however often it is looked at again."""
        reason = f"{self._path} {exc.strerror}" if isinstance(exc, FileRefusedError) else str(exc)
        if self._cell.refusal != reason:
            self._refuse(reason)

    def _refuse(self, reason: str) -> None:
        self._cell.refused += 1
        self._cell.refusal = reason
        kept = self._cell.current.revision if self._cell.current else None
        log.error("snapshot_refused", reason=reason, kept=kept)

    def _put_in_force(self, current: Current) -> None:
        """Swap the one reference, and report it."""
        old = self._cell.current
        self._cell.current = current
        self._cell.swaps += 1
        self._report_left_out(current.left_out, old.left_out if old else ())
        if old is None or old.revision != current.revision or old.degraded != current.degraded:
            log.info(
                "snapshot_in_force",
                revision=current.revision,
                experiments=len(current.snapshot.experiments),
                placements=len(current.snapshot.placements),
                left_out=len(current.left_out),
                degraded=current.degraded,
            )
        try:
            self._applied(current)
        except Exception as exc:  # noqa: BLE001 it is in force: a bug in reporting it must not end the following
            log.crash("applied_failed", exc)

    def _report_left_out(self, now: tuple[LeftOut, ...], before: tuple[LeftOut, ...]) -> None:
        new = [one for one in now if one not in before]
        for one in new[:MAX_LOGGED_LEFT_OUT]:
            log.error("record_left_out", kind=one.kind, id=one.id, reason=one.reason, file=one.source)
        if len(new) > MAX_LOGGED_LEFT_OUT:
            log.error("records_left_out", more=len(new) - MAX_LOGGED_LEFT_OUT, see="/v1/status")
