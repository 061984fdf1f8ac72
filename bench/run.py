"""`make bench`: one table, ratios first, all of one run; `--write` keeps it as bench/results.md."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import growth
import inside
import over_http
from over_http import median, ratio
from stage import HERE, Stage, publish, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    missing = over_http.has_tools()
    if missing:
        raise SystemExit(f"missing: {missing}; on Debian: apt-get install wrk gcc libc6-dev")
    lines = []
    for line in report():
        print(line, flush=True)
        lines.append(line)
    if "--write" in sys.argv:
        (HERE / "results.md").write_text("\n".join(lines) + "\n")


def report() -> Iterator[str]:
    yield "# Results of `make bench`"
    yield ""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson", "mmh3", "msgpack"))
    yield f"{platform.machine()}, {os.cpu_count()} shared cores, Linux {platform.release()}, Python"
    yield f"{platform.python_version()}, {libraries}."
    yield "The machine is shared and noisy: read ratios within a row, not microseconds across runs."
    yield ""
    yield from in_process()
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        try:
            yield from over_the_wire(stage, Path(place))
        finally:
            stage.stop()


def in_process() -> Iterator[str]:
    yield "## In-process"
    yield "The floor hashes one id and looks one variant up. Best of interleaved rounds."
    yield ""
    yield "| what | multiple of the floor | µs |"
    yield "|---|---:|---:|"
    for what, times, micros in inside.measure():
        yield f"| {what} | {times:.1f} | {micros:.2f} |"
    yield ""


def over_the_wire(stage: Stage, folder: Path) -> Iterator[str]:
    upstream = f"http://127.0.0.1:{stage.collector()}"
    snapshot = folder / "three"
    publish(snapshot_of(3, 3), snapshot)
    table, cpu = over_http.compare(stage, snapshot, upstream)
    yield from compared(table)
    stage.stop(*stage.running[1:])
    yield "## Disturbed"
    yield "The fast path at 16 connections, 1,000 experiments configured; µs."
    yield ""
    yield "| while | requests/s | p50 | p99 | p99.9 | worst |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, run in over_http.disturbed(stage, folder, upstream).items():
        yield f"| {name} | {run.a_second:,.0f} | {run.p50:,.0f} | {run.p99:,.0f} | {run.p999:,.0f} | {run.worst:,.0f} |"
    yield ""
    stage.stop(*stage.running[1:])
    yield f"At {over_http.RATE} requests a second on one connection, a neighbour burning the other core; µs, medians of"
    yield f"{over_http.ROUNDS} rounds in turns."
    yield ""
    yield "| server | p50 | p99 | p99.9 | worst |"
    yield "|---|---:|---:|---:|---:|"
    at_a_rate = over_http.paced(stage, snapshot, upstream)
    for name in ("floor", "fast"):
        row = " | ".join(f"{median(at_a_rate, name, 1, what):,.0f}" for what in ("p50", "p99", "p999", "worst"))
        yield f"| {name} | {row} |"
    yield ""
    stage.stop(*stage.running[1:])
    yield "## Growth"
    yield "Five experiments at the placement, so many configured in all."
    yield ""
    yield "| experiments | assign, ratio to 10 | assign µs | first load ms | reload ms | sidecar MB |"
    yield "|---:|---:|---:|---:|---:|---:|"
    grown = growth.grow(stage, folder)
    for size, one in grown.items():
        times = one.assign_micros / grown[growth.SIZES[0]].assign_micros
        row = f"{one.assign_micros:.2f} | {one.load_ms:.1f} | {one.reload_ms:.1f} | {one.resident_mb:.1f}"
        yield f"| {size:,} | {times:.2f} | {row} |"
    yield ""
    seconds, memory = over_http.light(stage, folder, upstream)
    yield "## Light"
    yield f"With 100 experiments: start to ready {seconds:.2f} s, idle {memory:.1f} MB;"
    yield f"{cpu:.0f} ms of CPU for 1,000 requests at 16 connections, spooling and shipping included."


def compared(table: over_http.Table) -> Iterator[str]:
    yield "## Over HTTP"
    yield "`POST /v1/assign`, 3 experiments at the placement, exposures spooled and shipped to a running collector, wrk"
    yield f"with a fresh id in every request, medians of {over_http.ROUNDS} interleaved rounds. `floor` is a C epoll"
    yield "server that does nothing; `bare` an aiohttp handler that does nothing; `alone` the fast path, shipping off."
    yield ""
    yield "| connections | figure | fast by floor | fast by our aiohttp path | fast by bare aiohttp | alone by floor |"
    yield "|---:|---|---:|---:|---:|---:|"
    for count in over_http.CONNECTIONS:
        for what in ("p50", "p99", "p999", "a_second"):
            shown = [ratio(table, "fast", under, count, what) for under in ("floor", "aiohttp", "bare")]
            shown.append(ratio(table, "alone", "floor", count, what))
            yield f"| {count} | {NAMES[what]} | " + " | ".join(f"{one:.2f}" for one in shown) + " |"
    yield ""
    yield "| connections | figure | floor | fast | our aiohttp path | bare aiohttp | alone |"
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for count in over_http.CONNECTIONS:
        for what in ("p50", "p99", "p999", "a_second"):
            figures = [median(table, name, count, what) for name in ("floor", "fast", "aiohttp", "bare", "alone")]
            yield f"| {count} | {NAMES[what]} | " + " | ".join(f"{one:,.0f}" for one in figures) + " |"
    yield ""


NAMES = {"p50": "p50 µs", "p99": "p99 µs", "p999": "p99.9 µs", "a_second": "requests/s"}

if __name__ == "__main__":
    main()
