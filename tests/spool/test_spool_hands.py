"""Other hands in the spool: what they remove or replace is noticed, saved where it can be, and counted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import SpoolFailed, SpoolRefused, SpoolTaken
from abside.spool.frame import MAGIC
from abside.spool.queue.reader import read

if TYPE_CHECKING:
    from pathlib import Path


async def events_of(spool: Any) -> list[bytes]:
    return [payload for segment in spool.sealed() for payload in (await read(segment)).payloads]


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"somebody else's")


@pytest.mark.parametrize("how", [removed, replaced])
@pytest.mark.parametrize("policy", ["never", "interval"])
async def test_an_open_file_that_lost_its_name_is_sealed_from_its_descriptor(
    open_spool: Any, how: Any, policy: str
) -> None:
    spool = open_spool(fsync=policy)
    spool.append([b"one"])
    how(spool._open.path)
    spool.append([b"two"])
    await spool.seal()
    spool.append([b"three"])
    await spool.seal()
    assert await events_of(spool) == [b"one", b"two", b"three"]
    assert (spool.stats.rescued_segments, spool.stats.lost_events, spool.trouble) == (1, 0, "")


async def test_a_look_a_second_notices_it_before_the_seal_is_due(open_spool: Any, caplog: Any) -> None:
    spool = open_spool(seal_seconds=3600.0)
    spool.append([b"one"])
    spool._open.path.unlink()
    await spool._look()
    assert await events_of(spool) == [b"one"]
    assert "open_file_removed" in caplog.text
    empty = spool._open.path
    empty.unlink()
    await spool._look()
    assert spool._open.path.exists()
    spool.append([b"two"])
    await spool.close()
    assert [path.suffix for path in empty.parent.iterdir()] == [".seg", ".seg"]


async def test_directories_that_were_removed_are_made_again_and_nothing_is_refused(
    open_spool: Any, tmp_path: Path
) -> None:
    memory = tmp_path / "memory"
    spool = open_spool(open_directory=memory)
    accepted = [b"%d" % number for number in range(6)]
    for number, payload in enumerate(accepted):
        spool.append([payload])
        for directory in (open_spool.directory / "q", open_spool.directory / "dead") if number == 1 else ():
            shutil.rmtree(directory)
        if number == 3:
            for path in memory.glob("*.open"):
                path.unlink()
        await spool._look()
    await spool.seal()
    assert await events_of(spool) == accepted
    await spool.backlog.bury(spool.sealed()[0], "to see that dead/ is there")
    assert (spool.stats.failed_events, spool.stats.lost_events, spool.backlog.dead.files) == (0, 0, 1)


async def test_a_file_emptied_in_place_costs_what_stood_in_it_and_is_counted(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    os.truncate(spool._open.path, 0)
    spool.append([b"two"])
    await spool.seal()
    [segment] = spool.sealed()
    contents = await read(segment)
    assert (contents.payloads, segment.events) == ([b"two"], 2)
    assert contents.damage


async def test_sealed_files_that_were_removed_are_counted(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one", b"two"])
    await spool.seal()
    [segment] = spool.sealed()
    segment.path.unlink()
    spool.backlog.lose(segment)
    assert (spool.stats.lost_segments, spool.stats.lost_events, spool.used_bytes) == (1, 2, len(MAGIC))


async def test_a_removed_dead_directory_never_makes_a_segment_forgotten(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    shutil.rmtree(open_spool.directory / "dead")
    await spool.backlog.bury(spool.sealed()[0], "x")
    assert len(list((open_spool.directory / "dead").glob("*.seg"))) == 1


@pytest.mark.parametrize("how", [removed, replaced])
async def test_whoever_lost_its_lock_saves_what_it_has_and_touches_nothing_more(open_spool: Any, how: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    spool.append([b"two"])
    how(open_spool.directory / "LOCK")
    with pytest.raises(SpoolTaken, match="LOCK was removed or replaced, so another process may own the spool"):
        await spool.run()
    with pytest.raises(SpoolRefused):
        spool.append([b"three"])
    assert (spool.sealed(), spool.used_bytes) == ([], 0)
    assert "LOCK" in spool.trouble
    again = open_spool("boot2")
    assert await events_of(again) == [b"one", b"two"]


OWNER = """
    import asyncio, sys
    from pathlib import Path
    from abside.spool.errors import SpoolTaken
    from abside.spool.settings import SpoolSettings
    from abside.spool.write.writer import Spool

    async def main(directory, boot):
        spool = Spool.open(SpoolSettings(Path(directory), floor_bytes=0, seal_seconds=0.2), boot, lambda: 1)
        running = asyncio.get_running_loop().create_task(spool.run())
        number = 0
        while not running.done():
            spool.append([b"%s %d" % (boot.encode(), number)])
            number += 1
            sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()
            await asyncio.sleep(0.001)
        try:
            running.result()
        except SpoolTaken:
            sys.exit(7)

    asyncio.run(main(*sys.argv[1:]))
