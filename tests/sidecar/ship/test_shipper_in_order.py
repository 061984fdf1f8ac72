"""The rule of the order, against a model of Kafka: what comes behind a later record of its series is dropped there.

The model promises what the properties of the producer promise: of each partition, the beginning of a batch is stored.
The reader is the one of docs/events.md.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.queue.returning import ask
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

EVENT_BYTES = 8
SEGMENTS, EVENTS, PARTITIONS = 24, 8, 3
BAD = frozenset(range(5, SEGMENTS * EVENTS, 29))  # events that are too large at first
QUICK = ShipperSettings("h", first_seconds=0.0005, longest_seconds=0.002, rejected_seconds=0.0005, slow_seconds=0.002)
Place = tuple[int, str]  # a partition and a series


class ModelTopic:
    """Partitions and their one reader."""

    takes_large = True
    in_flight = 1
    in_order = True

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.partitions = PARTITIONS
        self.bad: frozenset[int] = BAD
        self.highest: dict[Place, tuple[int, int]] = {}
        self.stored: Counter[bytes] = Counter()
        self.touched: set[tuple[str, int]] = set()  # series and seq of what is stored in part
        self.dropped = 0
        self.flying = 0

    async def send(self, batch: Batch) -> Result:
        self.flying += 1
        assert self.flying == 1
        try:
            for _ in range(self.chance.randrange(20)):
                await asyncio.sleep(0)
            return self.answer(batch)
        finally:
            self.flying -= 1

    def answer(self, batch: Batch) -> Result:
        events = [batch.payload[start : start + EVENT_BYTES] for start in range(0, len(batch.payload), EVENT_BYTES)]
        bad = next((index for index, event in enumerate(events) if int(event[2:]) in self.bad), None)
        if bad is not None:
            return Rejected("too large", final=True, some_of_it=True, index=bad)
        luck, place = self.chance.random(), (batch.series, batch.seq)
        if luck < 0.1 and batch.count > 1:
            return TooLarge()
        if luck < 0.2 and place not in self.touched:
            raise RuntimeError("a bug before anything was produced")
        if luck < 0.4:
            self.touched.add(place)
            ends = {number: self.chance.randrange(len(events) + 1) for number in range(self.partitions)}
            self.produce(batch, events, ends)
            return Retry("no answer")
        self.produce(batch, events, dict.fromkeys(range(self.partitions), len(events)))
        return Acked()

    def produce(self, batch: Batch, events: list[bytes], ends: dict[int, int]) -> None:
        """Store, of each partition, what comes before its end; the reader takes what is above the highest."""
        series = f"{batch.series}-{self.partitions}"
        for index, event in enumerate(events):
            partition = zlib.crc32(event) % self.partitions
            if index < ends[partition]:
                at = (batch.seq, batch.first + index)
                if at > self.highest.get((partition, series), (-1, -1)):
                    self.highest[partition, series] = at
                    self.stored[event] += 1
                else:
                    self.dropped += 1

    async def close(self) -> None:
        """Nothing is open."""


class Life:
    """One spool over several processes."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.chance = random.Random(seed)
        self.topic = ModelTopic(self.chance)
        self.accepted: list[bytes] = []
        self.hidden: list[Path] = []
        self.lives = 0
        self.begin()

    def begin(self) -> None:
        self.lives += 1
        settings = SpoolSettings(self.directory, floor_bytes=0, fsync="never")
        self.spool = Spool.open(settings, f"boot{self.lives}", lambda: 1)
        self.shipper = Shipper(self.spool, self.topic, QUICK, lambda: 1)
        self.task = asyncio.get_running_loop().create_task(self.shipper.run())

    async def kill(self) -> None:
        async with self.spool.backlog.disk:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        await self.spool.close()

    async def seal(self) -> None:
        payloads = [b"ev%06d" % (len(self.accepted) + number) for number in range(EVENTS)]
        self.spool.append(payloads)
        self.accepted += payloads
        await self.spool.seal()

    async def hide(self) -> None:
        """Make a segment unreadable that nothing of has been stored or is in somebody's hands: others pass it."""
        async with self.spool.backlog.disk:  # no thread is in the middle of a name
            seen = [one for one in self.spool.sealed() if one.path.is_file()]
            here = [one for one in seen if one not in self.shipper._flights]
            untouched = [one for one in here if (f"h-{one.boot}", one.seq) not in self.topic.touched]
            if untouched and not self.topic.flying:
                path = self.chance.choice(untouched).path
                path.rename(beside(path))
                path.mkdir()
                self.hidden.append(path)

    async def show(self) -> None:
        """Let all hidden segments be read again, under whatever name each has by now; after many tries in dead/."""
        async with self.spool.backlog.disk:
            for path in self.hidden:
                named = f"{path.name.split('.')[0]}[.-]*"
                places = (path.parent, self.directory / "dead")
                (found,) = (one for place in places for one in place.glob(named) if one.is_dir())
                found.rmdir()
                beside(path).rename(found)
            self.hidden.clear()

    async def bring_back(self, names: Iterable[str]) -> None:
        async with self.spool.backlog.disk:
            for name in names:
                ask(self.directory, name)
        await self.spool._returning.look(self.spool.used_bytes)

    @property
    def dead(self) -> list[str]:
        return [path.name for path in (self.directory / "dead").glob("*.seg")]


def beside(path: Path) -> Path:
    return path.parent.parent / f"hidden-{path.name.split('.')[0]}"


@pytest.mark.parametrize("seed", range(12))
async def test_a_reader_that_drops_re_sends_stores_every_event_once(tmp_path: Path, seed: int) -> None:
    life = Life(tmp_path / "spool", seed)
    while len(life.accepted) < SEGMENTS * EVENTS:
        for _ in range(life.chance.randrange(60)):
            await asyncio.sleep(0)
        step = life.chance.choice(["seal", "seal", "seal", "hide", "show", "kill", "bring back"])
        if step == "kill":
            await life.show()
            await life.kill()
            life.begin()
        elif step == "bring back":
            await life.bring_back(life.dead)
        elif step == "hide":
            await life.hide()
        elif step == "show":
            await life.show()
        else:
            for _ in range(life.chance.randrange(1, 6)):
                await life.seal()
    await life.show()
    await life.shipper.drain(60.0)
    assert not len(life.spool.backlog)
    life.topic.bad = frozenset()  # a person raised the bound
    await life.bring_back(life.dead)
    await life.shipper.drain(60.0)
    await life.kill()
    assert life.topic.stored == Counter(life.accepted)
    assert life.topic.dropped, "the seed has re-sends"
