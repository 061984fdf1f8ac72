"""A collector process on one core, a sender on another: events a second, CPU an event and a batch, and its memory.

`python bench/collector_speed.py [--large 200] [--sidecars 8] [--small 3] [--connections 900]`

One sidecar has eight batches in flight, and each waits for its group of a second to be on disk: 4,000 events a batch
are 32,000 events a second of one sidecar, whatever the collector could take. Eight of them keep a core busy.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from abside.event import encode
from stage import ABSIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK")
LARGE_EVENTS = 4000
SMALL_EVENTS = 3
IN_FLIGHT = 8  # of one sidecar: its bound
EXPERIMENTS = (("pdp-reranker", "user"), ("pdp-badge", "session"), ("home-order", "user"))
HEAD = (
    "POST /v1/batches HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/msgpack\r\nIdempotency-Key: {batch}\r\n"
    "X-Batch-Count: {count}\r\nContent-Encoding: zstd\r\nContent-Length: {size}\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)
TOKEN = "bench"  # noqa: S105 the collector reads a token for each batch: that is measured too


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", type=int, default=200, help="batches of 4,000 events")
    parser.add_argument("--sidecars", type=int, default=8, help="senders of large batches, each with eight in flight")
    parser.add_argument("--small", type=int, default=3, help="batches of three events for each connection")
    parser.add_argument("--connections", type=int, default=900)
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    print(f"{'':<26}{'events/s':>10}{'µs CPU/event':>14}{'µs CPU/batch':>14}{'peak MiB':>10}")
    if chosen.large:
        connections = IN_FLIGHT * chosen.sidecars
        report("4,000 events a batch", cores[-1], large_batches(chosen.large), LARGE_EVENTS, connections)
    if chosen.small:
        batches = small_batches(chosen.small * chosen.connections)
        report("3 events a batch", cores[-1], batches, SMALL_EVENTS, chosen.connections)


def report(title: str, core: int, bodies: list[bytes], events: int, connections: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        process, address = start(Path(place), core)
        try:
            asyncio.run(send(address, bodies[:connections], events, connections, "warm"))
            cpu, began = cpu_seconds(process.pid), time.monotonic()
            asyncio.run(send(address, bodies, events, connections, "pod"))
            took, cpu = time.monotonic() - began, cpu_seconds(process.pid) - cpu
            peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) // 1024
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    total = len(bodies) * events
    one, batch = cpu / total * 1e6, cpu / len(bodies) * 1e6
    print(f"{title:<26}{total / took:>10,.0f}{one:>14.2f}{batch:>14.0f}{peak:>10}", flush=True)


def start(place: Path, core: int, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    (place / "token").write_text(TOKEN)
    log = place / "log"
    command = [*ABSIDE, "collector", "--listen", "127.0.0.1:0", "--store", str(place / "store")]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command, "--token-file", str(place / "token"), *options], stderr=sink
        )
    while not (found := re.search(r"listening address=(\S+)", log.read_text())):
        if process.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.02)
    return process, found[1]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def send(address: str, bodies: list[bytes], events: int, connections: int, name: str) -> None:
    host, _, port = address.rpartition(":")
    waiting: Iterator[tuple[int, bytes]] = iter(list(enumerate(bodies)))

    async def sender() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number, body in waiting:
            batch = f"{name}-{number:05d}.{number:020d}-3f2a1b"
            head = HEAD.format(host=address, batch=batch, count=events, size=len(body), token=TOKEN)
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(re.findall(rb"(?i)content-length: (\d+)", answer)[0])
            document = await reader.readexactly(size)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{answer!r} {document!r}")
        writer.close()

    await asyncio.gather(*(sender() for _ in range(min(connections, len(bodies)))))


def large_batches(count: int) -> list[bytes]:
    made = [packed(random.Random(seed), LARGE_EVENTS) for seed in range(6)]
    return [made[number % len(made)] for number in range(count)]


def small_batches(count: int) -> list[bytes]:
    return [packed(random.Random(seed), SMALL_EVENTS) for seed in range(count)]


def packed(chance: random.Random, count: int) -> bytes:
    boot = f"{chance.getrandbits(64):016x}"
    events = [event(chance, f"{boot}-{number:x}", 1_790_078_400_000_000 + number * 50) for number in range(count)]
    return zstandard.ZstdCompressor(3).compress(b"".join(map(encode, events)))


def event(chance: random.Random, event_id: str, ts: int) -> dict[str, Any]:
    """Return an exposure of one to three assignments, or one time in eight an outcome."""
    user = f"u{chance.randrange(10**7)}" if chance.random() < 0.7 else None
    session = f"{chance.getrandbits(128):032x}"
    head = {"event_id": event_id, "type": "exposure", "ts": ts, "seen_ts": ts, "user_id": user, "session_id": session}
    kind = chance.random()
    if kind < 0.04:
        items = [f"sku-{chance.randrange(10**5)}" for _ in range(12)]
        return {**head, "type": "impression", "exposure_id": event_id, "placement": "home", "items": items}
    if kind < 0.1:
        item = f"sku-{chance.randrange(10**5)}"
        return {**head, "type": "click", "item_id": item, "position": chance.randrange(12), "placement": "home"}
    if kind < 0.12:
        item, value = f"sku-{chance.randrange(10**5)}", round(chance.random() * 100, 2)
        return {**head, "type": "add_to_cart", "item_id": item, "quantity": 1, "value": value, "currency": "EUR"}
    assignments = [
        {
            "experiment": name,
            "phase": 1,
            "variant": chance.choice(("control", "treatment")),
            "unit_type": unit,
            "unit_id": user if unit == "user" and user else session,
            "forced": False,
            "traffic_bp": 2000,
        }
        for name, unit in EXPERIMENTS[: chance.choice((1, 1, 2, 2, 3))]
    ]
    attributes = {"country": chance.choice(("DE", "FR", "NL")), "device": chance.choice(("ios", "web"))}
    own = {"exposure_id": event_id, "placement": chance.choice(("pdp", "home")), "revision": "9f1c2d03ab77"}
    config = chance.choice(("5be0c1d2e3f4", "5be0c1d2e3f5", "aae0c1d2e3f4"))
    return {**head, **own, "config_id": config, "algo": 1, "assignments": assignments, "attributes": attributes}


if __name__ == "__main__":
    main()
