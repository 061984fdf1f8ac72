"""The spool of a process beside the sidecar: what it does where a disk fails, and with its last account."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from abside.spool.errors import SpoolFailed, SpoolFull
from abside.spool.page import BUSY, LIMIT, LOCAL, PAGE, OthersPage
from abside.spool.segment import OPEN, SEALED
from abside.spool.settings import SEAL_EVENTS
from abside.spool.write.claim import FIRST_PART, MAX_LOOKED
from abside.spool.write.process import MAX_SAVED, ProcessSpool

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.spool.conftest import Clock

BOOT = "00000000000000aa"


def test_a_folder_that_could_not_be_made_is_made_by_the_next_call(
    tmp_path: Path, clock: Clock, no_descriptors: Callable[[], AbstractContextManager[None]]
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"warm"])  # what is loaded on the first use needs descriptors
    process.close()
    process = ProcessSpool(tmp_path, BOOT[::-1], clock.now_us)
    with no_descriptors(), pytest.raises(SpoolFailed, match="make the directory"):
        process.append([b"one"])
    process.append([b"two"])
    assert [path.name[0] for path in (tmp_path / LOCAL).iterdir()].count(".") == 0
    process.close()


def test_a_disk_that_takes_a_part_of_the_page_is_full(tmp_path: Path, clock: Clock) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    was, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, limits[1]))
    try:
        with pytest.raises(SpoolFailed, match="No space left"):
            process.append([b"one"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, was)
    process.append([b"two"])
    process.close()


def test_a_seal_that_a_signal_handler_breaks_off_writes_nothing_twice(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])

    def meanwhile(_frame: object, kind: str, called: object) -> None:  # as a handler, just behind the rename
        if kind == "c_return" and called is os.rename:
            raise TimeoutError("the application's own")

    sys.setprofile(meanwhile)
    try:
        with pytest.raises(TimeoutError, match="own"):
            process.seal()
    finally:
        sys.setprofile(None)
    process.seal()
    process.look(clock.now_us())
    process.append([b"two"])
    process.close()
    assert everything_in(tmp_path / LOCAL, payloads_in) == [b"one", b"two"]


def test_the_last_account_is_written_although_no_file_is_open(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])
    process.seal()
    process.before_seal = lambda: [b"account"]
    process.close()
    assert payloads_in(process.directory) == [b"one", b"account"]


def test_a_last_account_of_losses_alone_is_written(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    (tmp_path / LOCAL).mkdir()
    (tmp_path / LOCAL / LIMIT).write_text("0")
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    with pytest.raises(SpoolFull):
        process.append([b"one"])
    process.before_seal = lambda: [b"account"]
    process.close()
    assert payloads_in(process.directory) == [b"account"]


def test_a_call_within_a_call_does_not_seal_what_is_being_written(tmp_path: Path, clock: Clock) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])
    page = OthersPage(process.directory)
    with page:
        page.write(BUSY, 1)  # as within a write, where a signal handler asks
        process.append([b"x"] * SEAL_EVENTS)
        assert [path.suffix for path in process.directory.glob("*-*")] == [OPEN]
        page.write(BUSY, 0)
        process.append([b"two"])
    assert [path.suffix for path in process.directory.glob("*-*")] == [SEALED]
    process.close()


def everything_in(local: Path, payloads_in: Callable[[Path], list[bytes]]) -> list[bytes]:
    return sorted(one for folder in local.iterdir() if folder.is_dir() for one in payloads_in(folder))


def test_a_folder_that_somebody_removed_costs_nothing_of_its_open_file(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])
    process.append([b"two"])
    shutil.rmtree(process.directory)
    process.append([b"three"])
    process.look(clock.now_us())
    process.append([b"four"])
    assert process.directory.name != BOOT
    assert (process.directory / PAGE).exists()
    assert sorted(everything_in(tmp_path / LOCAL, payloads_in)) == sorted([b"one", b"two", b"three", b"four"])
    assert caplog.text.count("local_folder_removed") == 1
    process.close()


def test_files_that_are_full_before_it_is_noticed_are_kept_too(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"first"])
    shutil.rmtree(process.directory)
    process.append([b"x"] * SEAL_EVENTS)  # is to be sealed, and its name is gone
    process.append([b"last"])
    process.close()
    process.look(clock.now_us())
    assert sorted(everything_in(tmp_path / LOCAL, payloads_in)) == sorted([b"first", *[b"x"] * SEAL_EVENTS, b"last"])


def test_what_is_removed_too_often_to_be_kept_is_told(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    for _ in range(MAX_SAVED + 1):
        process.append([b"first"])
        shutil.rmtree(process.directory)
        process.append([b"x"] * SEAL_EVENTS)
    process.close()
    assert len(everything_in(tmp_path / LOCAL, payloads_in)) == MAX_SAVED * (1 + SEAL_EVENTS)
    assert caplog.text.count(f"local_events_lost events={1 + SEAL_EVENTS}") == 1


def test_without_its_lock_a_folder_is_left_to_the_sidecar(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])
    (process.directory / PAGE).unlink()
    process.look(clock.now_us())
    process.append([b"two"])
    assert [path.suffix for path in (tmp_path / LOCAL / BOOT).iterdir()] == [SEALED]
    assert payloads_in(process.directory) == [b"two"]
    assert everything_in(tmp_path / LOCAL, payloads_in) == [b"one", b"two"]
    process.close()


def test_where_the_whole_spool_is_gone_it_says_so_and_goes_on_when_it_is_back(
    tmp_path: Path, clock: Clock, payloads_in: Callable[[Path], list[bytes]]
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    process = ProcessSpool(spool, BOOT, clock.now_us)
    process.append([b"one"])
    spool.rename(tmp_path / "away")
    (tmp_path / "away" / LOCAL / BOOT / PAGE).unlink()
    process.look(clock.now_us())
    assert "there is no directory" in process.obstacle()
    spool.mkdir()
    process.look(clock.now_us())
    assert process.obstacle() == ""
    assert everything_in(spool / LOCAL, payloads_in) == [b"one"]
    process.close()


def test_thousands_of_folders_are_not_all_looked_at(tmp_path: Path, clock: Clock) -> None:
    folders, size, limit = MAX_LOOKED + 40, 1_000, 400_000
    local = tmp_path / LOCAL
    for number in range(folders):
        folder = local / f"{number:016x}"
        folder.mkdir(parents=True)
        (folder / f"{number + 1:020d}-{folder.name}{OPEN}").write_bytes(bytes(size))
    (local / LIMIT).write_text(str(limit))
    process = ProcessSpool(tmp_path, BOOT, clock.now_us)
    process.append([b"one"])
    with OthersPage(process.directory) as page:
        assert page.read().allowed == pytest.approx((limit - folders * size) / FIRST_PART, rel=0.01)
    process.close()
