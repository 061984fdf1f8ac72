"""A fleet on one collector that has its manifest's memory: what was accepted, stored, lost and doubled.

`python bench/fleet.py [--senders 1000] [--minutes 10] [--kills 2] [--limit-mib 1024]`

Each sender is a quiet sidecar: a batch of three events every few seconds, on a connection of its own, sent until the
collector acknowledges that batch. One in a hundred answers is thrown away, so that the batch comes twice; one in two
hundred batches is followed by a restart of its sender. The collector is killed without a warning while they send. As
root the kernel holds the collector to its limit by a cgroup; elsewhere the limit is not held, which is printed.
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
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from abside.serve.bounds import raise_descriptor_limit
from collector_senders import probe
from collector_speed import HEAD, SMALL_EVENTS, TOKEN, cpu_seconds, packed
from stage import ABSIDE, free_port, ready

if TYPE_CHECKING:
    from types import FrameType

LOST_ANSWERS = 0.01
RESTARTS = 0.005
LAST_BATCH_SECONDS = 120.0
CGROUP = Path("/sys/fs/cgroup/memory")
"""Version 1; where the machine has version 2 only, the limit's file is memory.max at the root."""


@dataclass(slots=True)
class Fleet:
    """What all senders met together."""

    host: str
    port: int
    every_seconds: float
    batches: int = 0
    acknowledged: int = 0
    restarts: int = 0
    thrown_away: int = 0
    met: Counter[str] = field(default_factory=Counter)
    stopping: bool = False

    async def sender(self, number: int) -> None:
        """Send a batch every few seconds, each until it is acknowledged, the last one too."""
        chance, wire = random.Random(number), _Wire(self)
        boot, count = f"{chance.getrandbits(64):016x}", 0
        await asyncio.sleep(chance.random() * self.every_seconds)
        while not self.stopping:
            self.batches += 1
            body = packed(chance, SMALL_EVENTS)
            batch, count = f"pod-{number:05d}.{count:020d}-{boot}", count + 1
            head = HEAD.format(host=self.host, batch=batch, count=SMALL_EVENTS, size=len(body), token=TOKEN)
            await self._until_acknowledged(wire, head.encode() + body, chance)
            if chance.random() < RESTARTS:
                boot, count = f"{chance.getrandbits(64):016x}", 0
                self.restarts += 1
                wire.close()
            await asyncio.sleep(self.every_seconds)
        wire.close()

    async def _until_acknowledged(self, wire: _Wire, request: bytes, chance: random.Random) -> None:
        attempt = 0
        while True:
            status = await wire.ask(request)
            self.met[status] += 1
            if status in {"200", "208"} and chance.random() < LOST_ANSWERS:
                self.thrown_away += 1
                status = "thrown away"
            if status in {"200", "208"}:
                self.acknowledged += 1
                return
            wire.close()
            await asyncio.sleep(min(5.0, 0.1 * 2**attempt) * chance.random())
            attempt += 1

    async def run(self, senders: int, seconds: float) -> None:
        """Let so many send for so long, and wait for their last batches."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(senders):
                tasks.create_task(self.sender(number))
            await asyncio.sleep(seconds)
            self.stopping = True


class _Wire:
    """One sender's connection, opened again when it was cut."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> str:
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.fleet.host, self.fleet.port)
            reader, writer = self.streams
            writer.write(request)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
            await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", answer)[0]))
            return answer.split(b" ", 2)[1].decode()
        except (OSError, asyncio.IncompleteReadError) as exc:
            return type(exc).__name__

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


class Collector:
    """The collector's lives, one after another, on one port and one store."""

    def __init__(self, place: Path, limit_mib: int) -> None:
        self.place, self.port = place, free_port()
        self.group = _group(limit_mib)
        self.cpu = 0.0
        self.peak_mib = 0
        (place / "token").write_text(TOKEN)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        where = ["--listen", f"127.0.0.1:{self.port}", "--store", str(self.place / "store")]
        with (self.place / "log").open("ab") as log:
            process = subprocess.Popen(
                [*ABSIDE, "collector", *where, "--token-file", str(self.place / "token")], stderr=log
            )
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(process.pid))
        ready(f"http://127.0.0.1:{self.port}/livez", time.monotonic())
        return process

    def end(self, how: signal.Signals) -> None:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        self.peak_mib = max(self.peak_mib, int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024)
        self.cpu += cpu_seconds(self.process.pid)
        self.process.send_signal(how)
        self.process.wait()

    async def killed(self, times: int, seconds: float) -> None:
        for _ in range(times):
            await asyncio.sleep(seconds / (times + 1))
            self.end(signal.SIGKILL)
            self.process = await asyncio.to_thread(self._start)


def _group(limit_mib: int) -> Path | None:
    """Return a cgroup with the limit, or None where this user or kernel has none to give."""
    group = CGROUP / f"abside-fleet-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit_mib << 20))
    except OSError:
        return None
    return group


def stored(store: Path) -> tuple[int, int]:
    """Return the events that the store holds, and the rows that are there twice: an exposure has one an assignment."""
    duckdb.read_parquet(f"{store}/**/*.parquet", union_by_name=True, hive_partitioning=True).create_view("stored")
    doubled = "count(*) - count(distinct (event_id, experiment))"
    found = duckdb.sql(f"select count(distinct event_id), {doubled} from stored where type <> 'config'").fetchone()  # noqa: S608 of our own names
    return (int(found[0]), int(found[1])) if found else (0, 0)


async def _together(fleet: Fleet, collector: Collector, chosen: argparse.Namespace) -> None:
    seconds = chosen.minutes * 60
    await asyncio.gather(
        asyncio.wait_for(fleet.run(chosen.senders, seconds), seconds + LAST_BATCH_SECONDS),
        collector.killed(chosen.kills, seconds),
    )


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--senders", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two batches of a sender")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--limit-mib", type=int, default=1024, help="of k8s/collector/statefulset.yaml")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    raise_descriptor_limit()
    with tempfile.TemporaryDirectory() as place, ProcessPoolExecutor(1, get_context("spawn")) as prober:
        collector = Collector(Path(place), chosen.limit_mib)
        fleet = Fleet("127.0.0.1", collector.port, chosen.every)
        try:
            probes = prober.submit(probe, f"127.0.0.1:{collector.port}", chosen.minutes * 60)
            began = time.monotonic()
            asyncio.run(_together(fleet, collector, chosen))
            took = time.monotonic() - began
        finally:
            collector.end(signal.SIGTERM)
        events, doubled = stored(Path(place) / "store")
        held = collector.group is not None
        if collector.group is not None:
            collector.group.rmdir()
    accepted = fleet.acknowledged * SMALL_EVENTS
    print(f"{chosen.senders} senders for {took:.0f} s, {chosen.kills} kills, {fleet.restarts} restarts of senders")
    print(f"accepted {accepted}, stored {events}, lost {accepted - events}, doubled {doubled}")
    print(f"batches {fleet.batches}, answers thrown away {fleet.thrown_away}, met {dict(fleet.met)}")
    limit = f"{chosen.limit_mib} MiB {'held by a cgroup' if held else 'NOT held: no right to make a cgroup'}"
    print(f"collector: {collector.cpu / took:.1%} of a core, peak {collector.peak_mib} MiB, limit {limit}")
    answered, slowest = probes.result()
    print(f"probes {dict(answered)}, the slowest {slowest:.2f} s")


if __name__ == "__main__":
    main()
