from __future__ import annotations

import asyncio
import errno
import random
import resource
import shutil
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.backoff import Backoff
from abside.sidecar.ship.shipper import Shipper, ShipperSettings, host_in_ids
from abside.sidecar.ship.turns import wait_after
from abside.sidecar.ship.unreadable import MEDIUM_TRIES, TABLE, row_of
from abside.spool.frame import good_frames
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from abside.upstream.contract import Batch, Result

NOW_US = 1_700_000_000_000_000
QUICK = ShipperSettings("pod-1", first_seconds=0.001, longest_seconds=0.01, rejected_seconds=0.001, slow_seconds=0.02)
PAYLOADS = [b"\x81\xa1n" + bytes([number]) for number in range(8)]


class Store:
    """An upstream that keeps what it is sent, by id, and first gives the answers it was built with."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, *answers: Result, takes: int = 1000) -> None:
        self.answers = list(answers)
        self.takes = takes
        self.tried: list[str] = []
        self.stored: dict[str, bytes] = {}

    async def send(self, batch: Batch) -> Result:
        self.tried.append(batch.id)
        await asyncio.sleep(0)
        if self.answers:
            return self.answers.pop(0)
        if batch.count > self.takes:
            return TooLarge()
        assert batch.count * len(PAYLOADS[0]) == len(batch.payload)
        known = batch.id in self.stored
        self.stored.setdefault(batch.id, batch.payload)
        return Acked(duplicate=known)

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def events(self) -> bytes:
        return b"".join(self.stored.values())


def start(directory: Path, boot: str = "boot1", **changes: Any) -> Spool:
    settings = SpoolSettings(directory, floor_bytes=0, fsync="never", **changes)
    return Spool.open(settings, boot, lambda: NOW_US)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = start(tmp_path / "spool")
    yield opened
    asyncio.run(opened.close())


def shipper_of(spool: Spool, upstream: Any, settings: ShipperSettings = QUICK) -> Shipper:
    return Shipper(spool, upstream, settings, lambda: NOW_US)


@asynccontextmanager
async def running(shipper: Shipper) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(shipper.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < deadline, "it did not come about within ten seconds"
        await asyncio.sleep(0.002)


async def sealed(spool: Spool, payloads: list[bytes] = PAYLOADS) -> None:
    spool.append(payloads)
    await spool.seal()


def left(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.settings.directory / "q").glob("*.seg"))


def dead(spool: Spool) -> dict[str, list[bytes]]:
    files = (spool.settings.directory / "dead").glob("*.seg")
    return {path.name: good_frames(path.read_bytes()).payloads for path in sorted(files)}


def reasons(spool: Spool) -> str:
    return "".join(path.read_text() for path in (spool.settings.directory / "dead").glob("*.reason"))


async def test_segments_go_oldest_first_and_are_unlinked_when_they_arrived(spool: Spool) -> None:
    for number in range(3):
        await sealed(spool, [PAYLOADS[number]])
    store = Store()
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
        await sealed(spool, [PAYLOADS[3]])
        await eventually(lambda: not left(spool))
    assert list(store.stored.values()) == PAYLOADS[:4]
    assert store.tried[0] == "pod-1.00001700000000000001-boot1"
    assert left(spool) == []
    stats = shipper.stats
    assert (stats.acked_batches, stats.acked_events, stats.acked_bytes) == (4, 4, 16)
    assert (stats.last_success_us, stats.retries, stats.last_error) == (NOW_US, 0, "")


async def test_failures_are_retried_with_the_same_id_until_it_arrives(spool: Spool) -> None:
    await sealed(spool)
    await sealed(spool)
    store = Store(*[Retry("HTTP 503: sick")] * 5)
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: shipper.stats.failing_since_us > 0)
        await eventually(lambda: not spool.sealed())
    assert store.tried[:6] == store.tried[:2] * 3, "the turn goes round"
    assert store.events == b"".join(PAYLOADS) * 2
    assert (shipper.stats.retries, shipper.stats.failing_since_us) == (5, 0)
    assert shipper.stats.last_error == "HTTP 503: sick"


async def test_a_crash_between_answer_and_unlink_sends_the_same_id_again(spool: Spool, tmp_path: Path) -> None:
    await sealed(spool)
    image = tmp_path / "image"
    shutil.copytree(spool.settings.directory, image)
    store = Store()
    async with running(shipper_of(spool, store)):
        await eventually(lambda: not spool.sealed())
    again = start(image, "boot2")
    shipper = shipper_of(again, store)
    async with running(shipper):
        await eventually(lambda: not again.sealed())
    assert store.events == b"".join(PAYLOADS)
    assert shipper.stats.duplicates == 1
    await again.close()


async def test_a_batch_that_is_too_large_is_halved_until_it_fits(spool: Spool) -> None:
    await sealed(spool)
    store = Store(takes=3)
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: not left(spool))
    name = "pod-1.00001700000000000001-boot1"
    assert list(store.stored) == [f"{name}{part}" for part in (".0.0", ".0.1", ".1.0", ".1.1")]
    assert store.events == b"".join(PAYLOADS)
    assert (shipper.stats.halved, shipper.stats.acked_batches) == (3, 4)
    assert left(spool) == []


class Abrupt(Store):
    """A store whose sender is killed at its n-th delivery: before the batch arrived, or before the answer did."""

    kill_at = 0
    arrived = False

    def __init__(self) -> None:
        super().__init__(takes=1)
        self.killed = asyncio.Event()

    async def send(self, batch: Batch) -> Result:
        self.kill_at -= 1
        if self.kill_at < 0:
            if self.arrived:
                await super().send(batch)
            self.killed.set()
            await asyncio.Event().wait()
        return await super().send(batch)


@pytest.mark.parametrize("seed", range(8))
async def test_killed_at_any_moment_while_halving_nothing_is_lost_or_doubled(tmp_path: Path, seed: int) -> None:
    directory = tmp_path / "spool"
    spool = start(directory)
    await sealed(spool)
    await spool.close()
    store = Abrupt()
    chance = random.Random(seed)
    lives = 0
    while list((directory / "q").glob("*.seg")):
        lives += 1
        spool = start(directory, f"boot{lives}")
        store.kill_at, store.arrived = chance.randrange(4), chance.choice([True, False])
        task = asyncio.get_running_loop().create_task(shipper_of(spool, store).run())
        await eventually(lambda: store.killed.is_set() or not spool.sealed())  # noqa: B023 the one of this life
        store.killed.clear()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await spool.close()
        # Whoever got a part must not get the whole later, though its bound was raised: the cursor decides.
        store.takes = max(store.takes, chance.choice([1, 1, 2, 8]))
    assert lives > 2
    assert store.events == b"".join(PAYLOADS)


@pytest.mark.parametrize("answer", [TooLarge(), Rejected("HTTP 400: what is this")])
async def test_segments_stay_small_for_an_upstream_that_may_not_take_large_ones_or_refuses_one(
    spool: Spool, answer: Result
) -> None:
    assert spool.backlog.growth > 1
    other = Store()
    other.takes_large = False
    shipper_of(spool, other)
    assert spool.backlog.growth == 1
    spool.backlog.growth = 4
    await sealed(spool)
    async with running(shipper_of(spool, Store(answer))):
        await eventually(lambda: not spool.sealed())
    assert spool.backlog.growth == 1


async def test_one_event_that_is_too_large_dies_alone(spool: Spool) -> None:
    await sealed(spool, PAYLOADS[:2])
    store = Store(TooLarge(), TooLarge())
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    assert dead(spool) == {"00001700000000000001-boot1.0.seg": [PAYLOADS[0]]}
    assert "one event of 4 bytes is more than the upstream takes" in reasons(spool)
    assert store.events == PAYLOADS[1]
    assert (shipper.stats.dead_events, shipper.stats.acked_events) == (1, 1)


async def test_a_rejected_batch_has_three_tries_and_then_lies_in_dead_with_the_reason(spool: Spool) -> None:
    await sealed(spool)
    await sealed(spool, PAYLOADS[:1])
    store = Store(*[Rejected("HTTP 422: MALFORMED")] * 3)
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    assert len(store.tried) == 4
    assert dead(spool) == {"00001700000000000001-boot1.seg": PAYLOADS}
    assert reasons(spool) == "HTTP 422: MALFORMED\n"
    assert store.events == PAYLOADS[0]
    assert (shipper.stats.rejected, shipper.stats.dead_batches, shipper.stats.dead_events) == (3, 1, 8)


async def test_a_rejection_that_passes_leaves_nothing_dead(spool: Spool) -> None:
    await sealed(spool)
    store = Store(Rejected("HTTP 404: a proxy"), Retry("HTTP 503"), Rejected("HTTP 404: a proxy"))
    async with running(shipper_of(spool, store)):
        await eventually(lambda: not spool.sealed())
    assert dead(spool) == {}
    assert store.events == b"".join(PAYLOADS)


async def test_a_final_rejection_is_not_tried_again(spool: Spool) -> None:
    await sealed(spool)
    store = Store(Rejected("cannot be said", final=True))
    async with running(shipper_of(spool, store)):
        await eventually(lambda: not spool.sealed())
    assert len(store.tried) == 1
    assert dead(spool) == {"00001700000000000001-boot1.seg": PAYLOADS}


async def test_a_wrong_token_is_retried_for_ever_and_says_so(spool: Spool) -> None:
    await sealed(spool)
    store = Store(*[Retry("HTTP 401: no token", loud=True)] * 4)
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: shipper.stats.loud == "HTTP 401: no token")
        await eventually(lambda: not spool.sealed())
    assert shipper.stats.loud == ""
    assert store.events == b"".join(PAYLOADS)
    assert dead(spool) == {}


async def test_a_damaged_event_lies_in_dead_and_costs_none_of_its_neighbours(spool: Spool) -> None:
    await sealed(spool)
    await sealed(spool, PAYLOADS[:1])
    path = spool.sealed()[0].path
    data = bytearray(path.read_bytes())
    data[80] ^= 1
    path.write_bytes(data)
    store = Store()
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    assert store.events == b"".join(PAYLOADS[:6] + PAYLOADS[7:]) + PAYLOADS[0]
    rest = spool.settings.directory / "dead" / "00001700000000000001-boot1.damaged"
    assert rest.read_bytes() == data[80:92]
    assert "checksum is wrong at byte 80; the 7 good events of the segment were handled" in reasons(spool)
    assert shipper.stats.damaged_segments == 1


async def test_the_events_a_damaged_segment_took_with_it_are_counted_where_it_is_known_how_many_there_were(
    spool: Spool, tmp_path: Path
) -> None:
    await sealed(spool)
    path = spool.sealed()[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    image = tmp_path / "image"
    shutil.copytree(spool.settings.directory, image)
    shipper = shipper_of(spool, Store())
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    assert (shipper.stats.acked_events, shipper.stats.dead_events, shipper.stats.uncounted_segments) == (7, 1, 0)
    assert (spool.stats.buried_events, spool.stats.uncounted_segments) == (1, 0)
    again = start(image, "boot2")  # a process that did not write it cannot know
    shipper = shipper_of(again, Store())
    async with running(shipper):
        await eventually(lambda: not again.sealed())
    assert (shipper.stats.acked_events, shipper.stats.dead_events, shipper.stats.uncounted_segments) == (7, 0, 1)
    assert (again.stats.buried_events, again.stats.uncounted_segments) == (0, 1)
    await again.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave this process no descriptor it could open; those that are open stay good."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("answers", [[], [TooLarge()], [TooLarge(), Acked()]], ids=["whole", "first half", "second"])
async def test_a_process_without_descriptors_loses_nothing_and_ships_when_it_has_some(
    spool: Spool, answers: list[Result]
) -> None:
    await sealed(spool)
    store = Store(*answers)
    shipper = shipper_of(spool, store)
    for _ in answers:
        await shipper._step()
    part = spool.sealed()[0].part
    with no_descriptors():
        for _ in range(2 * MEDIUM_TRIES):
            assert 0.0 <= await shipper._step() <= 0.01
    assert [segment.part for segment in spool.sealed()] == [part]
    assert (shipper.stats.unreadable, shipper.stats.retries) == (2 * MEDIUM_TRIES, 2 * MEDIUM_TRIES)
    assert "Too many open files" in shipper.stats.last_error
    assert shipper.stats.failing_since_us == NOW_US
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    half = b"".join(PAYLOADS[4:])
    assert store.events == (half if len(answers) == 2 else b"".join(PAYLOADS))
    assert (dead(spool), left(spool), shipper.stats.dead_events) == ({}, [], 0)


@pytest.mark.parametrize(("part", "lost"), [("", 8), (".0.1", 6), (".1", 4)])
async def test_what_the_medium_does_not_give_back_is_buried_after_a_named_number_of_tries_and_counted(
    spool: Spool, part: str, lost: int
) -> None:
    await sealed(spool)
    await sealed(spool, PAYLOADS[:1])
    segment = await spool.backlog.advance(spool.sealed()[0], part) if part else spool.sealed()[0]
    segment.path.unlink()
    segment.path.mkdir()  # no file any more
    store = Store()
    shipper = shipper_of(spool, store)
    for _ in range(MEDIUM_TRIES - 1):
        await shipper._step()
    assert len(spool.sealed()) == 2
    async with running(shipper):
        await eventually(lambda: not spool.sealed())
    assert store.events == PAYLOADS[0]
    stats = shipper.stats
    assert (stats.unreadable, stats.dead_batches, stats.dead_events) == (MEDIUM_TRIES, 1, lost)
    assert f"could not be read, tried {MEDIUM_TRIES} times: [Errno 22] is a directory" in reasons(spool)
    assert reasons(spool).strip() == stats.last_error
    assert spool.stats.buried_events == lost


def test_every_row_of_the_disks_retry_table_says_why() -> None:
    assert all(len(row.why) > 10 for row in TABLE)
    assert row_of(OSError(errno.EMFILE, "")).tries is None
    assert row_of(OSError(errno.EIO, "")).tries == row_of(OSError("unheard of")).tries == MEDIUM_TRIES


@pytest.mark.parametrize("content", [b"", b"no segment", b"ABSPOOL1\x00\x00\x00\x00\x00\x00\x00\x00"])
async def test_a_segment_without_a_good_event_is_buried_and_nothing_is_sent(spool: Spool, content: bytes) -> None:
    await sealed(spool)
    spool.sealed()[0].path.write_bytes(content)
    store = Store()
    async with running(shipper_of(spool, store)):
        await eventually(lambda: not spool.sealed())
    assert store.tried == []
    assert list(dead(spool)) == ["00001700000000000001-boot1.seg"]


async def test_a_segment_somebody_removed_does_not_stop_the_others(spool: Spool) -> None:
    await sealed(spool)
    await sealed(spool, PAYLOADS[:1])
    spool.sealed()[0].path.unlink()
    store = Store()
    async with running(shipper_of(spool, store)):
        await eventually(lambda: not spool.sealed())
    assert store.events == PAYLOADS[0]
    assert spool.used_bytes == 8, "only the next file's first bytes"


async def test_what_cannot_be_buried_is_tried_again_and_not_lost(spool: Spool) -> None:
    await sealed(spool)
    obstacle = spool.settings.directory / "dead" / "00001700000000000001-boot1.seg"
    obstacle.mkdir()
    store = Store(*[Rejected("no", final=True)] * 3)
    shipper = shipper_of(spool, store)
    async with running(shipper):
        await eventually(lambda: shipper.stats.retries >= 1)
        assert len(spool.sealed()) == 1
        await eventually(lambda: not spool.sealed())
    assert store.events == b"".join(PAYLOADS)


async def test_a_drain_interrupts_the_backoff_and_ships_what_it_can(spool: Spool) -> None:
    await sealed(spool)
    store = Store(Retry("HTTP 503", after_seconds=250.0))
    shipper = shipper_of(spool, store, ShipperSettings("pod-1"))
    task = asyncio.get_running_loop().create_task(shipper.run())
    await eventually(lambda: shipper.stats.wait_seconds >= 250.0)
    await sealed(spool, PAYLOADS[:1])
    await shipper.drain(20.0)
    assert spool.sealed() == []
    assert sorted(store.stored.values()) == sorted([b"".join(PAYLOADS), PAYLOADS[0]])
    await asyncio.wait_for(task, 10.0)


async def test_a_drain_keeps_its_deadline_and_leaves_the_rest_in_the_spool(spool: Spool) -> None:
    await sealed(spool)
    shipper = shipper_of(spool, Store(*[Retry("HTTP 503")] * 10_000))
    began = time.monotonic()
    await shipper.drain(0.2)
    assert time.monotonic() - began < 10.0
    assert len(spool.sealed()) == 1
    assert shipper.stats.retries > 0


async def test_a_drain_does_not_wait_for_an_upstream_that_never_answers(spool: Spool) -> None:
    class Silent(Store):
        async def send(self, batch: Batch) -> Result:
            await asyncio.Event().wait()
            raise AssertionError

    await sealed(spool)
    shipper = shipper_of(spool, Silent())
    async with running(shipper):
        await asyncio.sleep(0)
        await asyncio.wait_for(shipper.drain(0.1), 10.0)
    assert len(left(spool)) == 1


def test_waits_are_jittered_bounded_and_never_shorter_than_asked_for() -> None:
    settings = ShipperSettings("h")
    backoff = Backoff(chance=random.Random(3))
    plain = [wait_after(Retry("x"), backoff, settings) for _ in range(200)]
    assert max(plain[:3]) <= 0.4
    assert 25.0 < max(plain) <= 30.0
    asked = [wait_after(Retry("x", after_seconds=60.0), backoff, settings) for _ in range(50)]
    assert all(60.0 <= seconds <= 90.0 for seconds in asked)
    assert len(set(asked)) == 50
    absurd = [wait_after(Retry("x", after_seconds=1e9), backoff, settings) for _ in range(50)]
    assert all(300.0 <= seconds <= 330.0 for seconds in absurd)
    loud = [wait_after(Retry("x", loud=True), Backoff(), settings) for _ in range(50)]
    assert all(15.0 <= seconds <= 30.0 for seconds in loud)


@pytest.mark.parametrize(
    ("host", "cleaned"),
    [
        ("rec-service-7d9f-x2x", "rec-service-7d9f-x2x"),
        ("../../etc", "etc"),
        ("pod/1 é", "pod-1--"),
        ("", "host"),
        ("...", "host"),
        ("h" * 300, "h" * 40),
    ],
)
def test_a_host_is_made_fit_for_a_batch_id(host: str, cleaned: str) -> None:
    assert host_in_ids(host) == cleaned
