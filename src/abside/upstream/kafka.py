"""The Kafka upstream: one record an event, acknowledged when every record of a batch is stored.

Batches go one after another, and a batch is finished before the next begins: docs/events.md has the rule of the order.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.kafka import KafkaSettingError, parse_address
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge, UpstreamFigure, UpstreamUrlError
from abside.upstream.kafka_verdict import kafka_verdict
from abside.upstream.producer import KafkaProducer, check_properties, properties_of
from abside.upstream.record import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.kafka import KafkaAddress
    from abside.upstream.contract import Batch, OpenOptions, Result
    from abside.upstream.record import RecordFormat

FORMATS: tuple[RecordFormat, ...] = ("msgpack", "json")
SHORTEST_POLL_SECONDS = 0.001  # a broker beside us has stored a batch after some of them
LONGEST_POLL_SECONDS = 0.05  # while none answers
PARTITIONS_SECONDS = 300.0  # how long the number of partitions is believed: somebody may add some
PARTLY = "\0"  # the id of no batch: one was begun and not all of it was produced
SMALLEST_BATCH_BYTES = 16 * 1024  # below it the shipper's halves decide alone


@dataclass(slots=True)
class KafkaUpstreamStats:
    """Figures since start."""

    producers: int = 0  # made so far: more than one means that the library had to begin anew
    partitions: int = 0  # of the topic; 0 before it answered
    produced: int = 0  # records given to the library, re-sends among them
    failures: int = 0  # batches of which the library or a broker did not store a record


def open_kafka(url: str, options: OpenOptions) -> KafkaUpstream:
    """Return the upstream of a `kafka://` URL; nothing is connected before the first batch.

    The library checks the properties of `options.kafka_config` here. Raises UpstreamUrlError, KafkaSettingError.
    """
    address = _address(url)
    form = address.query.get("format", "msgpack")
    strange = sorted(address.query.keys() - {"format"})
    if strange:
        remedy = "the file of --kafka-config takes librdkafka's properties"
        raise UpstreamUrlError(str(address), f"the parameter {strange[0]} is not known", remedy)
    known = next((one for one in FORMATS if one == form), None)
    if known is None:
        raise UpstreamUrlError(str(address), f"the format {form} is not known", f"write {' or '.join(FORMATS)}")
    return KafkaUpstream(address, known, options)


def _address(url: str) -> KafkaAddress:
    try:
        return parse_address(url)
    except KafkaSettingError as exc:
        problem, _, remedy = str(exc).partition("; ")
        shown, _, problem = problem.partition(" ")
        raise UpstreamUrlError(shown, problem, remedy) from exc


class KafkaUpstream:
    """Produces batches to one topic, one after another.

    A batch whose time is over stays with the library, which never gives up: sent again, it is only waited for. Before
    another batch is begun it is thrown away, with its producer.
    """

    takes_large = True
    in_flight = 1
    in_order = True

    def __init__(self, address: KafkaAddress, form: RecordFormat, options: OpenOptions) -> None:
        """Check the properties; raises KafkaSettingError."""
        self.stats = KafkaUpstreamStats()
        self._address = address
        self._form: RecordFormat = form
        self._config = options.kafka_config
        self._seconds = options.timeouts.answer_seconds
        self._producer: KafkaProducer | None = None
        self._looked = 0.0  # the loop's time at which the partitions were counted
        self._begun = ""  # the batch that is with the library, all of it
        properties = properties_of(self._config)
        check_properties(properties)
        self._batch_bytes = int(properties["batch.size"])  # less after a broker's refusal

    async def send(self, batch: Batch) -> Result:
        """Deliver one batch; all of its records are stored when it is acknowledged."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        if self._begun not in {"", batch.id}:
            await self._end()
        try:
            producer = self._producer = self._producer or self._make()
        except KafkaSettingError as exc:  # the file has changed since the start
            return Retry(str(exc), loud=True)
        if not self._begun:
            if not await self._has_partitions(producer, deadline):
                return await self._trouble(producer)
            found = await records(batch, self.stats.partitions, self._form, producer.max_record_bytes)
            if isinstance(found, Rejected):
                return found
            self._begun = PARTLY
            if not await producer.produce(self._address.topic, found, deadline):
                return await self._trouble(producer, give_up=True)
            self._begun = batch.id
            self.stats.produced += len(found)
        if not await self._is_stored(producer, deadline):
            return await self._trouble(producer)
        self._begun, producer.said = "", None
        return Acked()

    async def close(self) -> None:
        """End the producer: what it has not stored stays in the spool."""
        await self._end()

    def figures(self) -> Sequence[UpstreamFigure]:
        """Return how the library is doing."""
        stats, queued = self.stats, self._producer.undelivered if self._producer else 0
        return (
            UpstreamFigure("kafka_queue", "Records with the library, not known to be stored.", queued, grows=False),
            UpstreamFigure("kafka_partitions", "Of the topic; 0: it has not answered.", stats.partitions, grows=False),
            UpstreamFigure("kafka_records", "Records given to the library, re-sends too.", stats.produced, grows=True),
            UpstreamFigure("kafka_delivery_failures", "Batches not stored for an error.", stats.failures, grows=True),
            UpstreamFigure("kafka_producers", "Producers made: one after each error.", stats.producers, grows=True),
        )

    async def _has_partitions(self, producer: KafkaProducer, deadline: float) -> bool:
        """Return whether the topic is there. Partitions are counted only where no record is on its way."""
        now = asyncio.get_running_loop().time()
        if not self.stats.partitions or now - self._looked > PARTITIONS_SECONDS:
            self.stats.partitions = await producer.partitions(self._address.topic, deadline)
            self._looked = now
        return self.stats.partitions > 0

    async def _is_stored(self, producer: KafkaProducer, deadline: float) -> bool:
        loop, nap = asyncio.get_running_loop(), SHORTEST_POLL_SECONDS
        while True:
            producer.poll()
            if not producer.undelivered or producer.fault is not None:
                return producer.fault is None
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(nap)
            nap = min(LONGEST_POLL_SECONDS, nap * 1.1)

    async def _trouble(self, producer: KafkaProducer, *, give_up: bool = False) -> Result:
        """Return why a batch is not stored. After a fault, the producer is ended: what it had cannot be continued."""
        fault, said = await producer.cause(), producer.said
        if fault is not None or give_up:
            await self._end()
        if fault is not None:
            self.stats.failures += 1
            result = kafka_verdict(fault)
            if isinstance(result, TooLarge):
                self._batch_bytes = max(SMALLEST_BATCH_BYTES, self._batch_bytes // 4)
            return result
        late = f"no answer within {self._seconds:g} s"
        if said is None:
            return Retry(late, unheard=True)
        return kafka_verdict(said)

    def _make(self) -> KafkaProducer:
        """Make a producer; the file of properties is read each time. Raises KafkaSettingError."""
        properties = properties_of(self._config)
        self._batch_bytes = min(self._batch_bytes, int(properties["batch.size"]))
        made = KafkaProducer(self._address.brokers, {**properties, "batch.size": str(self._batch_bytes)})
        self.stats.producers += 1
        return made

    async def _end(self) -> None:
        producer, self._producer, self._begun = self._producer, None, ""
        self.stats.partitions = 0
        if producer is not None:
            await producer.end()
