"""The spool of a process beside the sidecar: what it does where a disk fails, and with its last account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from abside.spool.errors import SpoolFailed, SpoolFull
from abside.spool.page import BUSY, LIMIT, LOCAL, OthersPage
from abside.spool.segment import OPEN, SEALED
from abside.spool.settings import SEAL_EVENTS
from abside.spool.write.process import ProcessSpool

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
