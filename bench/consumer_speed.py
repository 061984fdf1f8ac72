"""A Kafka collector on one core reads what sidecars wrote to a real broker: CPU an event, and its memory.

`python bench/consumer_speed.py [--jars .venv/kafka] [--events 200000] [--format msgpack]`

The topic is full before the collector starts. Its CPU counts from its first line to its last file.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import orjson
from confluent_kafka import Producer

from abside.event import encode
from collector_speed import cpu_seconds, event
from kafka_broker import KafkaBroker
from kafka_topic import KafkaTopic
from stage import ABSIDE

SEGMENT_EVENTS = 4000
PATIENCE_SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jars", type=Path, default=Path(".venv/kafka"))
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--format", choices=("msgpack", "json"), default="msgpack")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "kafka").mkdir()
        broker = KafkaBroker(chosen.jars.resolve(), Path(place) / "kafka")
        try:
            broker.start()
            topic = KafkaTopic(broker)
            fill(topic, chosen.events, as_json=chosen.format == "json")
            print(f"{'':<10}{'events/s':>10}{'µs CPU/event':>14}{'peak MiB':>10}")
            for number in range(chosen.rounds):
                report(topic, Path(place) / f"store-{number}", chosen.events)
        finally:
            broker.kill()


def fill(topic: KafkaTopic, count: int, *, as_json: bool) -> None:
    """Write events as a sidecar does: by their unit's key, with the place of each in its series."""
    chance = random.Random(1)
    producer = Producer({"bootstrap.servers": topic.broker.bootstrap, "compression.type": "zstd", "linger.ms": 20})
    for number in range(count):
        made = event(chance, f"3f2a1b-{number:x}", 1_790_078_400_000_000 + number * 50)
        sequence, index = divmod(number, SEGMENT_EVENTS)
        headers = [
            ("abside-spool", b"pod-0001-3f2a1b-3"),
            ("abside-seq", b"%d" % sequence),
            ("abside-index", b"%d" % index),
        ]
        value = orjson.dumps(made) if as_json else encode(made)
        producer.produce(topic.name, value, key=(made["user_id"] or made["session_id"]).encode(), headers=headers)
        if number % 1000 == 0:
            producer.poll(0.1)
    producer.flush()


def report(topic: KafkaTopic, store: Path, events: int) -> None:
    core = max(os.sched_getaffinity(0))
    log = store.with_suffix(".log")
    source = ["--kafka", topic.url, "--group", store.name, "--group-seconds", "5"]
    command = [*ABSIDE, "collector", *source, "--listen", "127.0.0.1:0", "--store", str(store)]
    with log.open("wb") as sink:
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stderr=sink)
    try:
        while not (found := re.search(r"listening address=(\S+)", log.read_text())):
            time.sleep(0.02)
        cpu, began = cpu_seconds(process.pid), time.monotonic()
        while (status := ask(found[1]))["events"] < events or status["gathered_bytes"]:
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise SystemExit(f"{status}\n{log.read_text()}")
            if status["events"] < events:
                taken = time.monotonic()
            time.sleep(0.1)
        cpu = cpu_seconds(process.pid) - cpu
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) // 1024
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    print(f"{store.name:<10}{events / (taken - began):>10,.0f}{cpu / events * 1e6:>14.2f}{peak:>10}", flush=True)


def ask(address: str) -> dict[str, int]:
    with urllib.request.urlopen(f"http://{address}/v1/status", timeout=10) as answer:
        found: dict[str, int] = {"events": 0, "gathered_bytes": 0, **orjson.loads(answer.read())}
    return found


if __name__ == "__main__":
    main()
