"""The client of Kafka that a collector reads with: its properties, and the topic as the brokers describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abside.kafka import KafkaSettingError, LibraryLog, OwnedProperty, library, read_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from abside.kafka import KafkaAddress

ANSWER_SECONDS = 10.0  # of a question, unless the file of properties has a shorter `socket.timeout.ms`
# What the store's promise stands on. All else is free, and what a file sets wins over the defaults below.
OWNED = (
    OwnedProperty(("group.id",), (), "the group is --group"),
    OwnedProperty(("enable.auto.commit",), ("false",), "the store, not the group, remembers how far it got"),
    OwnedProperty(("enable.auto.offset.store",), ("false",), "nothing is committed"),
    OwnedProperty(("auto.offset.reset",), ("error",), "an offset that is gone is a loss, which is counted"),
    OwnedProperty(("partition.assignment.strategy",), ("cooperative-sticky",), "the others must go on meanwhile"),
    OwnedProperty(("group.protocol",), ("classic",), "it has no cooperative-sticky"),
    OwnedProperty(("isolation.level",), ("read_committed",), "an aborted transaction is no event"),
    OwnedProperty(("allow.auto.create.topics",), ("false",), "a mistyped topic must not be made"),
    OwnedProperty(("enable.partition.eof",), ("false",), "nothing waits for it"),
)
DEFAULTS = {
    "queued.max.messages.kbytes": "16384",  # fetched and not yet taken: its own default is 64 MiB
    "fetch.message.max.bytes": "1048576",
    "fetch.max.bytes": "16777216",  # of one answer: its own default is 50 MiB
    "fetch.error.backoff.ms": "500",
    "topic.metadata.refresh.interval.ms": "60000",  # within it, a partition that was added is found
    "client.id": "abside-collector",
}

SHARED = (
    *("bootstrap.", "client.", "security.", "sasl.", "ssl.", "socket.", "broker.", "metadata.", "reconnect."),
    *("enable.ssl", "enable.sasl", "https.", "retry.", "api.version"),
)


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """A topic as it is now. The id changes when it is deleted and made anew under its name."""

    topic_id: str
    partitions: int


class TopicMissing(Exception):  # noqa: N818 read as a sentence where it is caught
    """The brokers answer, and have no such topic."""


def properties(address: KafkaAddress, group: str, config: Path | None) -> dict[str, str]:
    """Return the properties of the consumer. Raises KafkaSettingError."""
    owned = {row.names[0]: row.values[0] for row in OWNED if row.values}
    return {
        **DEFAULTS,
        **read_properties(config, OWNED),
        **owned,
        "bootstrap.servers": address.brokers,
        "group.id": group,
    }


def answer_seconds_of(config: Mapping[str, str]) -> float:
    """Return how long a question may take, by the properties of the consumer, which the library has checked."""
    return min(ANSWER_SECONDS, int(config.get("socket.timeout.ms", ANSWER_SECONDS * 1000)) / 1000)


def open_clients(config: Mapping[str, str], on_error: Callable[[Any], None]) -> tuple[Any, Any]:
    """Return a consumer and a client that asks about topics; both connect in threads of their own.

    `on_error` is called with errors of the connections. Raises KafkaSettingError, also for a property that the library
    refuses.
    """
    kafka = library()
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 an extra

    shared: dict[str, Any] = {name: value for name, value in config.items() if _is_shared(name)}
    try:
        consumer = kafka.Consumer({**config, "error_cb": on_error}, logger=LibraryLog())
        return consumer, AdminClient(shared, logger=LibraryLog())
    except kafka.KafkaException as exc:
        raise KafkaSettingError(f"the library refuses a property: {exc.args[0].str()}") from exc


class TopicAsker:
    """Asks the brokers about one topic. Every method blocks, for seconds at most; any thread may ask."""

    def __init__(self, admin: Any, topic: str, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.topic = topic
        self._answer_seconds = answer_seconds
        self._admin = admin
        self._kafka = library()
        self._spec: Any = self._kafka.admin.OffsetSpec

    def describe(self) -> TopicDescription:
        """Return the topic as it is now. Raises TopicMissing, and KafkaException where no answer comes."""
        asked = self._admin.describe_topics(
            self._kafka.TopicCollection([self.topic]), request_timeout=self._answer_seconds
        )
        try:
            found = asked[self.topic].result()
        except self._kafka.KafkaException as exc:
            if exc.args[0].code() == self._kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicMissing(self.topic) from exc
            raise
        return TopicDescription(topic_id_of(str(found.topic_id)), len(found.partitions))

    def watermarks(self, number: int) -> tuple[int, int]:
        """Return a partition's first offset and the one after its last. Raises KafkaException.

        Not by the consumer, whose own call waits without end while the partition is paused.
        """
        where = self._kafka.TopicPartition(self.topic, number)
        asked = [
            self._admin.list_offsets({where: spec}, request_timeout=self._answer_seconds)[where]
            for spec in (self._spec.earliest(), self._spec.latest())
        ]
        first, last = (one.result().offset for one in asked)
        return first, last


def topic_id_of(written: str) -> str:
    """Return a topic's id as Kafka's own tools write it: the library writes `/` and `+`, and it names a folder."""
    return written.replace("/", "_").replace("+", "-")


def _is_shared(name: str) -> bool:
    """Whether a property is also one of a client that reads nothing: the library warns of the others."""
    return name.startswith(SHARED)
