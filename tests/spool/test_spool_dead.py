from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import SpoolFailed
from abside.spool.frame import MAGIC, frame, good_frames
from abside.spool.queue.dead import BLOCK_BYTES
from abside.spool.queue.returning import MAX_LOOKED_AT, requested
from abside.spool.write.calendar import Calendar

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.segment import Segment
    from abside.spool.write.writer import Spool

DAY_US = 86_400 * 1_000_000


async def sealed(spool: Spool, *payloads: bytes) -> Segment:
    spool.append(payloads)
    await spool.seal()
    return spool.sealed()[-1]


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "dead").iterdir())


async def test_a_buried_segment_lies_in_dead_with_its_reason_beside_it(open_spool: Any) -> None:
    spool = open_spool()
    segment = await sealed(spool, b"one")
    await spool.backlog.bury(segment, "HTTP 422: nobody wants it")
    assert files(open_spool.directory) == [f"{segment.name}.seg", f"{segment.name}.seg.reason"]
    kept = open_spool.directory / "dead" / f"{segment.name}.seg"
    assert good_frames(kept.read_bytes()).payloads == [b"one"]
    assert kept.with_name(kept.name + ".reason").read_text() == "HTTP 422: nobody wants it\n"
    assert spool.sealed() == []
    assert spool.backlog.bytes == 0
    assert (spool.backlog.dead.files, spool.stats.buried_segments) == (1, 1)


async def test_a_part_of_a_segment_is_buried_by_itself(open_spool: Any) -> None:
    spool = open_spool()
    segment = await spool.backlog.advance(await sealed(spool, b"one", b"two"), ".0")
    await spool.backlog.bury_part(segment, [b"one"], "too large")
    kept = open_spool.directory / "dead" / f"{segment.name}.seg"
    assert kept.read_bytes() == MAGIC + frame(b"one")
    assert spool.sealed() == [segment]


async def test_dead_keeps_its_quota_by_removing_the_oldest(open_spool: Any, clock: Any) -> None:
    spool = open_spool(dead_limit_bytes=2 * BLOCK_BYTES)
    names = []
    for number in range(3):
        clock.seconds += 1
        segment = await sealed(spool, b"%d" % number)
        await spool.backlog.bury(segment, "x")
        names.append(f"{segment.name}.seg")
    assert files(open_spool.directory) == sorted(f"{name}{end}" for name in names[1:] for end in ("", ".reason"))
    assert spool.stats.pruned_files == 1


async def test_dead_forgets_after_its_age_also_what_an_earlier_process_buried(open_spool: Any, clock: Any) -> None:
    first = open_spool(dead_age_seconds=100.0)
    await first.backlog.bury(await sealed(first, b"one"), "x")
    await first.close()
    spool = open_spool("boot2", dead_age_seconds=100.0)
    clock.seconds = 99.0
    spool.backlog.dead.prune()
    assert spool.backlog.dead.files == 1
    clock.seconds = 101.0
    spool.backlog.dead.prune()
    assert files(open_spool.directory) == []


async def test_what_cannot_be_buried_stays_where_it_is(open_spool: Any) -> None:
    spool = open_spool()
    segment = await sealed(spool, b"one")
    obstacle = open_spool.directory / "dead" / f"{segment.name}.seg"
    obstacle.mkdir()
    with pytest.raises(SpoolFailed, match="could not bury"):
        await spool.backlog.bury(segment, "x")
    assert spool.sealed() == [segment]
    assert segment.path.exists()
    with pytest.raises(SpoolFailed, match="could not bury"):
        await spool.backlog.bury_part(segment, [b"one"], "x")


async def test_a_segment_somebody_removed_is_forgotten(open_spool: Any) -> None:
    spool = open_spool()
    segment = await sealed(spool, b"one")
    segment.path.unlink()
    await spool.backlog.bury(segment, "x")
    assert spool.sealed() == []
    assert spool.stats.failures == 1


async def test_the_same_part_buried_twice_counts_once(open_spool: Any) -> None:
    spool = open_spool()
    segment = await sealed(spool, b"one")
    for _ in range(2):
        await spool.backlog.bury_part(segment, [b"one"], "a crash came between")
    assert (spool.backlog.dead.files, spool.backlog.dead.bytes) == (1, BLOCK_BYTES)


