"""A partition that the group assigned to this collector: where it begins, what it gathers, and what hinders it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.collector.store.chain import ChainKey, ChainTip, find_tip

if TYPE_CHECKING:
    from concurrent.futures import Future

    from abside.collector.consume.client import TopicAsker
    from abside.collector.consume.gather import Gatherer
    from abside.collector.store.place import StorePlace


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a look found: the offsets the topic has of a partition, and where its chain ends, if that was asked."""

    key: ChainKey
    low: int
    high: int
    tip: ChainTip | None


@dataclass(slots=True)
class HeldPartition:
    """One assigned partition. Without a gatherer it is not known yet where it begins, and nothing of it is read."""

    number: int
    backoff: Backoff = field(default_factory=Backoff)
    key: ChainKey | None = None
    gatherer: Gatherer | None = None
    look: Future[Whereabouts] | None = None
    write: Future[None] | None = None
    not_before: float = 0.0  # monotonic seconds: the next try of what failed
    problem: str | None = None
    begin: int | None = None  # the offset it was told to begin at, until a record came
    gap_tries: int = 0
    is_paused: bool = True
    needs_offset: bool = False  # the topic no longer has the next one
    lag: int | None = None

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.gatherer.size if self.gatherer else 0

    def is_ready(self) -> bool:
        """Whether it is read."""
        return self.gatherer is not None and self.problem is None and not self.needs_offset

    def drop(self) -> None:
        """Forget what was gathered: it is read again, by whoever owns it then. A write on its way is not waited for."""
        for future in (self.look, self.write):
            if future:
                future.cancel()
        self.gatherer = self.look = self.write = self.begin = None
        self.needs_offset = False
        self.gap_tries = 0

    def wait(self, now: float, problem: str) -> None:
        """Try again later, and show why."""
        self.problem = problem
        self.not_before = now + self.backoff.next_seconds()

    def succeed(self) -> None:
        """Note that what was tried worked."""
        self.problem = None
        self.not_before = 0.0
        self.backoff.reset()


def look(
    place: StorePlace,
    about: TopicAsker,
    number: int,
    *,
    tip: bool,
) -> Whereabouts:
    """Find out where a partition begins, ends, and, with `tip`, how far it is stored. Blocks; made for threads.

    The topic is asked for its id each time: one made anew meanwhile is another chain. Raises TopicMissing, ChainBroken,
    PlaceFailed, PlaceRefused and KafkaException.
    """
    key = ChainKey(about.describe().topic_id, number)
    low, high = about.watermarks(number)
    return Whereabouts(key, low, high, find_tip(place, key, high) if tip else None)
