from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from abside.files import FileRefusedError
from abside_agent.run.publish import publish, read_published, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_appears_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "snapshot"
    publish(path, b"one")
    publish(path, b"two")
    assert read_published(path) == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["snapshot"]


def test_the_file_is_forced_to_disk_before_its_name_and_the_name_after_it(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    forced: list[tuple[str, bytes]] = []

    def fsync(handle: int) -> None:
        os.fsync(handle)
        kind = "directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        forced.append((kind, read_published(path)))

    publish(path, b"one")
    publish(path, b"two", fsync=fsync)
    assert forced == [("file", b"one"), ("directory", b"two")]


def test_where_it_cannot_be_written_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(OSError, match="directory"):
        publish(path, b"one")
    assert [entry.name for entry in tmp_path.iterdir()] == ["snapshot"]


def test_what_a_killed_agent_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".snapshot.17.tmp", ".snapshot.18.tmp", ".other.17.tmp", "snapshot"):
        (tmp_path / name).touch()
    assert remove_leftovers(tmp_path / "snapshot") == [".snapshot.17.tmp", ".snapshot.18.tmp"]
    assert {entry.name for entry in tmp_path.iterdir()} == {".other.17.tmp", "snapshot"}


def test_no_snapshot_is_no_bytes(tmp_path: Path) -> None:
    assert read_published(tmp_path / "none") == b""
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    for place in (tmp_path, tmp_path / "pipe", tmp_path / "huge"):
        with pytest.raises(FileRefusedError):
            read_published(place)
