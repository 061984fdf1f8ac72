"""A cluster on one machine: Kafka, sidecars, collectors and a bucket, what happens to them, and what became of it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Consumer, TopicPartition

from abside.collector.store.place import open_place

if TYPE_CHECKING:
    from contextlib import ExitStack

    from kafka_broker import KafkaBroker
    from s3_server import S3Server

ROOT = Path(__file__).resolve().parent.parent

DOCUMENTS = ROOT / "k8s" / "experiments" / "config"
TIED = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()  # it ends with us, however we end
PARTITIONS, SIDECARS, COLLECTORS = 6, 2, 3
PATIENCE_SECONDS = 120.0


@dataclass
class Process:
    """One abside command that is started again and again."""

    name: str
    words: list[str]
    environment: dict[str, str]
    log: Path
    running: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [*TIED, sys.executable, "-m", "abside", *self.words]
            self.running = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)

    def kill(self) -> None:
        assert self.running is not None
        self.running.kill()
        self.running.wait()
        self.kills += 1

    def end(self) -> None:
        if self.running is not None and self.running.poll() is None:
            self.running.kill()
            self.running.wait()

    def said(self, pattern: str) -> int:
        return len(re.findall(pattern, self.log.read_text()))


@dataclass
class ClusterOfOne:
    """All of it, in one folder."""

    folder: Path
    broker: KafkaBroker
    s3: S3Server
    topic: str = "abside-events"
    readers: int = COLLECTORS
    group_seconds: float = 1.0
    session_seconds: float = 3.0  # after which a collector that was killed is missed
    store: str = ""
    ports: list[int] = field(default_factory=list)
    sidecars: list[Process] = field(default_factory=list)
    collectors: list[Process] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)  # files, which never change
    _found: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    def start(self, ends: ExitStack) -> None:
        self.broker.create_topic(self.topic, PARTITIONS)
        self.store = f"s3://{self.s3.bucket()}/events"
        snapshot = self.folder / "snapshot"
        publish = ["agent", "--once", "--config", str(DOCUMENTS), "--snapshot", str(snapshot)]
        subprocess.run([sys.executable, "-m", "abside", *publish], check=True, capture_output=True)
        properties = self.folder / "kafka.properties"
        session, heartbeat = int(self.session_seconds * 1000), int(self.session_seconds * 150)
        properties.write_text(f"session.timeout.ms={session}\nheartbeat.interval.ms={heartbeat}\n")
        environment = {**os.environ, **self.s3.environment}  # noqa: TID251 a child's own, made from ours
        address = f"kafka://{self.broker.bootstrap}/{self.topic}"
        self.ports = free_ports(SIDECARS)
        for number, port in enumerate(self.ports):
            where = ["--snapshot", str(snapshot), "--spool", str(self.folder / f"spool-{number}")]
            where += ["--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--pod", f"rec-{number}"]
            words = [
                "sidecar",
                *where,
                "--upstream",
                address,
                "--seal-seconds",
                "0.5",
                "--quiet-seconds",
                "0",
                "--linger-seconds",
                "0",
            ]
            log = self.folder / f"sidecar-{number}.log"
            self.sidecars.append(Process(f"sidecar {number}", words, environment, log))
        for number in range(self.readers):
            words = ["collector", "--kafka", address, "--group", self.topic, "--store", self.store]
            words += [
                "--listen",
                "127.0.0.1:0",
                "--group-seconds",
                f"{self.group_seconds:g}",
                "--kafka-config",
                str(properties),
            ]
            log = self.folder / f"collector-{number}.log"
            self.collectors.append(Process(f"collector {number}", words, environment, log))
        for process in (*self.sidecars, *self.collectors):
            ends.callback(process.end)
            process.start()

    def records(self) -> int:
        """Return how many records lie in the topic, re-sends too."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "nobody", "log_level": 0})
        places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        ends = [consumer.get_watermark_offsets(place, timeout=PATIENCE_SECONDS) for place in places]
        consumer.close()
        return sum(high - low for low, high in ends)

    def stored(self) -> Counter[tuple[str, str | None]]:
        """Return how often each event is in the store, an exposure's once for each of its experiments."""
        place = open_place(self.store)
        for name in place.names():
            if name.endswith(".parquet") and name not in self._read:
                table = pq.read_table(pa.BufferReader(place.read(name)), columns=["event_id", "experiment"])
                self._found.update(zip(*(column.to_pylist() for column in table.columns), strict=True))
                self._read.add(name)
        return self._found.copy()

    def copy(self) -> Path:
        """Copy the bucket into a directory, with the same names."""
        place, copied = open_place(self.store), self.folder / "store"
        for name in place.names():
            path = copied / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(place.read(name))
        return copied

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]


def stop_all(processes: list[Process]) -> list[int]:
    """Ask all to end, wait, and return their exit codes."""
    running = [one.running for one in processes if one.running is not None]
    for one in running:
        one.terminate()
    return [one.wait(PATIENCE_SECONDS) for one in running]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
