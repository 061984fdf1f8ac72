"""Nothing accepted is lost or doubled, whatever is killed and whenever."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from abside.collector.store import scan
from abside.snapshot import Snapshot

if TYPE_CHECKING:
    from tests.journey.conftest import Role, Stage

WORKERS = 6
SIDECAR_KILLS = 10
COLLECTOR_KILLS = 5
AWAY_SECONDS = 12.0
PAUSE_SECONDS = 0.005  # of a caller between two visits: what waited while the upstream was away must be shipped, too
LEAST = 1_000  # accepted events, however slow the machine
SHIPPED_SECONDS = 150.0  # for all of it, on a busy machine
SEED = 20261123


@dataclass
class Load:
    """What the callers know: an id is in `accepted` once answered 2xx, in `unknown` when its connection broke."""

    accepted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    stopping: bool = False


async def caller(number: int, url: str, load: Load) -> None:
    """Ask and report without pause, never twice the same, until the end is set."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        visit = 0
        while not load.stopping:
            visit += 1
            await asyncio.sleep(PAUSE_SECONDS)
            who = {"user_id": f"u{number}-{visit}", "session_id": f"s{number}-{visit}"}
            try:
                async with http.post(f"{url}/v1/assign", json={"placement": "pdp", **who}) as answer:
                    if answer.status == 200:
                        load.accepted.add((await answer.json())["exposure_id"])
                    else:
                        load.refused[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.02)
                continue
            ids = [f"caller-{number}-{visit}-{part}" for part in range(3)]
            events = [{"type": "click", "event_id": one, "item_id": "i1", "placement": "pdp", **who} for one in ids]
            try:
                async with http.post(f"{url}/v1/events", json=events) as answer:
                    if answer.status == 202:
                        load.accepted.update(ids)
                    else:
                        load.refused[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                load.unknown.update(ids)
                await asyncio.sleep(0.02)


async def kill_again_and_again(role: "Role", times: int, pause: Callable[[], float]) -> None:
    for _ in range(times):
        await asyncio.sleep(pause())
        role.kill()
        role.start()


@pytest.mark.timeout(240)
async def test_every_event_answered_2xx_lands_exactly_once_though_everything_is_killed(
    stage: "Stage",
    one_experiment: Snapshot,
    until: Callable[..., Awaitable[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(SEED)
    stage.publish(one_experiment)
    sidecar = stage.sidecar("--seal-seconds", "0.5", "--quiet-seconds", "0")
    collector = stage.collector("--group-seconds", "0.2")
    collector.start()
    sidecar.start()
    async with aiohttp.ClientSession() as http:

        async def status() -> Any:
            async with http.get(f"{stage.url}/v1/status") as answer:
                return await answer.json()

        async def up() -> bool:
            return bool((await status())["revision"])

        async def shipped() -> bool:
            now = await status()
            return bool(now["spool"]["waiting_segments"] == 0 and now["spool"]["used_bytes"] < 100)

        await until(up)
        load = Load()
        since = time.monotonic()
        callers = [asyncio.get_running_loop().create_task(caller(n, stage.url, load)) for n in range(WORKERS)]
        await asyncio.gather(
            kill_again_and_again(sidecar, SIDECAR_KILLS // 2, lambda: chance.uniform(0.5, 2.0)),
            kill_again_and_again(collector, COLLECTOR_KILLS, lambda: chance.uniform(0.5, 2.0)),
        )
        collector.kill()
        await asyncio.gather(
            asyncio.sleep(AWAY_SECONDS),
            kill_again_and_again(sidecar, SIDECAR_KILLS - SIDECAR_KILLS // 2, lambda: chance.uniform(1.0, 3.0)),
        )
        collector.start()
        await asyncio.sleep(2.0)

        async def enough() -> bool:
            return len(load.accepted) > LEAST

        await until(enough, SHIPPED_SECONDS)
        load.stopping = True
        await asyncio.gather(*callers)
        took = time.monotonic() - since
        await until(up)
        await until(shipped, SHIPPED_SECONDS)
    assert sidecar.stop() == 0
    assert collector.stop() == 0

    rows = Counter(scan(stage.store).to_table(columns=["event_id"])["event_id"].to_pylist())
    lost = [one for one in load.accepted if one not in rows]
    doubled = [one for one in load.accepted | load.unknown if rows[one] > 1]
    stored = len(load.accepted) - len(lost)
    unanswered = sum(one in rows for one in load.unknown)
    with capsys.disabled():
        print(f"\n  {sidecar.starts - 1} sidecar and {collector.starts - 1} collector kills,", end=" ")
        print(f"upstream away {AWAY_SECONDS:g} s, {took:.0f} s of load: accepted {len(load.accepted):,},", end=" ")
        print(f"stored {stored:,}, lost {len(lost)}, duplicated {len(doubled)}", end=" ")
        print(f"(and {len(load.unknown):,} whose answer was cut off, {unanswered:,} of them stored)")
    assert not load.refused
    assert not lost
    assert not doubled
