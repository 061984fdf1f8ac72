"""Folders of processes beside the sidecar that hands have been in: what can be taken is taken, once."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from abside.spool.page import BUSY, LIMIT, LOCAL, PAGE, OthersPage
from abside.spool.write.process import ProcessSpool

if TYPE_CHECKING:
    from pathlib import Path

    from tests.spool.conftest import Clock, Opener

BOOT = "00000000000000aa"


def beside(directory: Path, clock: Clock, boot: str = BOOT) -> ProcessSpool:
    return ProcessSpool(directory, boot, clock.now_us)


async def test_what_was_taken_before_a_folder_failed_is_shipped(
    open_spool: Opener, tmp_path: Path, clock: Clock
) -> None:
    spool, process = open_spool(), beside(tmp_path / "spool", clock)
    process.append([b"one"])
    process.seal()
    page = process.directory / PAGE
    page.rename(tmp_path / "moved")
    page.symlink_to(tmp_path / "moved")
    await spool.beside.look(0, 2**30)
    assert spool.stats.last_failure != ""
    assert [segment.boot for segment in spool.backlog] == [BOOT]
    process.close()


async def test_a_folder_that_cannot_be_removed_is_adopted_by_no_count(
    open_spool: Opener, tmp_path: Path, clock: Clock
) -> None:
    spool, process = open_spool(), beside(tmp_path / "spool", clock)
    process.append([b"one"])
    process.close()
    (process.directory / "notes").write_text("somebody's")
    for _ in range(3):
        await spool.beside.look(0, 2**30)
    assert len(spool.backlog) == 1
    assert (process.directory.parent / LIMIT).stat().st_mode & 0o777 == 0o664  # processes of other users read it
    assert spool.stats.adopted_folders == 0
    (process.directory / "notes").unlink()
    await asyncio.gather(spool.beside.look(0, 2**30), spool.beside.look(0, 2**30))
    assert spool.stats.adopted_folders == 1


async def test_of_a_process_stopped_in_the_middle_of_a_write_nothing_is_taken(
    open_spool: Opener, tmp_path: Path, clock: Clock
) -> None:
    spool = open_spool()
    (begun, begin), (ended, end) = os.pipe(), os.pipe()
    child = os.fork()  # a lock of POSIX keeps out other processes only
    if child == 0:
        os.close(end)
        process = beside(tmp_path / "spool", clock)
        process.append([b"one"])
        os.write(begin, b"x")
        os.read(ended, 1)  # until the test ends, however it does
        os._exit(0)
    os.read(begun, 1)
    with OthersPage(tmp_path / "spool" / LOCAL / BOOT) as page:
        page.write(BUSY, 1)
        for _ in range(4):
            clock.seconds += 60
            await spool.beside.look(0, 2**30)
        assert (page.read().asked, len(spool.backlog)) == (1, 0)
        page.write(BUSY, 0)  # it went on
        await spool.beside.look(0, 2**30)
        assert len(spool.backlog) == 1
    os.close(end)
    await asyncio.to_thread(os.waitpid, child, 0)
    await spool.beside.look(0, 2**30)
    assert (len(spool.backlog), spool.stats.adopted_folders) == (1, 1)
