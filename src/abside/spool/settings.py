"""The spool's settings and counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from abside.spool.errors import PayloadSizeError, SpoolFull

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.errors import SpoolRefused

Fsync = Literal["never", "interval", "always"]

LIMIT_BYTES = 256 * 2**20  # hours of a busy pod's events; the emptyDir's sizeLimit is 1.25 times this
FLOOR_BYTES = 64 * 2**20  # left free on the node's disk, for its other tenants' logs
SEAL_BYTES = 512 * 2**10  # one batch: compressed and sent within one timeout, and below a proxy's usual 1 MB as JSON
SEAL_EVENTS = 4_000  # a batch of small events is bounded by the receiver's work, not by its bytes
# While segments wait for a receiver that takes large batches, the open one may grow so many times larger: our collector
# acknowledges once a second, and then takes 2 MiB in it, some 5,000 exposures. More would fill its memory and ours.
SEAL_GROWTH = 4
QUIET_EVENTS = 100  # a receiver's work for one batch is that of a hundred events: fewer are worth waiting for
QUIET_BYTES = 64 * 2**10  # and a batch of so many bytes is no small one, however few its events
SEAL_SECONDS = 5.0  # what a pod's death can take with it, and how old the newest event upstream is
FSYNC_SECONDS = 1.0
MAX_WAITING_FOR_AGE_SEAL = 8  # with the upstream away, small aged batches would only make its return slower
MAX_OPEN_BYTES = 16 * 2**20  # one that grows past this cannot be sealed: refuse rather than make an unsendable batch
DEAD_LIMIT_BYTES = 32 * 2**20  # beside a full quota it still fits into the emptyDir
DEAD_AGE_SECONDS = 7 * 86_400.0  # a week to look at what was refused


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """Where the spool is and how much it may contain.

    `open_directory` is where the open segment is, for example in memory; None: beside the sealed ones. `fsync`
    decides about the loss of power only: a killed process loses nothing under any of them.
    """

    directory: Path
    open_directory: Path | None = None
    limit_bytes: int = LIMIT_BYTES
    floor_bytes: int = FLOOR_BYTES
    seal_bytes: int = SEAL_BYTES
    seal_events: int = SEAL_EVENTS
    seal_growth: int = SEAL_GROWTH
    seal_seconds: float = SEAL_SECONDS
    quiet_seconds: float = 0.0  # in place of `seal_seconds` while the open segment is quiet, where it is longer
    fsync: Fsync = "interval"
    fsync_seconds: float = FSYNC_SECONDS
    max_waiting_for_age_seal: int = MAX_WAITING_FOR_AGE_SEAL
    max_open_bytes: int = MAX_OPEN_BYTES
    dead_limit_bytes: int = DEAD_LIMIT_BYTES
    dead_age_seconds: float = DEAD_AGE_SECONDS


@dataclass(slots=True)
class SpoolStats:
    """What happened since this process opened the spool; events are payloads, the accounts among them."""

    appended_events: int = 0
    appended_bytes: int = 0
    full_events: int = 0  # refused for want of room
    failed_events: int = 0  # refused because the disk failed
    oversize_events: int = 0  # refused together with a payload that no frame can carry
    failures: int = 0  # disk operations that failed, whatever came of it
    last_failure: str = ""
    sealed_segments: int = 0
    recovered_segments: int = 0
    recovered_events: int = 0
    cut_bytes: int = 0  # cut off unfinished segments at start
    stranger_files: int = 0  # found at start, named like segments: no files of ours, left alone
    acknowledged_segments: int = 0
    buried_segments: int = 0  # files moved or written to dead/
    buried_events: int = 0  # in them, as far as they could be counted
    uncounted_segments: int = 0  # of those files: how many events went with them is not known
    failed_seals: int = 0  # tries to seal that failed, and are made again
    rescued_segments: int = 0  # their file had lost its name: copied from the descriptor
    lost_events: int = 0  # of files that somebody removed, as far as they could be counted
    lost_segments: int = 0  # those files
    returned_segments: int = 0  # brought back from dead/ into the queue
    local_segments: int = 0  # taken from processes that write beside the sidecar
    adopted_folders: int = 0  # of such processes, after their end
    pruned_files: int = 0  # removed from dead/ for its quota or its age

    def refused(self, why: SpoolRefused, events: int) -> None:
        """Count events that found no way into the spool."""
        if isinstance(why, SpoolFull):
            self.full_events += events
        elif isinstance(why, PayloadSizeError):
            self.oversize_events += events
        else:
            self.failed_events += events

    def lost(self, events: int | None) -> None:
        """Count a file that somebody removed, with the events that went with it (None: not known)."""
        self.lost_segments += 1
        self.lost_events += events or 0

    def failed(self, error: object) -> None:
        """Count a disk operation that failed, and remember its sentence."""
        self.failures += 1
        self.last_failure = str(error)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The sealed segments: how many, their bytes, and when the oldest was last written to (µs UTC, None: none)."""

    segments: int
    bytes: int
    oldest_us: int | None
