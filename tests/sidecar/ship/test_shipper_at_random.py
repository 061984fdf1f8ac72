"""Eight in flight, answers in any order and of any kind, some batches always refused a success, kills in between: all
that was accepted arrives or is dead."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.frame import good_frames
from abside.spool.queue.returning import ask
from abside.spool.segment import OPEN, SEALED, home, listed, share, stem
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

EVENT_BYTES = 8
SEGMENTS, EVENTS = 24, 8
BAD = range(5, SEGMENTS * EVENTS, 29)  # events that the collector refuses
QUICK = ShipperSettings("h", first_seconds=0.0005, longest_seconds=0.002, rejected_seconds=0.0005, slow_seconds=0.002)


class World:
    """One spool over several lives, and where it ships to: slow, choosy, and its answers may get lost."""

    takes_large = True
    in_order = False
    in_flight = 8

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.accepted: Counter[bytes] = Counter()
        self.stored: dict[str, bytes] = {}
        self.flying: set[str] = set()
        self.tried: list[str] = []  # segments in this life, by their first try
        self.returned: set[str] = set()
        self.lives = self.most = self.twice = self.too_many = 0
        self.calm = self.cured = False
        self.ill = set(self.chance.sample(range(SEGMENTS), 2))  # by their first events: these fail each time
        self.all_wait, self.two_fly = asyncio.Event(), asyncio.Event()
        self.begin()

    def begin(self) -> None:
        """Start as a new process does."""
        self.lives += 1
        self.tried.clear()
        self.returned.clear()
        settings = SpoolSettings(self.directory, floor_bytes=0, fsync="never")
        self.spool = Spool.open(settings, f"boot{self.lives}", lambda: 1)
        self.shipper = Shipper(self.spool, self, QUICK, lambda: 1)
        self.task = asyncio.get_running_loop().create_task(self.shipper.run())

    async def kill(self) -> None:
        """End between two steps of the disk, with whatever is in flight."""
        async with self.spool.backlog.disk:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        assert not self.flying
        await self.spool.close()

    async def seal(self) -> None:
        first = self.accepted.total()
        payloads = [b"ev%06d" % (first + number) for number in range(EVENTS)]
        self.spool.append(payloads)
        self.accepted.update(payloads)
        await self.spool.seal()

    async def bring_back(self) -> None:
        async with self.spool.backlog.disk:
            for path in (self.directory / "dead").glob("*.seg"):
                if (place := home(path.name)) is not None:
                    self.returned.add(stem(*place[:2]))
                ask(self.directory, path.name)
        await self.spool._returning.look(self.spool.used_bytes)

    async def send(self, batch: Batch) -> Result:
        """Answer after a while, in no order."""
        segment = batch.id.split(".")[1]
        self.twice += segment in self.flying
        self.flying.add(segment)
        self.most = max(self.most, len(self.flying))
        self.too_many += len(self.flying) > self.shipper._patience.in_flight
        if segment not in self.tried:
            self.tried.append(segment)
        if len(self.flying) > 1:
            self.two_fly.set()
        try:
            for _ in range(self.chance.randrange(40)):
                await asyncio.sleep(0)
            if self.calm:
                await self.see_two()
            return self.answer(batch)
        finally:
            self.flying.remove(segment)

    async def see_two(self) -> None:
        """Answer nothing until all segments wait, and then, after the first, until two are away."""
        await self.all_wait.wait()
        if self.shipper._patience.in_flight > 1:
            await asyncio.wait_for(self.two_fly.wait(), 60)

    def answer(self, batch: Batch) -> Result:
        events = payloads(batch)
        luck = 1.0 if self.calm else self.chance.random()
        if not self.cured and int(events[0][2:]) // EVENTS in self.ill:
            return self.chance.choice([Retry("HTTP 500"), Retry("HTTP 403", loud=True)])
        if luck < 0.2:
            return self.chance.choice(
                [Retry("HTTP 503"), Retry("a page", loud=True), Retry("429", after_seconds=0.001)]
            )
        if batch.id in self.stored:
            return Acked(duplicate=True)
        bad = next((index for index, event in enumerate(events) if int(event[2:]) in BAD), None)
        if bad is not None:
            return Rejected("HTTP 422", final=True, some_of_it=True, index=bad)
        if luck < 0.3 and batch.count > 1:
            return TooLarge()
        if luck < 0.5 and batch.id.count(".") == 1:  # a whole segment: it goes to dead/ in one step
            return Rejected("HTTP 422: what is this")
        self.stored[batch.id] = batch.payload
        return Retry("the answer got lost") if luck < 0.6 else Acked()

    async def check(self) -> None:
        """See that everything accepted is somewhere, that nothing is stored twice, and in which order it went."""
        async with self.spool.backlog.disk:
            dead = Counter(
                event
                for path in (self.directory / "dead").glob("*.seg")
                for event in good_frames(path.read_bytes()).payloads
            )
            waiting: Counter[bytes] = Counter()
            for segment in (one for suffix in (OPEN, SEALED) for one in listed(self.directory / "q", suffix)):
                events = good_frames(segment.path.read_bytes()).payloads
                waiting.update(events[share(segment.part, len(events)).start :])
        stored = Counter(self.arrived)
        assert set(stored) | set(waiting) | set(dead) == set(self.accepted)
        assert max(stored.values(), default=1) == 1
        # A refused event is in dead/ before the cursor passes it: brought back in between, it waits twice.
        good = {event for event in self.accepted if int(event[2:]) not in BAD}
        assert max((waiting[event] + dead[event] for event in good), default=1) <= 1
        assert set(stored).isdisjoint(dead)
        first_tries = [name for name in self.tried if name not in self.returned]
        assert first_tries == sorted(first_tries), "the oldest first"

    @property
    def arrived(self) -> list[bytes]:
        return [event for payload in self.stored.values() for event in cut(payload)]

    async def close(self) -> None:
        """Nothing is open."""


def cut(payload: bytes) -> list[bytes]:
    return [payload[start : start + EVENT_BYTES] for start in range(0, len(payload), EVENT_BYTES)]


def payloads(batch: Batch) -> list[bytes]:
    events = cut(batch.payload)
    assert len(events) == batch.count
    return events


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_is_answered_in_whatever_order_nothing_is_lost_or_doubled(
    tmp_path: Path, until: Any, seed: int
) -> None:
    world = World(tmp_path / "spool", seed)
    while world.accepted.total() < SEGMENTS * EVENTS:
        for _ in range(world.chance.randrange(60)):
            await asyncio.sleep(0)
        step = world.chance.choice(["seal", "seal", "seal", "kill", "bring back", "check"])
        if step == "kill":
            await world.kill()
            world.begin()
        elif step == "bring back":
            await world.bring_back()
        elif step == "seal":
            for _ in range(world.chance.randrange(1, 10)):
                await world.seal()
        await world.check()
    world.calm = True
    for _ in range(World.in_flight):
        await world.seal()
    world.all_wait.set()
    if seed % 2:  # all but what is ill arrives, for as long as that lasts
        await until(lambda: len(world.spool.backlog) == len(world.ill))
        await world.check()
    world.cured = True
    await world.shipper.drain(60.0)
    await world.check()
    assert len(world.spool.backlog) == world.shipper.in_flight == 0
    await world.kill()
    refused = {b"ev%06d" % number for number in BAD} & set(world.accepted)
    assert refused.isdisjoint(world.arrived)
    assert 1 < world.most <= World.in_flight
    assert (world.twice, world.too_many) == (0, 0), "no segment twice, and after a failure one alone"
