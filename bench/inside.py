"""In-process: what an assignment costs, as multiples of one hash and one dictionary look-up in the same run."""

from __future__ import annotations

import time
import timeit
from typing import TYPE_CHECKING

import mmh3

from abside.assignment.plan import build_plans
from abside.assignment.unit import Subject
from abside.sidecar.active.prepared import AnswerCache
from abside.sidecar.record.accounts import Accounts
from abside.spool.frame import frame
from stage import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 15
CALLS = 5_000
IDS = [f"user-{number:07}" for number in range(CALLS)]
ATTRIBUTES = {"country": "DE"}


def floor() -> Callable[[str], object]:
    """Return the least that any assignment must do: hash the id under a salt, scale it, look the variant up."""
    prefix, table, digest = (
        b"experiment|variant|",
        {number: number % 2 for number in range(10_000)},
        mmh3.mmh3_32_uintdigest,
    )

    def one(user_id: str) -> object:
        return table[(digest(prefix + user_id.encode(), 0) * 10_000) >> 32]

    return one


def assigning(here: int, conditions: int) -> Callable[[str], object]:
    snapshot = snapshot_of(max(here, 2), here, conditions=conditions)
    plan = build_plans(snapshot, time.time_ns() // 1000).placements["pdp"]

    def one(user_id: str) -> object:
        return plan.arms(Subject(user_id, None, ATTRIBUTES, "pdp"))

    return one


def framing(here: int, conditions: int) -> Callable[[str], object]:
    snapshot = snapshot_of(max(here, 2), here, conditions=conditions)
    plan = build_plans(snapshot, time.time_ns() // 1000).placements["pdp"]
    cache, accounts = AnswerCache("9f1c2d03ab77", plan, pinnable=True), Accounts("boot", {})
    now_us = time.time_ns() // 1000

    def one(user_id: str) -> object:
        subject = Subject(user_id, None, ATTRIBUTES, "pdp")
        prepared = cache.prepared(plan.arms(subject), accounts)
        return frame(prepared.exposure(b"c1f7a09b52d3e684-1f", now_us, subject, ATTRIBUTES, bot=False))

    return one


def measure() -> list[tuple[str, float, float]]:
    """Return (what, multiple of the floor, µs): the best of interleaved rounds each, as a shared machine only adds."""
    cases = {"floor: one hash, one look-up": floor()}
    for here in (1, 5, 20):
        for conditions in (0, 2):
            what = f"{here} experiment{'s' if here > 1 else ''}{', two conditions each' if conditions else ''}"
            cases[what] = assigning(here, conditions)
            cases[f"{what}, exposure framed"] = framing(here, conditions)
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(ROUNDS):
        for what, one in cases.items():
            best[what] = min(best[what], timeit.timeit(lambda one=one: [one(user_id) for user_id in IDS], number=1))
    least = best["floor: one hash, one look-up"]
    return [(what, seconds / least, seconds / CALLS * 1e6) for what, seconds in best.items()]


if __name__ == "__main__":
    for what, ratio, micros in measure():
        print(f"{what:<55}{ratio:>7.1f} x{micros:>9.2f} µs")
