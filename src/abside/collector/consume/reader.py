"""What is asked of the consumer beside its records: where to read a partition, and how far it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from abside.kafka import library

if TYPE_CHECKING:
    from abside.collector.consume.partition import HeldPartition


class TopicReader:
    """A consumer of one topic. `is_full`: there is no memory for more records, so what begins begins paused."""

    def __init__(self, consumer: Any, topic: str) -> None:
        self.consumer = consumer
        self.topic = topic
        self.is_full = False
        self._kafka = library()

    def begin_at(self, held: HeldPartition, offset: int) -> None:
        """Read from an offset on. Not by seek(), which a partition refuses after an offset that was out of range."""
        where = self._kafka.TopicPartition(self.topic, held.number, offset)
        self.consumer.incremental_unassign([where])
        self.consumer.incremental_assign([where])
        held.begin = offset
        (self.pause if self.is_full else self.resume)(held)

    def pause(self, held: HeldPartition) -> None:
        """Fetch nothing of a partition."""
        self.consumer.pause([self._kafka.TopicPartition(self.topic, held.number)])
        held.is_paused = True

    def resume(self, held: HeldPartition) -> None:
        """Fetch again."""
        self.consumer.resume([self._kafka.TopicPartition(self.topic, held.number)])
        held.is_paused = False

    def lag(self, held: HeldPartition) -> int | None:
        """Return how many offsets a partition is behind, as the last fetch saw it; None before the first."""
        if held.gatherer is None:
            return None
        where = self._kafka.TopicPartition(self.topic, held.number)
        known = self.consumer.get_watermark_offsets(where, cached=True)
        return max(0, known[1] - held.gatherer.end) if known and known[1] >= 0 else None
