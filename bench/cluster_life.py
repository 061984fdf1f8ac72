"""What happens to a cluster on one machine: shoppers, kills, a lost broker; and what became of all that it accepted."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from cluster import COLLECTORS, PATIENCE_SECONDS, SIDECARS, ClusterOfOne, Process

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from kafka_broker import KafkaBroker

CALLERS = 4
PAUSE_SECONDS = 0.005  # of a caller between two visits
FROZEN_SECONDS = 6.0  # beyond the session of a collector
QUIET_SECONDS = 3.0  # beyond the group of a collector: a store that has not grown for so long has all


@dataclass
class Seen:
    """What the callers know: an id is accepted once answered 2xx, unknown when its connection broke."""

    accepted: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    over: bool = False

    def take(self, status: int, good: int, ids: Sequence[str | None]) -> None:
        if status == good:
            self.accepted.update(one for one in ids if one is not None)
        else:
            self.refused[status] += 1


async def caller(number: int, url: str, seen: Seen) -> None:
    """Ask and report without end, never twice the same."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        visit = 0
        while not seen.over:
            visit += 1
            await asyncio.sleep(PAUSE_SECONDS)
            who = {"user_id": f"u{number}-{visit}", "session_id": f"s{number}-{visit}"}
            body = {"placement": "pdp", "attributes": {"country": "DE"}, **who}
            ids = [f"caller-{number}-{visit}-{part}" for part in range(3)]
            events = [{"type": "click", "event_id": one, "item_id": "i1", "placement": "pdp", **who} for one in ids]
            try:
                async with http.post(f"{url}/v1/assign", json=body) as answer:
                    seen.take(answer.status, 200, [(await answer.json()).get("exposure_id")])
                async with http.post(f"{url}/v1/events", json=events) as answer:
                    seen.take(answer.status, 202, ids)
            except (aiohttp.ClientError, TimeoutError):
                seen.unknown.update(ids)
                await asyncio.sleep(0.02)


async def trouble(cluster: ClusterOfOne, seconds: float, chance: random.Random) -> None:
    """Kill sidecars and collectors in turn, the broker once, and freeze a collector beyond its session."""
    end, frozen = time.monotonic() + seconds, cluster.collectors[0]
    once = iter((0.2, 0.5, 2.0))  # when, as a part of the time: freeze a collector, kill the broker
    due = next(once)
    while (now := time.monotonic()) < end:
        if 1 - (end - now) / seconds >= due:
            await (freeze(frozen) if due == 0.2 else lose_broker(cluster.broker))
            due = next(once)
        victim = chance.choice([*cluster.sidecars, *cluster.collectors])
        victim.kill()
        victim.start()
        await asyncio.sleep(chance.uniform(1.0, 3.0))


async def freeze(process: Process) -> None:
    assert process.running is not None
    process.running.send_signal(signal.SIGSTOP)
    await asyncio.sleep(FROZEN_SECONDS)
    process.running.send_signal(signal.SIGCONT)


async def lose_broker(broker: KafkaBroker) -> None:
    broker.kill()
    await asyncio.sleep(1.0)
    broker.launch()
    await asyncio.to_thread(broker.until_ready)


async def run(cluster: ClusterOfOne, seconds: float, chance: random.Random) -> Seen:
    """Let shoppers come for some seconds amid trouble, and wait until what was accepted has left the spools."""
    await up(cluster)
    seen = Seen()
    loop = asyncio.get_running_loop()
    callers = [loop.create_task(caller(n, cluster.urls[n % SIDECARS], seen)) for n in range(CALLERS)]
    await trouble(cluster, seconds, chance)
    seen.over = True
    await asyncio.gather(*callers)
    await up(cluster)
    assert [one.stop() for one in cluster.sidecars] == [0] * SIDECARS  # a drain ships what is sealed
    return seen


async def up(cluster: ClusterOfOne) -> None:
    """Wait until every sidecar decides."""
    async with aiohttp.ClientSession() as http:
        for url in cluster.urls:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await decides(http, url):  # noqa: ASYNC110 it calls nobody
                    await asyncio.sleep(0.05)


async def decides(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/v1/status") as answer:
            return bool((await answer.json())["revision"])
    except aiohttp.ClientError:
        return False


def settled(cluster: ClusterOfOne, seen: Seen) -> Counter[tuple[str, str | None]]:
    """Return the store once it has all that was accepted and has stopped growing, or has not for long."""
    begun, before = time.monotonic(), Counter[tuple[str, str | None]]()
    while True:
        found = cluster.stored()
        has_all = seen.accepted <= {event for event, _ in found}
        if (has_all and found == before) or time.monotonic() - begun > PATIENCE_SECONDS:
            return found
        before = found
        time.sleep(QUIET_SECONDS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of what was accepted."""

    accepted: int
    stored: int
    lost: int
    doubled: int
    resends: int
    fenced: int
    refused: dict[int, int]

    @property
    def is_right(self) -> bool:
        return self.accepted > 0 and not self.lost and not self.doubled


def outcome(cluster: ClusterOfOne, seen: Seen) -> Outcome:
    """Look for everything, then stop the collectors."""
    found = settled(cluster, seen)
    assert [one.stop() for one in cluster.collectors] == [0] * COLLECTORS
    events = {event for event, _ in found}
    return Outcome(
        accepted=len(seen.accepted),
        stored=len(seen.accepted & events),
        lost=len(seen.accepted - events),
        doubled=sum(count > 1 for count in found.values()),
        resends=cluster.records() - len(events),
        fenced=sum(one.said(r" (fenced|lost) ") for one in cluster.collectors),
        refused=dict(seen.refused),
    )
