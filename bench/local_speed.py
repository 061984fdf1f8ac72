"""`python bench/local_speed.py`: a decision in the caller's own process beside one over HTTP, exposures on disk.

One sidecar, three experiments at the placement; the ways take turns, a second each. The last rows have a new
configuration every second, and a thousand experiments.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from abside.client import Client
from abside.client.local import Local
from stage import Stage, publish, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 8
TURN_SECONDS = 1.0


def turn(ask: Callable[[str], object], seen: list[int], reload: Callable[[], object] | None) -> tuple[int, float]:
    """Ask for a second; return how often, and the CPU seconds of this process."""
    clock, number, until = time.perf_counter_ns, 0, time.perf_counter_ns() + int(TURN_SECONDS * 1e9)
    half, began = until - int(TURN_SECONDS * 0.5e9), time.process_time()
    while (now := clock()) < until:
        if reload is not None and now > half:
            reload()
            reload = None
        user = f"user-{number}"
        since = clock()
        ask(user)
        seen.append(clock() - since)
        number += 1
    return number, time.process_time() - began


def row(name: str, seen: list[int], calls: int, cpu: float) -> str:
    seen.sort()
    p50, p99, p999 = (seen[int(len(seen) * part)] / 1000 for part in (0.5, 0.99, 0.999))
    return f"| {name} | {p50:.1f} | {p99:.1f} | {p999:.0f} | {1e6 * cpu / calls:.1f} | {len(seen) / ROUNDS:,.0f} |"


def measure(experiments: int, *, reloads: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        stage = Stage(Path(place))
        try:
            snapshot = Path(place) / "snapshot"
            publish(snapshot_of(experiments, 3), snapshot)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            _, port, _ = stage.sidecar(snapshot, "--upstream", f"http://127.0.0.1:{stage.collector()}")
            ways = {
                "Local": Local(snapshot, Path(place) / f"spool-{port}").assign,
                "Client, over HTTP": Client(f"http://127.0.0.1:{port}", deadline_seconds=1).assign,
            }
            seen: dict[str, list[int]] = {name: [] for name in ways}
            totals = dict.fromkeys(ways, (0, 0.0))
            generation = 0
            for _ in range(ROUNDS):
                for name, assign in ways.items():
                    generation += 1
                    fresh = snapshot_of(experiments, 3, generation=generation)
                    calls, cpu = turn(
                        lambda user, assign=assign: assign("pdp", user_id=user),  # type: ignore[misc]
                        seen[name],
                        (lambda fresh=fresh: publish(fresh, snapshot)) if reloads else None,  # type: ignore[misc]
                    )
                    totals[name] = (totals[name][0] + calls, totals[name][1] + cpu)
            what = f"{experiments:,} experiments" + (", a new configuration every second" if reloads else "")
            for name in ways:
                print(row(f"{name}; {what}", seen[name], *totals[name]), flush=True)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(f"(this process grew by {grown:.0f} MiB)")
        finally:
            stage.stop()


if __name__ == "__main__":
    print(
        "| way | p50 µs | p99 µs | p99.9 µs | CPU of the caller, µs | calls a second |\n|---|---:|---:|---:|---:|---:|"
    )
    for number, again in ((3, False), (3, True), (1_000, False), (1_000, True)):
        measure(number, reloads=again)
