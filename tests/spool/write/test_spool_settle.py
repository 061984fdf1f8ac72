"""What a thread does to a file put up for sealing, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from abside.spool.frame import MAGIC, frame
from abside.spool.write.openfile import create
from abside.spool.write.settle import SealResult, settle_all

if TYPE_CHECKING:
    from pathlib import Path

NAME = "00000000000000000007-boot1"


@pytest.mark.parametrize("named", [True, False], ids=["named", "its name was removed"])
def test_the_directory_is_forced_to_disk_after_the_segment_has_its_name(tmp_path: Path, named: bool) -> None:
    file = create(tmp_path, 7, "boot1")
    file.write(frame(b"one"), 1)
    if not named:
        file.path.unlink()
    forced: list[tuple[Path, list[str]]] = []

    def sync_directory(directory: Path) -> None:
        forced.append((directory, [path.name for path in directory.iterdir()]))

    (result,) = settle_all([file], tmp_path, durable=True, sync_directory=sync_directory)
    assert isinstance(result, SealResult)
    assert result.sync_problem is None
    assert forced == [(tmp_path, [f"{NAME}.seg"])]


def test_a_directory_that_cannot_be_forced_to_disk_is_reported_and_the_segment_is_there(tmp_path: Path) -> None:
    file = create(tmp_path, 7, "boot1")
    file.write(frame(b"one"), 1)
    problem = OSError("the disk is gone")

    def sync_directory(_: Path) -> None:
        raise problem

    (result,) = settle_all([file], tmp_path, durable=True, sync_directory=sync_directory)
    assert isinstance(result, SealResult)
    assert result.sync_problem is problem
    assert result.segment is not None
    assert result.segment.path.read_bytes() == MAGIC + frame(b"one")


def test_without_durability_no_directory_is_forced_to_disk(tmp_path: Path) -> None:
    file = create(tmp_path, 7, "boot1")
    file.write(frame(b"one"), 1)
    forced: list[Path] = []
    settle_all([file], tmp_path, durable=False, sync_directory=forced.append)
    assert forced == []
