"""Growth: assign time, reload time and memory with 10 to 5,000 experiments, five of them at the placement."""

from __future__ import annotations

import asyncio
import time
import timeit
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside.sidecar.active.current import Cell
from abside.sidecar.active.follow import Follower
from stage import Stage, publish, resident_mb, snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (10, 100, 1000, 5000)
IDS = [f"user-{number:07}" for number in range(5000)]
ROUNDS = 9


@dataclass(frozen=True)
class Grown:
    """Figures of one size: µs an assignment, ms a reload (first, and with one record changed), MB of the process."""

    assign_micros: float
    load_ms: float
    reload_ms: float
    resident_mb: float


def grow(stage: Stage, folder: Path) -> dict[int, Grown]:
    plans = {size: build_plans(snapshot_of(size, 5), time.time_ns() // 1000).placements["pdp"] for size in SIZES}
    best = dict.fromkeys(SIZES, float("inf"))
    for _ in range(ROUNDS):
        for size, plan in plans.items():
            took = timeit.timeit(lambda plan=plan: [plan.arms(Subject(one, None, {}, "pdp")) for one in IDS], number=1)
            best[size] = min(best[size], took / len(IDS) * 1e6)
    found = {}
    for size in SIZES:
        path = folder / f"size-{size}"
        publish(snapshot_of(size, 5), path)
        process, _, _ = stage.sidecar(path)
        time.sleep(1.0)
        found[size] = Grown(best[size], *asyncio.run(reloads(path, size)), resident_mb(process))
        stage.stop(process)
    return found


async def reloads(path: Path, size: int) -> tuple[float, float]:
    """Return the ms of a first load and of one where a placement's value changed."""
    follower = Follower(path, Cell(), lambda: time.time_ns() // 1000, 0.25, lambda _current: None)
    begun = time.perf_counter()
    await follower.look()
    loaded = time.perf_counter()
    publish(snapshot_of(size, 5, generation=1), path)
    again = time.perf_counter()
    await follower.look()
    return (loaded - begun) * 1e3, (time.perf_counter() - again) * 1e3