async def test_a_clock_that_woke_up_days_ahead_empties_nothing(
    open_spool: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_spool()
    await first.backlog.bury(await sealed(first, b"one"), "x")
    await first.close()
    woken = clock.now_us() + 8 * DAY_US
    spool = open_spool("boot2", now_us=lambda: woken)
    spool.backlog.dead.prune()
    assert spool.backlog.dead.files == 1
    assert spool.calendar.jump_seconds == 8 * 86_400
    await spool._look()
    await spool._look()
    assert caplog.text.count("clock_jumped") == 1
    await spool.close()
    third = open_spool("boot3", now_us=lambda: woken)  # a restart believes it no more
    assert third.backlog.dead.files == 1
    os.utime(open_spool.directory / "LOCK", ns=(woken * 1000, woken * 1000))  # a person says that it is right
    await third._look()
    assert (third.calendar.jump_seconds, third.backlog.dead.files) == (0, 0)


@pytest.mark.parametrize("days", [8, -8, 3650])
def test_a_clock_that_jumps_while_running_is_not_followed_and_believed_when_it_is_back(days: int) -> None:
    seconds, wall_us = 0.0, 10**15
    calendar = Calendar(lambda: wall_us, lambda: seconds, None)
    seconds, wall_us = 60.0, wall_us + 60_000_000
    assert calendar.now_us() == wall_us
    right_us = wall_us
    seconds, wall_us = 61.0, wall_us + days * DAY_US
    assert (calendar.now_us(), calendar.jump_seconds) == (right_us + 1_000_000, days * 86_400 - 1)
    calendar.trust(right_us)
    assert calendar.jump_seconds, "that is not what the wall clock says"
    seconds, wall_us = 62.0, right_us + 3_000_000
    assert (calendar.now_us(), calendar.jump_seconds) == (wall_us, 0)


async def test_what_cannot_be_removed_from_dead_stays_counted_until_it_can(open_spool: Any) -> None:
    spool = open_spool(dead_limit_bytes=BLOCK_BYTES)
    segment = await sealed(spool, b"one")
    await spool.backlog.bury(segment, "x")
    kept = open_spool.directory / "dead" / f"{segment.name}.seg"
    kept.unlink()
    kept.mkdir()  # no right to unlink, as anybody but root would see it
    await spool.backlog.bury(await sealed(spool, b"two"), "x")
    assert (spool.backlog.dead.files, spool.backlog.dead.bytes, spool.stats.pruned_files) == (2, 2 * BLOCK_BYTES, 0)
    kept.rmdir()
    await spool._look()
    assert (spool.backlog.dead.files, spool.stats.pruned_files) == (1, 1)


def test_what_a_death_left_half_done_in_dead_is_removed_at_start(open_spool: Any) -> None:
    dead = open_spool.directory / "dead"
    dead.mkdir(parents=True)
    for name in (
        "a.seg.tmp",
        ".a.seg.reason.7.tmp",
        "b.seg.reason",
        "c.seg",
        "c.seg.reason",
        "d.damaged",
        "d.damaged.reason",
    ):
        (dead / name).write_bytes(b"x")
    os.mkfifo(dead / "e.seg")
    spool = open_spool()
    assert files(open_spool.directory) == ["c.seg", "c.seg.reason", "d.damaged", "d.damaged.reason", "e.seg"]
    assert spool.backlog.dead.files == 2


async def test_a_file_that_a_person_removed_from_dead_counts_no_more(open_spool: Any) -> None:
    spool = open_spool()
    for payload in (b"one", b"two"):
        await spool.backlog.bury(await sealed(spool, payload), "x")
    gone, kept = sorted((open_spool.directory / "dead").glob("*.seg"))
    gone.unlink()
    dead = spool.backlog.dead
    dead.prune()
    assert (dead.files, dead.bytes) == (1, BLOCK_BYTES)
    kept.unlink()
    dead.prune()
    assert (dead.files, dead.bytes) == (0, 0)


def test_requests_that_wait_for_room_keep_none_behind_them_from_its_turn(tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number:03}").touch()
    seen: list[str] = []
    for _ in range(3):
        names = requested(tmp_path, seen[-1] if seen else "")
        assert len(names) == MAX_LOOKED_AT
        seen += names
    assert len(set(seen)) == 150
