"""Thousands of sidecars on one collector: whether each batch is acknowledged, what is sent again, and its probes.

`python bench/collector_senders.py [--senders 3000] [--seconds 20] [--every 5] [--max-connections 1024]`

Each sender keeps its connection and sends a batch of three events every few seconds. As a sidecar does, it sends it
again after a 503 or a connection that was cut. A probe is a connection of its own, four a second, as a kubelet's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import tempfile
import time
import urllib.request
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from abside.serve.bounds import raise_descriptor_limit
from collector_speed import HEAD, SMALL_EVENTS, TOKEN, cpu_seconds, packed, start

PROBE_SECONDS = 0.25
PATIENCE_SECONDS = 60.0


class Senders:
    """What all of them met together."""

    def __init__(self, address: str, every_seconds: float) -> None:
        self.host, self.port = address.rsplit(":", 1)
        self.address = address
        self.every_seconds = every_seconds
        self.acked = 0
        self.batches = 0
        self.again: Counter[str] = Counter()
        self.stopping = False
        self.body = packed(random.Random(1), SMALL_EVENTS)

    async def send(self, number: int) -> None:
        """Send a batch every few seconds; at the end the last one is acknowledged too."""
        chance, body = random.Random(number), self.body
        wire: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        await asyncio.sleep(chance.random() * self.every_seconds)
        while not self.stopping:
            self.batches += 1
            batch = f"pod-{number:05d}.{self.batches:020d}-3f2a1b"
            head = HEAD.format(host=self.address, batch=batch, count=SMALL_EVENTS, size=len(body), token=TOKEN)
            for pause in (0.1 * 2**attempt for attempt in range(9)):
                if wire is not None and (wire[0].at_eof() or wire[1].transport.is_closing()):
                    wire = None  # cut while it was idle, which a client's pool notices
                try:
                    wire = wire or await asyncio.open_connection(self.host, int(self.port))
                    wire[1].write(head.encode() + body)
                    status = await _status(wire[0])
                except OSError as exc:
                    wire, status = None, type(exc).__name__
                except asyncio.IncompleteReadError:
                    wire, status = None, "cut"
                if status in {"200", "208"}:
                    self.acked += 1
                    break
                self.again[status] += 1
                if wire is not None and status == "503":
                    await asyncio.sleep(1.0)  # Retry-After
                await asyncio.sleep(pause * chance.random())
            await asyncio.sleep(self.every_seconds)
        if wire is not None:
            wire[1].close()

    async def run(self, count: int, seconds: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(self.send(number))
            await asyncio.sleep(seconds)
            self.stopping = True


def probe(address: str, seconds: float) -> tuple[Counter[str], float]:
    """Ask as a kubelet does for so long; return what was answered, and the seconds of the slowest."""
    found: Counter[str] = Counter()
    slowest, until = 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        try:
            with urllib.request.urlopen(f"http://{address}/livez", timeout=5) as answer:
                found[str(answer.status)] += 1
        except OSError as exc:
            found[str(exc)] += 1
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(PROBE_SECONDS)
    return found, slowest


async def _status(reader: asyncio.StreamReader) -> str:
    answer = await reader.readuntil(b"\r\n\r\n")
    size = int(re.findall(rb"(?i)content-length: (\d+)", answer)[0])
    await reader.readexactly(size)
    return answer.split(b" ", 2)[1].decode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--senders", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--max-connections", type=int, default=1024)
    chosen = parser.parse_args()
    raise_descriptor_limit()
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(1, get_context("spawn")) as prober:
        process, address = start(Path(place), core, "--max-connections", str(chosen.max_connections))
        try:
            senders = Senders(address, chosen.every)
            # Not in this process, whose loop is busier than the collector.
            probes = prober.submit(probe, address, chosen.seconds)
            began = time.monotonic()
            asyncio.run(
                asyncio.wait_for(senders.run(chosen.senders, chosen.seconds), chosen.seconds + PATIENCE_SECONDS)
            )
            took, cpu = time.monotonic() - began, cpu_seconds(process.pid)
            peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) // 1024
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    print(f"{chosen.senders} senders, {chosen.max_connections} connections: {senders.batches} batches in {took:.0f} s")
    print(
        f"acknowledged {senders.acked}, sent again {dict(senders.again)}, {cpu / took:.0%} of a core, peak {peak} MiB"
    )
    answered, slowest = probes.result()
    print(f"probes {dict(answered)}, the slowest {slowest:.2f} s")


if __name__ == "__main__":
    main()
