"""The bounds of a listener, and what this process's limit on open descriptors leaves of them."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, Self

from abside.log import Log

log = Log("abside.serve.bounds")
RESERVED_DESCRIPTORS = 256  # files, locks, the upstream, name look-ups, 64 of the admin port, and bursts of accepts
BURST_SHARE = 16  # of the limit, for each listener's connections beyond its bound: with 1,024 it is 64 for each of two


class BoundSettings(Protocol):
    """The settings of a process that listens, under the names that all of them use."""

    @property
    def max_connections(self) -> int:
        """Connections that may be open."""

    @property
    def header_seconds(self) -> float:
        """Longest time until the first request's headers are complete."""

    @property
    def body_seconds(self) -> float:
        """Longest time for a body."""

    @property
    def keepalive_seconds(self) -> float:
        """Longest time between two requests."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one listener; each is a setting of its process."""

    max_connections: int = 1024  # a descriptor and ~50 KB each: 50 MB at worst; also requests at once
    header_seconds: float = 10.0  # a client on the same machine sends its headers at once
    body_seconds: float = 10.0
    keepalive_seconds: float = 75.0  # longer than clients keep idle connections, so that they close, not we
    max_held_bytes: int = 64 * 2**20  # of bodies that are not complete, all together: half of what a pod has to spare
    one_answer: bool = False  # each connection gets one: where strangers may ask, nobody queues up by pipelining

    @classmethod
    def of(cls, settings: BoundSettings) -> Self:
        """Return the bounds that a process's settings name."""
        return cls(
            max_connections=settings.max_connections,
            header_seconds=settings.header_seconds,
            body_seconds=settings.body_seconds,
            keepalive_seconds=settings.keepalive_seconds,
        )


def affordable_connections(wanted: int) -> int:
    """Raise the limit on descriptors; return the connections it allows, and log when they are fewer than `wanted`."""
    limit = raise_descriptor_limit()
    most = connections_within(limit, wanted)
    if most < wanted:
        log.warning("max_connections_lowered", wanted=wanted, to=most, descriptor_limit=limit)
    return most


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit on open descriptors to its hard one, where that is allowed; return the limit.

    Soft limits are low for the sake of select(), which nothing here uses; a missing descriptor fails a disk operation.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it: then the soft limit applies
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def connections_within(limit: int, wanted: int) -> int:
    """Return how many connections may be open, so that a limit on descriptors leaves enough for everything else."""
    return max(1, min(wanted, limit - min(RESERVED_DESCRIPTORS, limit // 2)))


def burst_within(wanted: int) -> int:
    """Return how many connections beyond its bound a listener may have for a moment, by this process's limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // BURST_SHARE))
