"""A topic of a real broker as the far end of a sender, and a reader that keeps the promise of docs/events.md."""

from __future__ import annotations

import itertools
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

if TYPE_CHECKING:
    from kafka_broker import KafkaBroker

READ_SECONDS = 20.0
HEADERS = ("abside-spool", "abside-seq", "abside-index")
_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record as it lies in the topic."""

    partition: int
    key: bytes | None
    value: bytes
    spool: str
    seq: int
    index: int

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.value) if self.value.startswith(b"{") else msgpack.unpackb(self.value)
        return found


@dataclass
class KafkaTopic:
    """A topic of its own, and its broker on command."""

    broker: KafkaBroker
    partitions: int = 3
    name: str = field(default_factory=lambda: f"events-{next(_NUMBERS)}")
    frozen: bool = False

    def __post_init__(self) -> None:
        self.broker.create_topic(self.name, self.partitions)

    @property
    def url(self) -> str:
        return f"kafka://{self.broker.bootstrap}/{self.name}"

    @property
    def nobody(self) -> str:
        """A URL where nothing listens."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return f"kafka://127.0.0.1:{taken.getsockname()[1]}/{self.name}"

    @property
    def stored(self) -> dict[str, list[Any]]:
        """Events by batch, as a reader stores them."""
        found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for record in once(self.read()):
            found[record.spool.rpartition("-")[0]].append((record.index, record.event))
        return {
            spool: [event for _, event in sorted(events, key=lambda one: one[0])] for spool, events in found.items()
        }

    def read(self) -> list[StoredRecord]:
        """Read all that is in the topic now, each partition in its order."""
        config: dict[str, Any] = {"bootstrap.servers": self.broker.bootstrap, "group.id": "nobody", "log_level": 0}
        consumer = Consumer({**config, "fetch.wait.max.ms": 10})
        found: list[StoredRecord] = []
        try:
            places = [TopicPartition(self.name, number) for number in range(self.partitions)]
            ends = [_ends(consumer, place) for place in places]
            consumer.assign(
                [TopicPartition(self.name, place.partition, low) for place, (low, _) in zip(places, ends, strict=True)]
            )
            total = sum(high - low for low, high in ends)
            while len(found) < total:
                messages = consumer.consume(min(1000, total - len(found)), timeout=READ_SECONDS)
                assert messages, f"{self.name}: {len(found)} of {total} records"
                found += map(_stored, messages)
        finally:
            consumer.close()
        return sorted(found, key=lambda record: record.partition)  # stable: the order of each stays

    def be_busy(self) -> None:
        """Answer nothing until `recover`."""
        self.broker.freeze()
        self.frozen = True

    keep_silent = break_off = be_busy

    def recover(self) -> None:
        if self.frozen:
            self.broker.thaw()
            self.frozen = False

    def forbid(self) -> None:
        """Be without the topic."""
        self.broker.delete_topic(self.name)

    def find_too_large(self) -> None:
        """Take no request of a useful size."""
        self.configure(max_message_bytes="20")

    def configure(self, **config: str) -> None:
        """Change settings of the topic; an underscore stands for a dot."""
        self.broker.configure_topic(self.name, **config)


def _ends(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return the first and the next offset; a partition has its leader a little later than its name."""
    begun = time.monotonic()
    while True:
        try:
            low, high = consumer.get_watermark_offsets(place, timeout=READ_SECONDS)
        except KafkaException:
            if time.monotonic() - begun > READ_SECONDS:
                raise
            time.sleep(0.02)
        else:
            return low, high


def _stored(message: Message) -> StoredRecord:
    assert message.error() is None, message.error()
    headers: list[Any] = list(message.headers() or [])
    assert tuple(name for name, _ in headers) == HEADERS
    spool, seq, index = (value.decode() for _, value in headers)
    return StoredRecord(message.partition() or 0, message.key(), message.value() or b"", spool, int(seq), int(index))


def once(records: list[StoredRecord]) -> list[StoredRecord]:
    """Return what a reader stores: of each series in each partition what is above its highest record so far."""
    highest: dict[tuple[int, str], tuple[int, int]] = {}
    kept = []
    for record in records:
        place, at = (record.partition, record.spool), (record.seq, record.index)
        if at > highest.get(place, (-1, -1)):
            highest[place] = at
            kept.append(record)
    return kept
