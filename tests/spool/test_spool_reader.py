from __future__ import annotations

import asyncio
from typing import Any

import pytest

from abside.files import FileRefusedError
from abside.spool.frame import MAGIC, frame
from abside.spool.queue.reader import read


async def test_every_bit_flip_in_a_sealed_segment_is_noticed_and_costs_its_own_event_at_most(open_spool: Any) -> None:
    payloads = [b"one", b"two", b"three"]
    spool = open_spool()
    spool.append(payloads)
    await spool.seal()
    [segment] = spool.sealed()
    data = segment.path.read_bytes()
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        segment.path.write_bytes(flipped)
        contents = await read(segment)
        assert contents.damage
        hit = -1 if position < 8 * len(MAGIC) else min(2, (position // 8 - len(MAGIC)) // len(frame(b"one")))
        assert contents.payloads == [one for number, one in enumerate(payloads) if number != hit]
        assert contents.rest in bytes(flipped)
    assert (len(MAGIC), len(frame(b"one"))) == (8, 11)
    assert "byte 30" in contents.damage


async def test_a_segment_that_is_gone_or_cannot_be_read_now_is_not_called_damaged(
    open_spool: Any, no_descriptors: Any
) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    [segment] = spool.sealed()
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        await read(segment)
    assert (await read(segment)).payloads == [b"one"]
    segment.path.unlink()
    with pytest.raises(FileNotFoundError):
        await read(segment)
    segment.path.mkdir()
    with pytest.raises(FileRefusedError, match="is a directory"):
        await read(segment)
    segment.path.rmdir()


async def test_reading_a_long_segment_gives_way_to_the_loop(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"%d" % number for number in range(4000)])
    await spool.seal()
    [segment] = spool.sealed()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count())
    contents = await read(segment)
    counting.cancel()
    assert len(contents.payloads) == 4000
    assert turns >= 30


async def test_a_waiting_reader_is_woken_by_a_seal(open_spool: Any) -> None:
    spool = open_spool()
    waiting = asyncio.gather(spool.backlog.news())
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.append([b"one"])
    await spool.seal()
    await asyncio.wait_for(waiting, 10.0)
    assert len(spool.sealed()) == 1


async def test_the_cursor_stands_in_the_files_name_and_outlives_the_process(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one", b"two"])
    await spool.seal()
    moved = await spool.backlog.advance(spool.sealed()[0], ".1")
    assert moved.path.name.endswith("-boot1.1.seg")
    await spool.close()
    again = open_spool("boot2")
    assert again.sealed() == [moved]


async def test_acknowledging_what_was_already_unlinked_is_no_failure(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    [segment] = spool.sealed()
    segment.path.unlink()
    await spool.backlog.acknowledge(segment)
    assert spool.stats.failures == 0
    assert spool.waiting.bytes == 0
