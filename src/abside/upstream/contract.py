"""What every upstream promises: one batch in, one of four answers out, and never a decision about waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to deliver together. `id` is the idempotency key; `payload` is `count` msgpack maps, one after another."""

    id: str
    count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Acked:
    """The upstream has stored the batch; `duplicate`: it already had it."""

    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after_seconds` is the upstream's own wish; `loud`: only a person can mend it, so try slowly.

    `unheard`: no word of an upstream of ours, so it becomes loud where nothing else comes for a while.
    """

    reason: str
    after_seconds: float | None = None
    loud: bool = False
    unheard: bool = False


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The upstream takes no batch of this size: send it in halves."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The upstream refuses this batch; `final`: no further try can change that.

    `some_of_it`: one event of it is the reason, and the others could go; `index` is that event where it is known, of
    the batch's events from 0.
    """

    reason: str
    final: bool = False
    some_of_it: bool = False
    index: int | None = None


Result = Acked | Retry | TooLarge | Rejected


class Upstream(Protocol):
    """Where batches go. One caller at a time. `takes_large`: known to take batches of several MiB."""

    takes_large: bool

    async def send(self, batch: Batch) -> Result:
        """Deliver one batch. Network trouble is an answer (Retry), never an exception."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
