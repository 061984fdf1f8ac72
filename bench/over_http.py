"""Over HTTP: wrk against the fast path, the aiohttp path, a bare aiohttp handler and a C epoll server, interleaved."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stage import HERE, Stage, cpu_seconds, nothing_lost, publish, resident_mb, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUNDS = 5
SECONDS = 2
CONNECTIONS = (1, 16, 64)
UNDER_SECONDS = 6  # of a disturbance: several reloads fall into it
UNDER_ROUNDS = 3
RATE = 500
PACED_SECONDS = 5
PAUSE_MS = 5  # between two requests of a connection, where a rate is asked for


@dataclass(frozen=True)
class Run:
    """One run of wrk: times in µs."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    worst: float
    cpu: float = 0.0  # of the server, for each request

    @property
    def a_second(self) -> float:
        return self.requests / self.seconds


def wrk(port: int, connections: int, seconds: int, client: str = "plain", rate: int = 0) -> Run:
    """Ask with a fresh id in every request, as bench/fresh.lua does. A Debian package: apt-get install wrk.

    With a rate, about so many a second: each connection waits so many whole milliseconds between its requests.
    """
    pause_ms = PAUSE_MS if rate else 0
    if rate:
        connections = max(1, round(rate * pause_ms / 1000))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(HERE / "fresh.lua")]
    command += [f"http://127.0.0.1:{port}/v1/assign", "--", client, str(pause_ms)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = [int(one) for one in done.stdout.partition("RESULT ")[2].split()[:7]]
    if numbers[6]:
        raise SystemExit(f"{numbers[6]} wrong answers at port {port}: {done.stdout}")
    return Run(numbers[0], numbers[1] / 1e6, *map(float, numbers[2:6]))


Table = dict[tuple[str, int], list[Run]]  # server, connections → one run a round


def compare(stage: Stage, snapshot: Path, upstream: str) -> Table:
    """Run every server at every number of connections, round after round. `go` is only where there is Go."""
    servers: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
    for name, start in {
        "floor": stage.floor,
        "fast": lambda: stage.sidecar(snapshot, "--upstream", upstream)[1],
        "aiohttp": lambda: stage.sidecar(snapshot, "--upstream", upstream, "--fast-path", "off")[1],
        "bare": stage.bare,
        "alone": lambda: stage.sidecar(snapshot)[1],
        "go": stage.bare_go,
    }.items():
        port = start()
        if port is not None:
            servers[name] = stage.running[-1], port
    servers["traced"] = servers["fast"]
    table: Table = {(name, count): [] for name in servers for count in CONNECTIONS}
    for _ in range(ROUNDS):
        for count in CONNECTIONS:
            for name, (process, port) in servers.items():
                table[name, count].append(measured(process, port, count, SECONDS, client=name))
    for name in ("fast", "aiohttp", "alone"):
        nothing_lost(servers[name][1])
    return table


def measured(process: subprocess.Popen[bytes], port: int, count: int, seconds: int, client: str = "plain") -> Run:
    """Run wrk, and add the CPU µs that the server took for each request."""
    before = cpu_seconds(process)
    run = wrk(port, count, seconds, client)
    return replace(run, cpu=(cpu_seconds(process) - before) / run.requests * 1e6)


def disturbed(stage: Stage, folder: Path, upstream: str) -> Iterator[tuple[str, Run]]:
    """Run the fast path with 1,000 experiments: quiet, reloading every second, upstream away, neighbours that fsync.

    Give the medians of interleaved rounds, and the worst of all.
    """
    snapshot = folder / "thousand"
    publish(snapshot_of(1000, 3), snapshot)
    _, port, _ = stage.sidecar(snapshot, "--upstream", upstream)
    _, away, _ = stage.sidecar(snapshot, "--upstream", "http://127.0.0.1:9")
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for number in range(UNDER_ROUNDS):
        found["quiet"].append(wrk(port, 16, UNDER_SECONDS))
        with reloads(snapshot, number):
            found["reloading every second"].append(wrk(port, 16, UNDER_SECONDS))
        found["upstream away"].append(wrk(away, 16, UNDER_SECONDS))
        writers = [stage.start(sys.executable, "-c", FSYNCING, str(folder / f"neighbour-{n}")) for n in range(4)]
        found["four neighbours fsync"].append(wrk(port, 16, UNDER_SECONDS))
        stage.stop(*writers)
    for one in (port, away):
        nothing_lost(one)
    for name, runs in found.items():
        middle = {what: statistics.median(getattr(run, what) for run in runs) for what in ("p50", "p99", "p999")}
        requests, seconds = sum(run.requests for run in runs), sum(run.seconds for run in runs)
        yield name, Run(requests, seconds, **middle, worst=max(run.worst for run in runs))


FSYNCING = (
    "import os,sys\nf=open(sys.argv[1],'wb')\nwhile True:\n f.write(os.urandom(65536)); f.flush(); os.fsync(f.fileno())"
)


@contextmanager
def reloads(snapshot: Path, number: int) -> Iterator[None]:
    """Publish another configuration every second, in a thread."""
    stopping = threading.Event()

    def loop() -> None:
        generation = 1000 * (1 + number)
        while not stopping.wait(1.0):
            generation += 1
            publish(snapshot_of(1000, 3, generation=generation), snapshot)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def paced(stage: Stage, snapshot: Path, upstream: str) -> dict[str, Table]:
    """Ask 500 times a second (bench/paced.c), in quiet and while a neighbour burns a core; the floor too, in turns."""
    _, port, _ = stage.sidecar(snapshot, "--upstream", upstream)
    servers = {"floor": stage.floor(), "fast": port}
    quiet = _paced(stage, servers)
    burner = stage.start(sys.executable, "-c", "while True: pass")
    burning = _paced(stage, servers)
    stage.stop(burner)
    nothing_lost(port)
    return {"idle": quiet, "burning": burning}


def _paced(stage: Stage, servers: dict[str, int]) -> Table:
    table: Table = {(name, 1): [] for name in servers}
    for _ in range(ROUNDS):
        for name, where in servers.items():
            command = [stage.built("paced"), str(where), str(RATE), str(PACED_SECONDS)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            count, wrong, *micros = map(float, done.stdout.split())
            if wrong:
                raise SystemExit(f"{wrong:.0f} wrong answers at port {where}")
            table[name, 1].append(Run(int(count), PACED_SECONDS, *micros))
    return table


def light(stage: Stage, folder: Path, upstream: str) -> tuple[float, float]:
    """Return the seconds from start to ready (median of five) and the idle memory in MB, with 100 experiments."""
    snapshot = folder / "hundred"
    publish(snapshot_of(100, 3), snapshot)
    seconds, memory = [], []
    for _ in range(5):
        process, _, took = stage.sidecar(snapshot, "--upstream", upstream)
        time.sleep(1.0)
        seconds.append(took)
        memory.append(resident_mb(process))
        stage.stop(process)
    return statistics.median(seconds), statistics.median(memory)


def median(table: Table, name: str, count: int, what: str) -> float:
    return statistics.median(getattr(run, what) for run in table[name, count])


def ratio(table: Table, name: str, under: str, count: int, what: str) -> float:
    """Return the median over rounds of one server's figure by another's."""
    pairs = zip(table[name, count], table[under, count], strict=True)
    return statistics.median(getattr(one, what) / getattr(other, what) for one, other in pairs)


def has_tools() -> str:
    """Return the names of the missing tools, or an empty string."""
    return ", ".join(tool for tool in ("wrk", "cc") if shutil.which(tool) is None)
