"""The shipper's settings and its figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.backoff import FIRST_SECONDS, LONGEST_SECONDS

if TYPE_CHECKING:
    from abside.spool.queue.reader import Contents
    from abside.spool.segment import Segment
    from abside.upstream.contract import Batch

REJECTED_TRIES = 3  # a proxy may answer 404 for a receiver that restarts
REJECTED_SECONDS = 5.0  # between those tries: the three span longer than such a restart
SLOW_SECONDS = 30.0  # 401 and 403, and strangers' answers: only a person or a token's rotation mends it
LOUD_AFTER_SECONDS = 60.0  # without a word of an upstream of ours: longer than a collector takes to restart
REMIND_SECONDS = 60.0  # what lasts is logged so often: a line lost in a day's log helps nobody
MAX_RETRY_AFTER_SECONDS = 300.0  # longer is a mistake, and would fill the spool
DRAIN_LONGEST_SECONDS = 2.0  # a process that is going has no time for the usual longest wait
MAX_HOST_CHARS = 40  # of a batch id's 128; sequence number, boot id and halves need the rest


@dataclass(frozen=True, slots=True)
class ShipperSettings:
    """Who ships (`host` begins every batch id), where to as people see it, and how long it waits between tries."""

    host: str
    address: str = ""
    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    rejected_seconds: float = REJECTED_SECONDS
    rejected_tries: int = REJECTED_TRIES
    slow_seconds: float = SLOW_SECONDS
    loud_after_seconds: float = LOUD_AFTER_SECONDS
    remind_seconds: float = REMIND_SECONDS
    max_retry_after_seconds: float = MAX_RETRY_AFTER_SECONDS
    drain_longest_seconds: float = DRAIN_LONGEST_SECONDS


@dataclass(slots=True)
class ShipperStats:
    """Figures since start. `loud`: why only a person can repair it (empty: no such reason)."""

    acked_batches: int = 0
    acked_events: int = 0
    acked_bytes: int = 0  # before compression
    duplicates: int = 0  # of the acked batches: the upstream already had them
    retries: int = 0
    halved: int = 0
    rejected: int = 0  # answers that refuse a batch or a part of one, tries included
    dead_batches: int = 0
    dead_events: int = 0  # as far as they could be counted
    uncounted_segments: int = 0  # buried or lost with an unknown number of events
    damaged_segments: int = 0
    unreadable: int = 0  # tries to read a segment that failed
    last_error: str = ""
    loud: str = ""
    failing_since_us: int = 0  # 0: the last try was answered
    last_success_us: int = 0
    wait_seconds: float = 0.0  # the wait after the last try; 0 after a success


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to deliver what a segment's cursor points at: its payloads, the batch of them, and what was read.

    `after` is how many failures of the upstream were known when it was sent.
    """

    segment: Segment
    contents: Contents
    payloads: list[bytes]
    batch: Batch
    after: int


def host_in_ids(host: str) -> str:
    """Return the host as batch ids contain it: `[A-Za-z0-9._-]`, a letter or digit first, MAX_HOST_CHARS at most."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip("._-")[:MAX_HOST_CHARS] or "host"
