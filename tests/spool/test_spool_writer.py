from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import PayloadSizeError, SpoolBusy, SpoolFailed, SpoolFull
from abside.spool.frame import MAGIC, MAX_PAYLOAD_BYTES, frame
from abside.spool.queue.reader import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from abside.spool.write.writer import Spool

FRAMED = len(frame(b"e" * 92))  # 100 bytes


@pytest.fixture
def running() -> Callable[[Spool], AbstractAsyncContextManager[None]]:
    """Run a spool's background loop for a while."""

    @asynccontextmanager
    async def run(spool: Spool) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(spool.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return run


async def test_what_was_appended_is_in_the_file_at_once(open_spool: Any, payloads_in: Any) -> None:
    spool = open_spool()
    spool.append([b"one", b"two"])
    spool.append([b"three"])
    assert payloads_in(open_spool.directory / "q") == [b"one", b"two", b"three"]
    assert spool.stats.appended_events == 3
    assert spool.used_bytes == len(MAGIC) + sum(len(frame(one)) for one in (b"one", b"two", b"three"))


async def test_a_seal_turns_the_open_file_into_a_segment_and_starts_the_next(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    spool.append([b"two"])
    names = sorted(path.name for path in (open_spool.directory / "q").iterdir())
    assert names == ["00001700000000000001-boot1.seg", "00001700000000000002-boot1.open"]
    [segment] = spool.sealed()
    assert (await read(segment)).payloads == [b"one"]
    assert (segment.name, segment.size) == ("00001700000000000001-boot1", len(MAGIC) + len(frame(b"one")))
    assert (spool.waiting.segments, spool.waiting.bytes) == (1, segment.size)


async def test_sealing_nothing_makes_no_segment(open_spool: Any) -> None:
    spool = open_spool()
    await spool.seal()
    assert spool.sealed() == []
    assert len(list((open_spool.directory / "q").iterdir())) == 1


async def test_appends_go_on_while_a_seal_is_under_way(open_spool: Any, payloads_in: Any) -> None:
    spool = open_spool(fsync="interval")
    spool.append([b"before"])
    sealing = asyncio.gather(spool.seal())
    while not spool.sealed():
        spool.append([b"meanwhile"])
        await asyncio.sleep(0)
    await sealing
    assert spool.stats.appended_events >= 2
    assert len(payloads_in(open_spool.directory / "q")) == spool.stats.appended_events
    assert (await read(spool.sealed()[0])).payloads[0] == b"before"


async def test_a_cancelled_seal_is_finished_by_the_next(open_spool: Any, eventually: Any) -> None:
    spool = open_spool(fsync="interval")
    spool.append([b"one"])
    sealing = asyncio.get_running_loop().create_task(spool.seal())
    while spool._sealing.job is None:  # noqa: ASYNC110 turn by turn: its thread is at work then
        await asyncio.sleep(0)
    sealing.cancel()
    with suppress(asyncio.CancelledError):
        await sealing
    spool.append([b"two"])
    await spool.seal()
    contents = [(await read(segment)).payloads for segment in spool.sealed()]
    assert contents == [[b"one"], [b"two"]]


async def test_many_events_are_sealed_at_once_not_by_the_timer(open_spool: Any, running: Any, eventually: Any) -> None:
    spool = open_spool(seal_events=3, seal_seconds=3600.0, fsync_seconds=3600.0)
    async with running(spool):
        await asyncio.sleep(0)
        spool.append([b"1", b"2"])
        assert not spool.seal_due(0.0)
        spool.append([b"3"])
        assert spool.seal_due(0.0)
        assert spool._due.is_set(), "the loop is woken, it does not wait for its next tick"
        await eventually(lambda: len(spool.sealed()) == 1)


async def test_many_bytes_are_sealed_at_once(open_spool: Any, running: Any, eventually: Any) -> None:
    spool = open_spool(seal_bytes=3 * FRAMED, seal_seconds=3600.0, fsync_seconds=3600.0)
    async with running(spool):
        spool.append([b"e" * 92] * 2)
        assert not spool.seal_due(0.0)
        spool.append([b"e" * 92])
        assert spool._due.is_set()
        await eventually(lambda: len(spool.sealed()) == 1)


async def test_the_more_segments_wait_the_larger_the_next_grows_within_a_bound(open_spool: Any) -> None:
    spool = open_spool(seal_events=10, seal_growth=3, seal_seconds=3600.0)
    sizes = []
    for _ in range(4):
        while not spool.seal_due(0.0):
            spool.append([b"x"])
        await spool.seal()
        sizes.append(spool.sealed()[-1].events)
    # A file is begun when the one before it is put up for sealing, which does not wait yet.
    assert sizes == [10, 10, 20, 30]
    for segment in spool.sealed():
        await spool.backlog.acknowledge(segment)
    spool.append([b"x"] * 30)
    await spool.seal()  # begun while three waited
    spool.append([b"x"] * 10)
    assert spool.seal_due(0.0)


async def test_a_segment_never_grows_to_where_appends_are_refused(open_spool: Any) -> None:
    spool = open_spool(seal_bytes=3_000, max_open_bytes=8_000, seal_growth=4, seal_seconds=3600.0)
    for _ in range(8):
        while not spool.seal_due(0.0):
            spool.append([b"x" * 100])
        await spool.seal()
    assert max(segment.size for segment in spool.sealed()) < 8_000


async def test_few_events_are_sealed_by_age(open_spool: Any, running: Any, eventually: Any, clock: Any) -> None:
    spool = open_spool(seal_seconds=5.0, fsync_seconds=0.02)
    clock.seconds = 100.0
    spool.append([b"1"])
    clock.seconds = 104.9
    assert not spool.seal_due(clock.seconds)
    clock.seconds = 105.0
    assert spool.seal_due(clock.seconds)
    async with running(spool):
        await eventually(lambda: len(spool.sealed()) == 1)
    assert not spool.seal_due(clock.seconds + 1000.0), "there is nothing to seal"


@pytest.mark.parametrize(
    ("payloads", "is_quiet"), [([b"1"] * 99, True), ([b"1"] * 100, False), ([b"x" * 65_536], False)]
)
async def test_a_segment_of_few_events_waits_longer_until_it_is_worth_a_batch(
    open_spool: Any, clock: Any, payloads: list[bytes], is_quiet: bool
) -> None:
    spool = open_spool(seal_seconds=5.0, quiet_seconds=30.0)
    spool.append(payloads)
    clock.seconds = 4.9
    assert not spool.seal_due(clock.seconds)
    clock.seconds = 5.0
    assert spool.seal_due(clock.seconds) is not is_quiet
    clock.seconds = 29.9
    assert spool.seal_due(clock.seconds) is not is_quiet
    clock.seconds = 30.0
    assert spool.seal_due(clock.seconds)


async def test_a_quiet_segment_that_gets_its_hundredth_event_is_sealed_then(open_spool: Any, clock: Any) -> None:
    spool = open_spool(seal_seconds=5.0, quiet_seconds=30.0)
    spool.append([b"1"] * 99)
    clock.seconds = 12.0
    assert not spool.seal_due(clock.seconds)
    spool.append([b"1"])
    assert spool.seal_due(clock.seconds)


async def test_the_wait_of_a_quiet_segment_is_never_shorter_than_that_of_others(open_spool: Any, clock: Any) -> None:
    spool = open_spool(seal_seconds=60.0, quiet_seconds=30.0)
    spool.append([b"1"])
    clock.seconds = 59.9
    assert not spool.seal_due(clock.seconds)


async def test_a_drain_waits_for_no_age(open_spool: Any) -> None:
    spool = open_spool(seal_seconds=5.0, quiet_seconds=30.0)
    spool.append([b"1"])
    await spool.close()
    assert [path.suffix for path in (spool.settings.directory / "q").iterdir()] == [".seg"]


async def test_with_many_segments_waiting_age_does_not_seal_but_size_does(open_spool: Any, clock: Any) -> None:
    spool = open_spool(max_waiting_for_age_seal=2, seal_events=10, seal_growth=1)
    for _ in range(2):
        spool.append([b"x"])
        await spool.seal()
    spool.append([b"x"])
    clock.seconds += 3600.0
    assert not spool.seal_due(clock.seconds)
    spool.append([b"x"] * 9)
    assert spool.seal_due(clock.seconds)
    await spool.seal()
    await spool.backlog.acknowledge(spool.sealed()[0])
    await spool.backlog.acknowledge(spool.sealed()[0])
    spool.append([b"x"])
    clock.seconds += 5.0
    assert spool.seal_due(clock.seconds)


async def test_beyond_the_quota_nothing_is_written_and_room_comes_back_with_an_acknowledgement(
    open_spool: Any, payloads_in: Any
) -> None:
    spool = open_spool(limit_bytes=len(MAGIC) * 2 + 3 * FRAMED)
    spool.append([b"e" * 92] * 3)
    with pytest.raises(SpoolFull) as refused:
        spool.append([b"f" * 92] * 2)
    assert refused.value.reason == "quota"
    assert refused.value.used_bytes == spool.used_bytes
    assert str(open_spool.directory) in str(refused.value)
    assert spool.stats.full_events == 2
    await spool.seal()
    with pytest.raises(SpoolFull):
        spool.append([b"f" * 92])
    await spool.backlog.acknowledge(spool.sealed()[0])
    spool.append([b"f" * 92])
    assert payloads_in(open_spool.directory / "q") == [b"f" * 92]


async def test_below_the_free_space_floor_nothing_is_written(open_spool: Any, payloads_in: Any) -> None:
    spool = open_spool(floor_bytes=2**62)
    with pytest.raises(SpoolFull) as refused:
        spool.append([b"x"])
    assert refused.value.reason == "floor"
    assert "floor" in str(refused.value)
    assert payloads_in(open_spool.directory / "q") == []


async def test_an_open_segment_that_cannot_be_sealed_does_not_grow_for_ever(open_spool: Any) -> None:
    spool = open_spool(max_open_bytes=len(MAGIC) + 2 * FRAMED)
    spool.append([b"e" * 92] * 2)
    with pytest.raises(SpoolFull) as refused:
        spool.append([b"e" * 92])
    assert refused.value.reason == "stuck"
    await spool.seal()
    spool.append([b"e" * 92])


@pytest.mark.parametrize("bad", [b"", bytes(MAX_PAYLOAD_BYTES + 1)])
async def test_a_payload_no_frame_carries_refuses_the_whole_append(
    open_spool: Any, payloads_in: Any, bad: bytes
) -> None:
    spool = open_spool()
    with pytest.raises(PayloadSizeError):
        spool.append([b"good", bad])
    assert payloads_in(open_spool.directory / "q") == []
    assert spool.stats.oversize_events == 2


async def test_a_second_owner_is_told_who_owns_the_directory(open_spool: Any) -> None:
    open_spool()
    with pytest.raises(SpoolBusy, match=f"in use by another process \\(process {os.getpid()}\\)"):
        open_spool("boot2")


async def test_a_second_owner_of_the_open_directory_alone_is_refused_and_leaves_nothing_locked(
    open_spool: Any, tmp_path: Path
) -> None:
    first = open_spool(open_directory=tmp_path / "memory")
    with pytest.raises(SpoolBusy):
        open_spool("boot2", directory=tmp_path / "other", open_directory=tmp_path / "memory")
    await first.close()
    open_spool("boot2", directory=tmp_path / "other", open_directory=tmp_path / "memory")


async def test_a_closed_spool_lets_the_next_owner_in_and_refuses_appends(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"last"])
    await spool.close()
    await spool.close()
    with pytest.raises(SpoolFailed, match="the spool is closed"):
        spool.append([b"late"])
    again = open_spool("boot2")
    assert [(await read(segment)).payloads for segment in again.sealed()] == [[b"last"]]
    assert not list((open_spool.directory / "q").glob("*boot1.open"))


async def test_a_directory_that_cannot_be_made_is_named(open_spool: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolFailed, match=r"could not prepare the directory .*file/spool"):
        open_spool(directory=tmp_path / "file" / "spool")


@pytest.mark.parametrize("boot", ["", "../../x", "a.b", "x" * 33, "a b"])
def test_a_boot_id_that_could_not_name_files_is_refused(open_spool: Any, boot: str) -> None:
    with pytest.raises(ValueError, match="names files"):
        open_spool(boot)


async def test_sequence_numbers_go_on_from_what_lies_there_even_when_the_clock_went_back(open_spool: Any) -> None:
    first = open_spool()
    first.append([b"one"])
    await first.seal()
    await first.close()
    open_spool.clock.seconds = -86_400.0
    second = open_spool("boot2")
    second.append([b"two"])
    await second.seal()
    assert [(await read(segment)).payloads for segment in second.sealed()] == [[b"one"], [b"two"]]
    assert second.sealed()[1].seq > second.sealed()[0].seq


async def test_a_sync_policy_that_waits_shares_one_sync_among_many_callers(open_spool: Any) -> None:
    spool = open_spool(fsync="always")
    done: list[int] = []

    async def handler(number: int) -> None:
        spool.append([b"%d" % number])
        await spool.synced()
        done.append(number)

    await asyncio.gather(*(handler(number) for number in range(50)))
    assert sorted(done) == list(range(50))
    await spool.synced()  # there is nothing to wait for


@pytest.mark.parametrize("policy", ["never", "interval", "always"])
async def test_under_every_policy_events_are_sealed_and_read_back(
    open_spool: Any, running: Any, eventually: Any, policy: str
) -> None:
    spool = open_spool(fsync=policy, seal_events=10, fsync_seconds=0.02)
    async with running(spool):
        for number in range(35):
            spool.append([b"%d" % number])
            await spool.synced()
            await asyncio.sleep(0)
        await eventually(lambda: len(spool.sealed()) >= 1)
    await spool.seal()
    contents = [payload for segment in spool.sealed() for payload in (await read(segment)).payloads]
    assert contents == [b"%d" % number for number in range(35)]


async def test_a_sync_waits_for_events_of_the_segment_that_is_being_sealed_too(open_spool: Any) -> None:
    spool = open_spool(fsync="always")
    spool.append([b"one"])
    sealing = asyncio.gather(spool.seal())
    await asyncio.sleep(0)
    await spool.synced()
    assert len(spool.sealed()) == 1
    await sealing
