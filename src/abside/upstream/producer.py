"""One producer of librdkafka from its making to its end, and the properties that keep the order of records.

Why these: a reader drops what is at or below the highest record of a series. So nothing may be stored behind a gap: in
each partition, what is stored must at any moment be all that was produced up to some record, and nothing after it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from abside.kafka import KafkaSettingError, LibraryLog, OwnedProperty, library, read_properties

if TYPE_CHECKING:
    from pathlib import Path

    from abside.upstream.record import KafkaRecord

METADATA_SECONDS = 1.0  # one question for the topic: a thread waits for it, and an end of the process waits for that
POLL_EVERY = 64  # records, 0.2 ms, between looks at what was delivered meanwhile: none of them takes long
FULL_SECONDS = 0.005  # how long to wait where the queue is full
CAUSE_SECONDS = 1.0  # after a fatal error the library reports every record in milliseconds
FOLLOWS = frozenset({"_FATAL", "_PURGE_QUEUE", "_PURGE_INFLIGHT", "_GAPLESS_GUARANTEE"})  # another record's error
_ORDER = "records would be stored behind a gap, and what is sent again into it would be dropped"
OWNED: tuple[OwnedProperty, ...] = (
    OwnedProperty(
        ("enable.idempotence",), ("true",), "a retry of the library would store records twice or in disorder"
    ),
    OwnedProperty(("acks", "request.required.acks"), ("all", "-1"), "an acknowledged event must survive its broker"),
    OwnedProperty(("enable.gapless.guarantee",), ("true",), _ORDER),
    # The next request leaves when the one before is stored. With more, a broker may refuse one and store the next.
    OwnedProperty(("max.in.flight.requests.per.connection", "max.in.flight"), ("1",), _ORDER),
    # A record that the library gave up would be such a gap: it never gives up, and we wait no longer than we like.
    OwnedProperty(("message.timeout.ms", "delivery.timeout.ms"), ("0",), _ORDER),
    OwnedProperty(("delivery.report.only.error",), ("true",), "a call for each event would hold up decisions"),
    OwnedProperty(("partitioner",), ("consistent",), "a re-send must come to the partition of the record it repeats"),
    OwnedProperty(("message.send.max.retries", "retries"), (), _ORDER),
    OwnedProperty(("transactional.id",), (), "records are not sent in transactions"),
    OwnedProperty(("log.queue",), (), "the library's lines come into our log"),
)
DEFAULTS = {
    "client.id": "abside",
    "compression.type": "zstd",
    "linger.ms": "5",
    "queue.buffering.max.kbytes": "32768",  # its own default is 1 GiB
    "batch.num.messages": "500",  # so many deliveries are reported in one go: 0.1 ms
    "message.max.bytes": "1000000",  # its own default: Kafka's 1 MiB with room for what a request has beside records
    "batch.size": "1000000",
    "topic.metadata.propagation.max.ms": "10000",  # a topic that is gone shows after so long; its own default: 30 s
}
OTHER_NAMES = {"compression.codec": "compression.type", "queue.buffering.max.ms": "linger.ms"}  # of those above


def properties_of(path: Path | None) -> dict[str, Any]:
    """Return what a producer is made with, without its brokers. Raises KafkaSettingError."""
    given = read_properties(path, OWNED)
    ours = {row.names[0]: row.values[0] for row in OWNED if row.values and row.names[0] != "partitioner"}
    owned = {name for row in OWNED for name in row.names}
    given = {OTHER_NAMES.get(name, name): value for name, value in given.items()}
    free = {name: value for name, value in {**DEFAULTS, **given}.items() if name not in owned}
    return {**free, **ours, "delivery.report.only.error": True}


def check_properties(properties: dict[str, Any]) -> None:
    """Raise KafkaSettingError, with the library's own sentence, where it makes no producer with them.

    One is made without brokers, so that it connects nowhere.
    """
    _end(KafkaProducer("", properties).take())


class KafkaProducer:
    """One producer. After `fault` is set it delivers nothing more: `end` it, and make another.

    `said` is what the library last said about the way to the brokers, None where all is well.
    """

    def __init__(self, brokers: str, properties: dict[str, Any]) -> None:
        """Make it; the library connects in threads of its own. Raises KafkaSettingError with the library's sentence."""
        kafka = library()
        self.fault: Any = None
        self.said: Any = None
        self._problem = kafka.KafkaException
        calls = {"error_cb": self._hear, "on_delivery": self._undelivered}
        try:
            where = {"bootstrap.servers": brokers} if brokers else {}
            self._producer: Any = kafka.Producer({**properties, **where, **calls}, logger=LibraryLog())
        except (kafka.KafkaException, TypeError, ValueError) as exc:
            raise KafkaSettingError(f"Kafka's library refuses its properties: {_sentence(exc)}") from exc
        self.max_record_bytes = int(properties["message.max.bytes"])

    @property
    def undelivered(self) -> int:
        """How many records are not known to be stored."""
        return len(self._producer)

    async def partitions(self, topic: str, deadline: float) -> int:
        """Return how many partitions the topic has; 0 where nobody answers until the loop's time `deadline`.

        `fault` is set where the answer is that there is none for us.
        """
        loop = asyncio.get_running_loop()
        while self.fault is None and (left := deadline - loop.time()) > 0:
            seconds = min(METADATA_SECONDS, left)
            try:
                found = await asyncio.to_thread(self._producer.list_topics, topic, seconds)
            except self._problem as exc:
                self.said = self.said or (None if exc.args[0].name() in {"_TIMED_OUT", "_TRANSPORT"} else exc.args[0])
                self.poll()
                if self.said is not None:
                    return 0
                continue
            answer = found.topics[topic]
            self.fault, self.said = answer.error, None
            return len(answer.partitions)
        return 0

    async def produce(self, topic: str, records: list[KafkaRecord], deadline: float) -> bool:
        """Queue the records in their order; return whether all of them are, and none is refused.

        What is left out where one is not is never produced by this producer: the caller ends it.
        """
        loop, produce = asyncio.get_running_loop(), self._producer.produce
        number = 0
        while number < len(records):
            if self.fault is not None:
                return False
            try:
                for record in records[number : number + POLL_EVERY]:
                    produce(topic, record.value, record.key, partition=record.partition, headers=record.headers)
                    number += 1
            except BufferError:  # the queue is full: what is sent makes room
                if loop.time() >= deadline:
                    return False
                await asyncio.sleep(FULL_SECONDS)
            except self._problem as exc:
                self.fault = exc.args[0]
                return False
            self.poll()
            await asyncio.sleep(0)
        return True

    def poll(self) -> None:
        """Take in what was delivered and what went wrong."""
        try:
            self._producer.poll(0)
        except self._problem as exc:
            self._hear(exc.args[0])

    async def cause(self) -> Any:
        """Return the fault: of a fatal one, the error of the record that led to it, where it comes soon."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CAUSE_SECONDS
        while self.fault is not None and _follows(self.fault) and self.undelivered and loop.time() < until:
            self.poll()
            await asyncio.sleep(FULL_SECONDS)
        return self.fault

    async def end(self) -> None:
        """Throw away what is not sent, and end the library's threads."""
        await asyncio.to_thread(_end, self.take())

    def take(self) -> Any:
        """Return the library's producer, which is none of ours any more."""
        producer, self._producer = self._producer, ()
        return producer

    def _hear(self, error: Any) -> None:
        """Take an error that is about no record; a fatal one is followed by those of the records."""
        if error.fatal():
            self.fault = self.fault or error
        elif self.said is None or error.name() != "_ALL_BROKERS_DOWN":  # it follows on a reason, which says more
            self.said = error

    def _undelivered(self, error: Any, _: Any) -> None:
        """Take the error of a record; the first one is the cause of those that follow."""
        if error is not None and (self.fault is None or _follows(self.fault)):
            self.fault = error


def _follows(error: Any) -> bool:
    """Return whether an error is only a consequence of another record's."""
    return bool(error.fatal()) or error.name() in FOLLOWS


def _end(producer: Any) -> None:
    """Throw away what is queued or on its way: the answer does not matter any more."""
    producer.purge()
    with suppress(library().KafkaException):  # fatal, as it must be for an idempotent producer that is purged
        producer.close()


def _sentence(problem: Exception) -> str:
    """Return what the library says of a property."""
    error = problem.args[0] if problem.args else problem
    return str(error.str() if hasattr(error, "str") else error)
