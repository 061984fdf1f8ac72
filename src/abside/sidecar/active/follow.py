"""Follows the snapshot file: reads a new one in slices, swaps it in whole, and applies scheduled changes on time.

A file that cannot be used changes a counter, a log line and a status, nothing else: the last good stays in force.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from abside.assignment.plan import NO_PLANS, build_in_slices
from abside.files import FileRefusedError, open_regular, read_regular
from abside.log import Log
from abside.sidecar.active.current import Current, caches, logged_attributes, unknown_attributes
from abside.sidecar.active.slices import in_slices
from abside.snapshot import (
    HEADER,
    MAX_SNAPSHOT_BYTES,
    SnapshotError,
    decode_in_slices,
    file_digest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from abside.assignment.plan import Plans
    from abside.sidecar.active.current import Cell
    from abside.snapshot import LeftOut, Snapshot

log = Log("abside.follow")
MAX_LOGGED_LEFT_OUT = 20  # lines of one file; the status has all
SHORTEST_WAIT_SECONDS = 0.001  # the loop's clock and the wall's do not tick together: no spinning before a change
Signature = tuple[int, int, int]  # inode, mtime in ns, size: a rename changes the first


class Follower:
    """Keeps `cell.current` true to the snapshot file and the clock (`clock` returns µs UTC).

    `applied` is called after every swap, whether a new file or a scheduled change brought it.
    """

    def __init__(
        self, path: Path, cell: Cell, clock: Callable[[], int], poll_seconds: float, applied: Callable[[Current], None]
    ) -> None:
        self._path = path
        self._cell = cell
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._applied = applied
        self._seen: Signature | None = None
        self._taken = b""  # the digest of the file in force

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._wait_seconds())

    async def look(self) -> None:
        """Look once: take a changed file, or apply a change that is due."""
        signature = self._signature()
        self._cell.missing = signature is None
        self._cell.beat_us = None if signature is None else signature[1] // 1000
        if signature is not None and signature != self._seen:
            before, self._seen = self._seen, signature
            if not self._is_touch(before, signature):
                await self._take()
        current = self._cell.current
        if current is not None and not _is_right_at(current, self._clock()):
            self._put_in_force(await self._build(current.snapshot, current.plans.digests, current.left_out))

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

    def _wait_seconds(self) -> float:
        current = self._cell.current
        if current is None or current.plans.next_change_us is None:
            return self._poll_seconds
        due_seconds = (current.plans.next_change_us - self._clock()) / 1e6
        return max(SHORTEST_WAIT_SECONDS, min(self._poll_seconds, due_seconds))

    async def _take(self) -> None:
        try:
            # One short read of a file in memory or page cache; its sha256 releases the GIL but is under 1 ms a MB.
            data = read_regular(self._path, MAX_SNAPSHOT_BYTES)
            snapshot, digests, unread = await in_slices(decode_in_slices(data))
            left_out = [*unknown_attributes(snapshot.head), *unread]
            current = await self._build(snapshot, digests, left_out)
        except FileNotFoundError:
            self._seen = None  # replaced in between: look again
        except OSError as exc:  # descriptors or a disk that fail may come back: look again
            self._seen = None
            self._unreadable(exc)
        except SnapshotError as exc:
            self._refuse(str(exc))
        except Exception as exc:  # noqa: BLE001 whatever else a file makes us do wrong, what is in force stays
            self._refuse(f"{type(exc).__name__}: {exc}")
        else:
            self._cell.refusal = ""
            self._taken = file_digest(data)
            self._put_in_force(current)

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

    async def _build(self, snapshot: Snapshot, digests: Mapping[str, str], unread: Sequence[LeftOut]) -> Current:
        """Build what can be built. A record that cannot is left out; the others, and every pause, take effect."""
        old = self._cell.current
        now_us = self._clock()
        left_out = list(unread)
        reuse = old.plans if old else NO_PLANS
        building = build_in_slices(snapshot, now_us, reuse=reuse, digests=digests, left_out=left_out)
        plans: Plans = await in_slices(building)
        usable = replace(snapshot, experiments={name: one.experiment for name, one in plans.evaluators.items()})
        answers = caches(snapshot.head.revision, plans)
        return Current(usable, plans, now_us, logged_attributes(snapshot), answers, tuple(left_out))

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


def _is_right_at(current: Current, now_us: int) -> bool:
    """Whether the plans are still right at this instant; a clock that stepped back makes them wrong too."""
    due = current.plans.next_change_us
    if due is not None and now_us >= due:
        return False
    return now_us >= current.applied_us or all(one.is_valid_at(now_us) for one in current.plans.evaluators.values())
