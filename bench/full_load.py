"""Full load on everything at once: `python bench/full_load.py [SECONDS] [UPSTREAM] [RATE]`, at first for a minute.

wrk asks a sidecar as fast as it is answered, every answer logs exposures of three experiments, and they are shipped
while they come, on the same cores. UPSTREAM is `http`, a collector started here, `kafka`, a broker started here (its
jars come by `make kafka`), or a URL of one that runs elsewhere. With RATE, wrk asks about so often a second instead. A
second sidecar without an upstream is asked in turns with the first: what shipping costs a decision is the ratio.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from over_http import has_tools, wrk
from stage import HERE, Stage, cpu_seconds, publish, resident_mb, snapshot_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

SECONDS = 60
CONNECTIONS = 16
TURN_SECONDS = 5  # of each sidecar in turns, for the medians
EMPTY_SECONDS = 300  # longest time until the backlog is shipped when wrk has ended
TOPIC = "full-load"
PARTITIONS = 4


def main() -> None:
    missing = has_tools()
    if missing:
        raise SystemExit(f"missing: {missing}; on Debian: apt-get install wrk gcc libc6-dev")
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    upstream = sys.argv[2] if len(sys.argv) > 2 else "http"
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        try:
            for line in measure(stage, Path(place), seconds, upstream, rate):
                print(line, flush=True)
        finally:
            stage.stop()


@dataclass(frozen=True)
class Receiver:
    """Where events go, and its process where it was started here."""

    url: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process) if self.process else 0.0


def receiver(stage: Stage, upstream: str) -> Receiver:
    """Start what is asked for."""
    if upstream == "http":
        port = stage.collector()
        return Receiver(f"http://127.0.0.1:{port}", stage.running[-1])
    if upstream != "kafka":
        return Receiver(upstream)
    from kafka_broker import KafkaBroker  # noqa: PLC0415 it needs confluent-kafka

    folder = stage.folder / "kafka"
    folder.mkdir()
    broker = KafkaBroker(HERE.parent / ".venv" / "kafka", folder)
    broker.start()
    broker.create_topic(TOPIC, PARTITIONS)
    assert broker.process is not None
    stage.running.append(broker.process)
    return Receiver(f"kafka://{broker.bootstrap}/{TOPIC}", broker.process)


def measure(stage: Stage, folder: Path, seconds: int, upstream: str, rate: int = 0) -> Iterator[str]:
    """Yield the lines of a table: under full load, and what shipping costs a decision."""
    where = receiver(stage, upstream)
    snapshot = folder / "snapshot"
    publish(snapshot_of(3, 3), snapshot)
    shipping, port, _ = stage.sidecar(snapshot, "--upstream", where.url)
    silent, alone, _ = stage.sidecar(snapshot)
    since, before = time.monotonic(), figures(port)
    cpu_before, theirs_before, wrk_before = cpu_seconds(shipping), where.cpu_seconds, children_seconds()
    run = wrk(port, CONNECTIONS, seconds, rate=rate)
    took, after = time.monotonic() - since, figures(port)
    cpu, theirs, asking = (
        cpu_seconds(shipping) - cpu_before,
        where.cpu_seconds - theirs_before,
        children_seconds() - wrk_before,
    )
    shipped = after["upstream"]["acked_events"] - before["upstream"]["acked_events"]
    yield f"## Full load for {seconds} s, {CONNECTIONS} connections, {upstream.partition(':')[0]}"
    yield ""
    yield f"- decisions/s: {run.a_second:,.0f}; p50 {run.p50:,.0f} µs, p99 {run.p99:,.0f} µs"
    yield f"- shipped/s meanwhile: {shipped / took:,.0f} ({after['upstream']['retries']} retries)"
    yield f"- CPU of the sidecar for a decision, spooling and shipping in it: {cpu / run.requests * 1e6:.1f} µs"
    waiting = after["spool"]
    size = waiting["waiting_bytes"] / 2**20
    yield f"- backlog at the end: {size:,.0f} MiB in {waiting['waiting_segments']:,} segments"
    yield f"- memory of the sidecar: {resident_mb(shipping):.0f} MB"
    yield emptied(port)
    before_alone = cpu_seconds(silent)
    ratios, asked = compared(port, alone)
    yield "- decision with shipping ÷ without, in turns: " + ratios
    each = (cpu_seconds(silent) - before_alone) / asked * 1e6
    costs = f"decision and spool {each:.1f}, shipping {max(0.0, cpu * 1e6 - each * run.requests) / max(1, shipped):.1f}"
    costs += f", receiver {theirs * 1e6 / max(1, shipped):.1f}, wrk {asking * 1e6 / run.requests:.1f}"
    yield f"- CPU of the parts, µs an event: {costs}"
    end = figures(port)
    lost = sum(end["events"]["lost"].values()) + end["upstream"]["dead_events"] + end["spool"]["lost_events"]
    yield f"- lost: {lost:,}{refused(end) if lost else ''}"


def children_seconds() -> float:
    """Return the CPU time of the processes that have ended: wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def emptied(port: int) -> str:
    """Wait until everything is shipped; return how fast that was."""
    since, before = time.monotonic(), figures(port)["upstream"]["acked_events"]
    while figures(port)["spool"]["waiting_segments"]:
        if time.monotonic() - since > EMPTY_SECONDS:
            return f"- the backlog is not shipped after {EMPTY_SECONDS} s"
        time.sleep(0.2)
    took = time.monotonic() - since
    shipped = figures(port)["upstream"]["acked_events"] - before
    return f"- then {shipped:,} in {took:.1f} s without load: {shipped / took:,.0f}/s"


def compared(shipping: int, alone: int) -> tuple[str, int]:
    """Ask both in turns; return the ratios of their medians and rates, and how often `alone` was asked."""
    pairs = [(wrk(shipping, CONNECTIONS, TURN_SECONDS), wrk(alone, CONNECTIONS, TURN_SECONDS)) for _ in range(3)]
    p50 = statistics.median(one.p50 / other.p50 for one, other in pairs)
    rate = statistics.median(one.a_second / other.a_second for one, other in pairs)
    return f"p50 {p50:.2f}, decisions/s {rate:.2f}", sum(other.requests for _, other in pairs)


def refused(end: dict[str, Any]) -> str:
    """Return what the spool refused, and why."""
    spool = end["spool"]
    counts = {name: spool[name] for name in ("full_events", "failed_events", "failed_seals", "failures")}
    return f" {counts} {spool['last_failure']}"


def figures(port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


if __name__ == "__main__":
    main()
