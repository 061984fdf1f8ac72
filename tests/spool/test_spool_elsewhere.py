from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.queue.reader import read

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Make a directory on another file system, where there is one."""
    other = Path("/dev/shm")  # noqa: S108 a file system in memory is what is tested
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    directory = Path(tempfile.mkdtemp(dir=other))
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("policy", ["never", "interval"])
async def test_an_open_segment_in_memory_is_moved_to_disk_when_it_is_sealed(
    open_spool: Any, memory: Path, policy: str
) -> None:
    spool = open_spool(open_directory=memory, fsync=policy)
    spool.append([b"one", b"two"])
    assert [path.suffix for path in memory.iterdir() if path.name != "LOCK"] == [".open"]
    assert list((open_spool.directory / "q").iterdir()) == []
    await spool.seal()
    [segment] = spool.sealed()
    assert segment.path.parent == open_spool.directory / "q"
    assert (await read(segment)).payloads == [b"one", b"two"]
    assert [path.name for path in memory.iterdir() if path.suffix == ".seg"] == []
    assert [path.name for path in segment.path.parent.iterdir()] == [segment.path.name]


async def test_what_was_left_open_in_memory_is_recovered_to_disk(open_spool: Any, memory: Path) -> None:
    first = open_spool(open_directory=memory)
    first.append([b"one"])
    image = memory / "image"
    shutil.copytree(memory, image, ignore=lambda *_: ["LOCK", "image"])
    second = open_spool("boot2", directory=open_spool.directory.with_name("second"), open_directory=image)
    [segment] = second.sealed()
    assert (await read(segment)).payloads == [b"one"]
    assert segment.path.parent == open_spool.directory.with_name("second") / "q"


async def test_where_the_disk_cannot_take_it_a_segment_is_sealed_and_shipped_from_memory(
    open_spool: Any, memory: Path
) -> None:
    spool = open_spool(open_directory=memory)
    spool.append([b"one"])
    obstacle = open_spool.directory / "q" / "00001700000000000001-boot1.seg"
    obstacle.mkdir()
    await spool.seal()
    [segment] = spool.sealed()
    assert segment.path.parent == memory
    assert (await read(segment)).payloads == [b"one"]
    await spool.close()
    obstacle.rmdir()
    again = open_spool("boot2", open_directory=memory)
    assert [one.name for one in again.sealed()] == [segment.name]
    await again.backlog.bury(again.sealed()[0], "to see it cross")
    assert (open_spool.directory / "dead" / segment.path.name).exists()
    assert not segment.path.exists()


async def test_an_open_directory_that_is_the_spools_own_is_no_second_one(open_spool: Any) -> None:
    spool = open_spool(open_directory=open_spool.directory)
    spool.append([b"one"])
    await spool.seal()
    assert len(spool.sealed()) == 1
