"""`make bench`: one table, ratios first, all of one run; `--write` keeps it as bench/results.md."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import flags
import full_load
import growth
import inside
import over_http
from over_http import median, ratio
from stage import HERE, Stage, publish, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator


BY_HAND = "\n## Full load\n"  # what follows is of benches that are run one by one, and stays


def main() -> None:
    missing = over_http.has_tools()
    if missing:
        raise SystemExit(f"missing: {missing}; on Debian: apt-get install wrk gcc libc6-dev")
    lines = []
    for line in report():
        print(line, flush=True)
        lines.append(line)
    if "--write" in sys.argv:
        place = HERE / "results.md"
        _, heading, by_hand = place.read_text().partition(BY_HAND)
        place.write_text("\n".join(lines) + "\n" + heading + by_hand)


def report() -> Iterator[str]:
    yield "# Results of `make bench`"
    yield ""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop", "orjson", "mmh3", "msgpack"))
    yield f"{platform.machine()}, {os.cpu_count()} shared cores, Linux {platform.release()}, Python"
    yield f"{platform.python_version()}, {libraries}."
    yield "The machine is shared and noisy: read ratios within a row, not microseconds across runs. Percentiles in"
    yield "milliseconds are the machine's: the C server that does nothing has them too."
    yield ""
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        try:
            yield from over_the_wire(stage, Path(place))
        finally:
            stage.stop()
    yield from in_process()


def in_process() -> Iterator[str]:
    yield ""
    yield "## In-process"
    yield from IN_PROCESS.splitlines()
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
    table = over_http.compare(stage, snapshot, upstream)
    yield from headline(table)
    yield from compared(table)
    stage.stop(*stage.running[1:])
    yield "## Disturbed"
    yield "At 16 connections as fast as wrk can ask, 1,000 experiments configured; µs, medians of"
    yield f"{over_http.UNDER_ROUNDS} interleaved rounds, and the worst of all."
    yield ""
    yield "| while | requests/s | p50 | p99 | p99.9 | worst |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, run in over_http.disturbed(stage, folder, upstream):
        yield f"| {name} | {run.a_second:,.0f} | {run.p50:,.0f} | {run.p99:,.0f} | {run.p999:,.0f} | {run.worst:,.0f} |"
    yield ""
    stage.stop(*stage.running[1:])
    yield f"At {over_http.RATE} requests a second on one connection; µs, medians of {over_http.ROUNDS} rounds in turns."
    yield ""
    yield "| server | the other core | p50 | p99 | p99.9 | worst |"
    yield "|---|---|---:|---:|---:|---:|"
    for neighbour, at_a_rate in over_http.paced(stage, snapshot, upstream).items():
        for name in ("floor", "fast"):
            row = " | ".join(f"{median(at_a_rate, name, 1, what):,.0f}" for what in ("p50", "p99", "p999", "worst"))
            yield f"| {name} | {neighbour} | {row} |"
    yield ""
    stage.stop(*stage.running[1:])
    yield from flags.measure(stage, folder, upstream)
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
    yield f"With 100 experiments: start to ready {seconds:.2f} s, idle {memory:.1f} MB."
    yield ""
    yield from full_load.measure(stage, folder, full_load.SECONDS, upstream)


def headline(table: over_http.Table) -> Iterator[str]:
    alone, busy = median(table, "fast", 1, "p50"), ratio(table, "fast", "floor", 16, "a_second")
    floor, bare, slow = (median(table, name, 1, "p50") for name in ("floor", "bare", "aiohttp"))
    cpu = median(table, "fast", 16, "cpu")
    yield f"**A decision takes {alone:.0f} µs over HTTP, one at a time**, where a C server that does nothing takes"
    yield f"{floor:.0f}, an aiohttp handler that does nothing {bare:.0f}, this one without its fast path {slow:.0f}."
    yield f"At 16 connections it answers {busy:.2f} times as many requests as that C server, for {cpu:.0f} µs of CPU,"
    yield "spooling and shipping included."
    if ("go", 1) in table:
        each = " and ".join(f"{ratio(table, 'fast', 'go', count, 'cpu'):.2f} at {count}" for count in (1, 16))
        yield f"CPU for each decision, by that of a bare Go server (net/http, encoding/json): {each} connections."
    else:
        yield "There is no Go on this machine: the column of the bare Go server is left out."
    yield ""


def compared(table: over_http.Table) -> Iterator[str]:
    yield "## Over HTTP"
    yield from OVER_HTTP.format(rounds=over_http.ROUNDS).splitlines()
    yield ""
    servers = {name: shown for name, shown in SERVERS.items() if (name, 1) in table}
    pairs = [("fast", under) for under in ("floor", "go", "aiohttp", "bare") if under in servers]
    pairs += [("traced", "floor"), ("alone", "floor")]
    yield f"| connections | | {' | '.join(f'{servers[one]} ÷ {servers[under]}' for one, under in pairs)} |"
    yield f"|---:|---|{'---:|' * len(pairs)}"
    for count in over_http.CONNECTIONS:
        for what, name in NAMES.items():
            shown = " | ".join(f"{ratio(table, *pair, count, what):.2f}" for pair in pairs)
            yield f"| {count} | {name} | {shown} |"
    yield ""
    yield f"| connections | | {' | '.join(servers.values())} |"
    yield f"|---:|---|{'---:|' * len(servers)}"
    for count in over_http.CONNECTIONS:
        for what, name in NAMES.items():
            digits = 1 if what == "cpu" else 0
            shown = " | ".join(f"{median(table, server, count, what):,.{digits}f}" for server in servers)
            yield f"| {count} | {name} | {shown} |"
    yield ""


IN_PROCESS = """\
What deciding takes, without HTTP: multiples of hashing one id and looking one variant up. `exposure framed`: the event
and its checksummed frame are made too. With 20 experiments nearly every shopper has a combination of their own, so that
none of it was made before. Best of interleaved rounds."""
OVER_HTTP = """\
`POST /v1/assign`, 3 experiments at the placement, exposures spooled and shipped to a running collector, wrk with a
fresh id in every request, medians of {rounds} interleaved rounds. At 16 and 64 connections wrk asks as fast as it is
answered: times are mostly of waiting in line there. `fast` is this sidecar as it comes, `traced` the same asked by a
client that sends seven headers, a fresh trace id among them, `unshipped` without an upstream, `aiohttp path` what
chunked and other odd requests get (`--fast-path off`), `bare aiohttp` a handler that does nothing, `floor` a C epoll
server that does nothing, `bare Go` net/http and encoding/json with one hash and nothing logged. CPU is the server
process's, user and system, for each request. Ratios: the median of each round's; below 1 is better for µs, above 1 for
requests/s."""
SERVERS = {
    "floor": "floor",
    "fast": "fast",
    "traced": "traced",
    "go": "bare Go",
    "aiohttp": "aiohttp path",
    "bare": "bare aiohttp",
    "alone": "unshipped",
}
NAMES = {"cpu": "CPU µs", "p50": "p50 µs", "p99": "p99 µs", "p999": "p99.9 µs", "a_second": "requests/s"}

if __name__ == "__main__":
    main()