"""


def test_a_second_process_where_lock_was_removed_costs_no_event_and_doubles_none(
    open_spool: Any, payloads_in: Any
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(open_spool.directory)]
    told: dict[str, list[bytes]] = {}
    with subprocess.Popen([*command, "first"], stdout=subprocess.PIPE) as first:
        watch = threading.Timer(60.0, first.kill)
        watch.start()
        assert first.stdout is not None
        told["first"] = [first.stdout.readline() for _ in range(100)]
        (open_spool.directory / "LOCK").unlink()
        with subprocess.Popen([*command, "second"], stdout=subprocess.PIPE) as second:
            assert second.stdout is not None
            told["first"] += first.stdout.readlines()  # until it ends
            assert first.wait() == 7
            told["second"] = [second.stdout.readline() for _ in range(100)]
            second.send_signal(signal.SIGKILL)
            told["second"] += second.stdout.readlines()
        watch.cancel()
    expected = {
        b"%s %d" % (boot.encode(), number)
        for boot, lines in told.items()
        for number in range(max(int(line) for line in lines if line.endswith(b"\n")))
    }
    open_spool("last")
    found = payloads_in(open_spool.directory / "q")
    assert expected <= set(found)
    assert len(found) == len(set(found)) <= len(expected) + 1, "the second was killed between an append and its line"


async def test_what_cannot_be_unlinked_counts_against_the_quota_and_is_tried_again(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    await spool.seal()
    [segment] = spool.sealed()
    segment.path.unlink()
    segment.path.mkdir()  # no right to unlink, as anybody but root would see it
    await spool.backlog.acknowledge(segment)
    assert (spool.sealed(), spool.backlog.undeleted_bytes) == ([], segment.size)
    assert spool.used_bytes == segment.size + len(MAGIC)
    assert (spool.waiting.segments, spool.waiting.bytes) == (0, 0)
    await spool.backlog.tidy()
    assert spool.stats.failures == 2
    segment.path.rmdir()
    await spool.backlog.tidy()
    assert (spool.backlog.undeleted_bytes, spool.used_bytes) == (0, len(MAGIC))


async def test_every_failed_seal_is_counted_and_a_line_a_minute_says_so(
    open_spool: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    spool = open_spool()
    spool.append([b"one"])
    obstacle = open_spool.directory / "q" / "00001700000000000001-boot1.seg"
    obstacle.mkdir()
    for _ in range(30):
        with pytest.raises(SpoolFailed):
            await spool.seal()
    assert spool.stats.failed_seals == 30
    assert caplog.text.count("seal_failed") == 1
    assert "could not seal" in spool.trouble
    clock.seconds += 61.0
    with suppress(SpoolFailed):
        await spool.seal()
    assert caplog.text.count("seal_failed times=30") == 1
    obstacle.rmdir()
    await spool.seal()
    assert spool.trouble == ""


async def test_a_write_the_disk_refuses_is_trouble_until_one_succeeds(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    kept = os.dup(spool._open.handle)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, spool._open.handle)
    with pytest.raises(SpoolFailed):
        spool.append([b"two"])
    assert "No space left" in spool.trouble
    os.dup2(kept, spool._open.handle)
    spool.append([b"two"])
    assert spool.trouble == ""
    for handle in (kept, full):
        os.close(handle)


async def test_a_disk_that_does_not_answer_is_trouble_after_a_while(open_spool: Any, clock: Any) -> None:
    spool = open_spool()
    async with spool._disk_turn():
        assert spool.trouble == ""
        clock.seconds += 31.0
        assert spool.trouble == "the disk has not answered for 31 s"
    await asyncio.sleep(0)
    assert spool.trouble == ""


@pytest.mark.parametrize("kind", ["link", "directory"])
async def test_a_lock_that_is_no_file_is_refused_and_what_it_leads_to_is_untouched(
    open_spool: Any, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("kept")
    open_spool.directory.mkdir()
    lock = open_spool.directory / "LOCK"
    lock.mkdir() if kind == "directory" else lock.symlink_to(secret)
    with pytest.raises(SpoolFailed, match="could not prepare the directory"):
        open_spool()
    assert secret.read_text() == "kept"


async def test_what_somebody_put_in_the_way_of_a_copy_or_a_reason_makes_nothing_wait(
    open_spool: Any, tmp_path: Path
) -> None:
    spool = open_spool()
    spool.append([b"one"])
    secret = tmp_path / "secret"
    secret.write_text("kept")
    sealed = spool._open.path.with_suffix(".seg")
    os.mkfifo(sealed.with_name(f".{sealed.name}.{os.getpid()}.tmp"))
    (open_spool.directory / "dead" / f".{sealed.name}.reason.{os.getpid()}.tmp").symlink_to(secret)
    spool._open.path.unlink()
    await spool.seal()  # copied beside
    assert await events_of(spool) == [b"one"]
    await spool.backlog.bury(spool.sealed()[0], "why")
    assert (open_spool.directory / "dead" / f"{sealed.name}.reason").read_text() == "why\n"
    assert secret.read_text() == "kept"


async def test_without_a_lock_ages_count_from_what_lies_in_dead(open_spool: Any, clock: Any) -> None:
    first = open_spool()
    first.append([b"one"])
    await first.seal()
    await first.backlog.bury(first.sealed()[0], "x")
    await first.close()
    (open_spool.directory / "LOCK").unlink()
    woken = clock.now_us() + 8 * 86_400_000_000
    spool = open_spool("boot2", now_us=lambda: woken)
    await spool._look()
    assert spool.backlog.dead.files == 1
