"""Collectors as processes over a real broker, a sender that writes as a sidecar does, and what a reader finds."""

from __future__ import annotations

import itertools
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from abside import event
from abside.collector.consume.client import TopicAsker
from abside.collector.consume.storing import store
from abside.collector.store.chain import ChainKey, ChainTip
from abside.collector.store.place import open_place
from kafka_records import gathered, message, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kafka_broker import KafkaBroker

DEADLINE_SECONDS = 90.0
SHORT_SESSION = "session.timeout.ms=1500\nheartbeat.interval.ms=300\n"


def until(said: Callable[[], Any], what: str) -> Any:
    """Wait until `said()` is true and return it."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (answer := said()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return answer


@dataclass
class KafkaSender:
    """One spool that sends to one partition each time, in its order."""

    bootstrap: str
    topic: str
    spool: str = "rec-1.aa"
    producer: Producer = field(init=False)
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "log_level": 0})
        self._sequences = itertools.count(1)

    def segment(self, count: int, partition: int = 0, *, as_json: bool = False) -> int:
        """Send a segment of new events; return its sequence number."""
        sequence = next(self._sequences)
        self.again(sequence, count, partition, as_json=as_json)
        self.sent += [f"{self.spool}-{sequence}-{index}" for index in range(count)]
        return sequence

    def again(self, sequence: int, count: int, partition: int = 0, *, as_json: bool = False) -> None:
        """Send a segment once more, from its beginning."""
        encode: Callable[[Any], bytes] = orjson.dumps if as_json else event.encode
        for index in range(count):
            value = encode(view(f"{self.spool}-{sequence}-{index}"))
            self.producer.produce(self.topic, value, partition=partition, headers=self._headers(sequence, index))
        assert self.producer.flush(60) == 0

    def broken(self, value: bytes) -> None:
        """Send a segment of one record that is no event."""
        self.producer.produce(self.topic, value, partition=0, headers=self._headers(next(self._sequences), 0))

    def foreign(self, value: bytes | None, partition: int = 0) -> None:
        self.producer.produce(self.topic, value, partition=partition)
        assert self.producer.flush(60) == 0

    def _headers(self, sequence: int, index: int) -> list[tuple[str, str | bytes | None]]:
        numbers = {"abside-seq": sequence, "abside-index": index}
        return [("abside-spool", self.spool), *((name, str(number)) for name, number in numbers.items())]


@dataclass
class KafkaCollector:
    """`abside collector --kafka` as a process."""

    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    address: str = ""

    def launch(self, *options: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.command, *options], stderr=log)

    def start(self, *options: str) -> None:
        before = len(self.read())
        self.launch(*options)
        found = until(lambda: re.search(r"listening address=(\S+)", self.read()[before:]), self.read())
        self.address = found[1]

    def read(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def ask(self, path: str) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
                return answer.status, orjson.loads(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, orjson.loads(refused.read())

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as answer:
            found: str = answer.read().decode()
        return found

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("/v1/status")[1]
        return status

    def until(self, **figures: int) -> dict[str, Any]:
        """Wait until each of these figures of its status has come so far."""
        return until(  # type: ignore[no-any-return]
            lambda: (found := self.status()) and all(found[name] >= least for name, least in figures.items()) and found,
            f"{figures}: {self.read()[-3000:]}",
        )

    def until_said(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.read()), f"{pattern}: {self.read()[-3000:]}")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_SECONDS)


@dataclass
class KafkaStage:
    """One topic, one store, and the collectors between them."""

    broker: KafkaBroker
    topic: str
    store: str
    folder: Path
    ends: ExitStack

    def collector(
        self,
        *options: str,
        group: str = "g",
        store: str | None = None,
        properties: str = "",
        bootstrap: str | None = None,
    ) -> KafkaCollector:
        """Make a collector that is not started. Its session is short, so that a dead one is missed soon."""
        config = self.folder / "kafka.properties"
        config.write_text(SHORT_SESSION + properties)
        words = [
            "--kafka",
            f"kafka://{bootstrap or self.broker.bootstrap}/{self.topic}",
            "--group",
            f"{self.topic}-{group}",
        ]
        words += ["--store", store or self.store, "--listen", "127.0.0.1:0", "--kafka-config", str(config)]
        made = KafkaCollector(
            [sys.executable, "-m", "abside", "collector", *words, *options], self.folder / secrets.token_hex(4)
        )
        self.ends.callback(made.close)
        return made

    def sender(self, spool: str = "rec-1.aa") -> KafkaSender:
        return KafkaSender(self.broker.bootstrap, self.topic, spool)

    def stored_before(self, sequence: int, count: int) -> None:
        """Store the first segment of partition 0 as a collector that has ended did."""
        topic_id = TopicAsker(self.broker.admin, self.topic).describe().topic_id
        sealed = gathered(ChainTip(), *[message(at, "rec-1.aa", sequence, at) for at in range(count)]).cut()
        assert sealed is not None
        store(open_place(self.store), ChainKey(topic_id, 0), sealed, self.topic)

    def rows(self) -> list[dict[str, Any]]:
        """Read the whole store as an analyst does."""
        place = open_place(self.store)
        names = [name for name in place.names() if name.endswith(".parquet")]
        return [row for name in names for row in pq.read_table(pa.BufferReader(place.read(name))).to_pylist()]

    def until_stored(self, sent: list[str]) -> None:
        """Wait until the store has as many rows as were sent."""
        until(lambda: len(self.rows()) >= len(sent), f"{len(sent)} rows, not {len(self.rows())}")

    def stored(self) -> list[str]:
        """List the event ids of the store, sorted."""
        return sorted(row["event_id"] for row in self.rows())


@pytest.fixture
def stage_over(
    kafka_broker: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., KafkaStage]]:
    """Return a function that makes a topic and names a store: a directory, or with `on="s3"` a bucket."""
    with ExitStack() as ends:

        def make(*, on: str = "directory", partitions: int = 1, topic: bool = True) -> KafkaStage:
            name = f"events-{secrets.token_hex(6)}"
            if topic:
                kafka_broker.create_topic(name, partitions)
            store = str(tmp_path / "store")
            if on == "s3":
                store = f"s3://{request.getfixturevalue('s3').bucket()}/events"
            return KafkaStage(kafka_broker, name, store, tmp_path, ends)

        yield make
