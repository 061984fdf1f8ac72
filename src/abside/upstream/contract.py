"""What every upstream promises: one batch in, one of four answers out, and never a decision about waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Encoding = Literal["zstd", "gzip", "identity"]
CONNECT_SECONDS = 5.0  # a receiver in the cluster accepts at once; a longer wait only hides that it is away
ANSWER_SECONDS = 30.0  # our collector groups batches for seconds before it stores and answers


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to deliver together. `id` is the idempotency key; `payload` is `count` msgpack maps, one after another.

    `series`, `seq` and `first` are its place in an order, for an upstream that keeps one: batches of a series are sent
    by rising `seq`, and by rising `first`, the index of the first event in all that has this `seq`. Empty: the batch is
    a series of its own. `events` is the payload event by event where the sender has it so; empty: it has not.
    """

    id: str
    count: int
    payload: bytes
    series: str = ""
    seq: int = 0
    first: int = 0
    events: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Acked:
    """The upstream has stored the batch; `duplicate`: it already had it."""

    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after_seconds` is what the upstream asks for; `loud`: only a person can mend it, so try slowly.

    `unheard`: no upstream of ours answered, so it becomes loud where nothing else comes for a while.
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
    """Where batches go. `takes_large`: known to accept batches of several MiB.

    `in_flight`: so many batches may be sent at once, each answered by itself and in any order; 1: one after another.
    `in_order`: a batch behind a later one of its series is taken for a re-send and dropped, so none is sent there.
    """

    takes_large: bool
    in_flight: int
    in_order: bool

    async def send(self, batch: Batch) -> Result:
        """Deliver one batch. Network trouble is an answer (Retry), never an exception."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class UpstreamFigure(NamedTuple):
    """One figure of an upstream's own, in addition to those of shipping: its name, what it counts, and its value.

    `grows`: a counter since start, else what is so now.
    """

    name: str
    words: str
    value: int
    grows: bool


@runtime_checkable
class MeasuredUpstream(Protocol):
    """An upstream that has figures of its own."""

    def figures(self) -> Sequence[UpstreamFigure]:
        """Return the figures as they are now."""
        ...


class UpstreamUrlError(ValueError):
    """A URL that names no upstream: what is wrong with it, and what would be right. Its password is never shown."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        super().__init__(url, problem, remedy)
        self.url = url
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"upstream {self.url}: {self.problem}; {self.remedy}"


class BearerTokenError(Exception):
    """The bearer token cannot be read at the moment; the sentence says why and never contains the token."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one delivery may take: to connect, and from beginning to end."""

    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS


USUAL = Timeouts()


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What an upstream is opened with beside its URL.

    `now_us` is the clock, µs UTC. `token` returns the bearer token, None for none, and is asked before every delivery,
    so that a rotated one is used at once; it raises BearerTokenError. `encoding` None: the upstream's own choice.
    `kafka_config` is a file of librdkafka's properties.
    """

    now_us: Callable[[], int]
    token: Callable[[], str | None]
    encoding: Encoding | None = None
    timeouts: Timeouts = USUAL
    kafka_config: Path | None = None
