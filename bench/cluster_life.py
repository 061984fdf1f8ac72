"""What happens to a cluster on one machine: shoppers, kills, a lost broker; and what became of all that it accepted."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from cluster import PATIENCE_SECONDS, SIDECARS, ClusterOfOne, Process, stop_all

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from kafka_broker import KafkaBroker

CALLERS = 4
PAUSE_SECONDS = 0.005  # of a caller between two visits


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
            bought = ("add_to_cart", "click")[visit % 7 > 0]
            told: list[dict[str, object]] = [
                {"type": "page_view", "page_type": "pdp", "page_load_ms": 100 + visit % 90}
            ]
            told += [{"type": kind, "item_id": "i1", "placement": "pdp"} for kind in ("click", bought)]
            ids = [f"caller-{number}-{visit}-{part}" for part in range(len(told))]
            events = [{**event, "event_id": one, **who} for event, one in zip(told, ids, strict=True)]
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
    victims = in_turn([*cluster.sidecars, *cluster.collectors], chance)
    once = iter((0.2, 0.5, 2.0))  # when, as a part of the time: freeze a collector, kill the broker
    due = next(once)
    while (now := time.monotonic()) < end:
        if 1 - (end - now) / seconds >= due:
            await (freeze(frozen, 2 * cluster.session_seconds) if due == 0.2 else lose_broker(cluster.broker))
            due = next(once)
        victim = next(victims)
        victim.kill()
        victim.start()
        await asyncio.sleep(chance.uniform(1.0, 3.0))


def in_turn(processes: list[Process], chance: random.Random) -> Iterator[Process]:
    """Yield all in some order, then in another, without end: also where few are killed, each is."""
    while True:
        yield from chance.sample(processes, len(processes))


async def each_once(cluster: ClusterOfOne) -> None:
    """Kill a sidecar, a collector and the broker, a second apart; while that is away, the other sidecar too."""
    for victim in (cluster.sidecars[0], cluster.collectors[0]):
        await asyncio.sleep(1.0)
        victim.kill()
        victim.start()
    await asyncio.sleep(1.0)
    cluster.broker.kill()
    cluster.sidecars[1].kill()
    cluster.sidecars[1].start()
    cluster.broker.launch()
    await asyncio.to_thread(cluster.broker.until_ready)


async def freeze(process: Process, seconds: float) -> None:
    assert process.running is not None
    process.running.send_signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    process.running.send_signal(signal.SIGCONT)


async def lose_broker(broker: KafkaBroker) -> None:
    broker.kill()
    await asyncio.sleep(1.0)
    broker.launch()
    await asyncio.to_thread(broker.until_ready)


async def run(cluster: ClusterOfOne, amid: Callable[[], Coroutine[None, None, None]]) -> Seen:
    """Let shoppers come amid trouble until that is over, and wait until what was accepted has left the spools."""
    await up(cluster)
    seen = Seen()
    loop = asyncio.get_running_loop()
    callers = [loop.create_task(caller(n, cluster.urls[n % SIDECARS], seen)) for n in range(CALLERS)]
    await amid()
    seen.over = True
    await asyncio.gather(*callers)
    await up(cluster)
    assert not any(stop_all(cluster.sidecars))  # a drain ships what is sealed
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
    quiet = cluster.group_seconds + cluster.session_seconds  # of one that was killed and missed, and what it had
    while True:
        found = cluster.stored()
        has_all = seen.accepted <= {event for event, _ in found}
        if (has_all and found == before) or time.monotonic() - begun > PATIENCE_SECONDS:
            return found
        before = found
        time.sleep(quiet)


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
    assert not any(stop_all(cluster.collectors))
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
