from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import SpoolFailed, SpoolRefused
from abside.spool.frame import MAGIC, frame
from abside.spool.queue.reader import read
from abside.spool.write.settle import SealResult, settle_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.spool.write.writer import Spool


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount a real file system of 256 KiB, not below pytest's own directories: a killed run leaves it mounted."""
    disk = Path(tempfile.mkdtemp(prefix="abside-small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    try:
        if mounted.returncode:
            pytest.skip("file systems cannot be mounted here; the write limit of a process stands in for a full disk")
        yield disk
    finally:
        if (
            not mounted.returncode
            and subprocess.run(["umount", str(disk)], check=False, capture_output=True).returncode
        ):
            subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a failed test left a file open on it
        disk.rmdir()


def fill(disk: Path, leave_bytes: int) -> Path:
    """Take all room of a disk but a little, as its other tenants do."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        state = os.statvfs(disk)
        file.write(bytes(state.f_bavail * state.f_frsize - leave_bytes))
    return ballast


async def test_a_full_disk_takes_whole_requests_or_nothing_and_recovers(
    open_spool: Any, payloads_in: Any, small_disk: Path
) -> None:
    spool = open_spool(directory=small_disk / "spool")
    accepted: list[bytes] = []

    def append(size: int) -> None:
        payloads = [b"%d" % len(accepted) + b"x" * size, b"%d" % (len(accepted) + 1)]
        spool.append(payloads)
        accepted.extend(payloads)

    append(100)
    ballast = fill(small_disk, leave_bytes=8192)
    spool._room.budget = 2**20  # the disk filled up since it was last asked
    with pytest.raises(SpoolFailed, match=r"bytes were taken|No space left"):
        append(60_000)
    assert payloads_in(small_disk / "spool/q") == accepted
    refused = 0
    for _ in range(200):
        try:
            append(1000)
        except SpoolRefused:
            refused += 1
    assert refused > 100
    assert payloads_in(small_disk / "spool/q") == accepted
    await spool.seal()  # also where there is no room for the next file
    [segment] = spool.sealed()
    assert (await read(segment)).payloads == accepted
    ballast.unlink()
    append(1000)
    await spool.seal()
    assert payloads_in(small_disk / "spool/q") == accepted
    await spool.close()


WRITER_WITH_A_LIMIT = """
    import asyncio, json, resource, sys
    from pathlib import Path
    from abside.spool.errors import SpoolFailed
    from abside.spool.settings import SpoolSettings
    from abside.spool.write.writer import Spool

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    spool = Spool.open(SpoolSettings(Path(sys.argv[1]), floor_bytes=0, fsync="never"), "limited", lambda: 1)
    accepted, said = [], []
    for number in range(20):
        try:
            spool.append([b"%d" % number + b"x" * 900])
            accepted.append(number)
        except SpoolFailed as exc:
            said.append(str(exc))
    spool.append([b"20"])  # it fits where the larger one was cut off
    asyncio.run(spool.seal())
    spool.append([b"21"])
    accepted += [20, 21]
    print(json.dumps({"accepted": accepted, "said": said, "failed": spool.stats.failed_events}))
"""


def test_a_short_write_is_cut_back_and_refused(tmp_path: Path, payloads_in: Any) -> None:
    command = [sys.executable, "-c", textwrap.dedent(WRITER_WITH_A_LIMIT), str(tmp_path)]
    child = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    told = json.loads(child.stdout)
    framed = len(frame(b"10" + b"x" * 900))
    assert told["accepted"] == [*range(10_000 // framed), 20, 21]
    assert told["failed"] == 20 - len(told["accepted"]) + 2
    assert f"of {framed} bytes were taken" in told["said"][0]
    numbers = [int(payload.rstrip(b"x")) for payload in payloads_in(tmp_path / "q")]
    assert numbers == told["accepted"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("next_step", ["append", "seal"])
async def test_an_end_that_could_not_be_cut_off_is_cut_off_before_anything_else(
    open_spool: Any, payloads_in: Any, next_step: str
) -> None:
    spool = open_spool()
    spool.append([b"one"])
    os.write(spool._open.handle, b"half a frame")
    spool._open.torn = True  # as a short write leaves it where the disk refuses to cut, too
    if next_step == "append":
        spool.append([b"two"])
    await spool.seal()
    [segment] = spool.sealed()
    assert (await read(segment)).damage == ""
    assert payloads_in(open_spool.directory / "q") == [b"one", b"two"][: spool.stats.appended_events]
    assert segment.size == segment.path.stat().st_size == spool.waiting.bytes


async def test_a_write_the_disk_refuses_is_a_failure_and_the_next_one_works(open_spool: Any, payloads_in: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    with Broken(spool):
        with pytest.raises(SpoolFailed, match="No space left on device"):
            spool.append([b"two", b"three"])
        assert spool.stats.failed_events == 2
        assert "No space left" in spool.stats.last_failure
    spool.append([b"four"])
    assert payloads_in(open_spool.directory / "q") == [b"one", b"four"]


async def test_a_segment_that_cannot_be_renamed_is_sealed_when_it_can(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    obstacle = open_spool.directory / "q" / "00001700000000000001-boot1.seg"
    obstacle.mkdir()
    with pytest.raises(SpoolFailed, match="could not seal"):
        await spool.seal()
    spool.append([b"two"])
    assert spool.used_bytes == 2 * len(MAGIC) + 2 * len(frame(b"one"))
    assert spool.seal_due(0.0)
    obstacle.rmdir()
    await spool.seal()
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [[b"one"], [b"two"]]


async def test_a_seal_without_a_descriptor_to_spare_succeeds_and_the_spool_goes_on(
    open_spool: Any, payloads_in: Any, no_descriptors: Any
) -> None:
    spool = open_spool(fsync="interval")
    spool.append([b"one"])
    with no_descriptors():
        await spool.seal()
        assert "Too many open files" in spool.stats.last_failure, "the directory's entries are not known to be durable"
        with pytest.raises(SpoolFailed, match="Too many open files"):
            spool.append([b"two"])  # there is no file, and none can be made
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [[b"one"]]
    spool.append([b"three"])
    await spool.seal()
    assert payloads_in(open_spool.directory / "q") == [b"one", b"three"]
    assert (spool.stats.sealed_segments, spool.stats.failed_events) == (2, 1)


async def test_a_seal_whose_thread_failed_is_done_anew_by_the_next(open_spool: Any) -> None:
    spool = open_spool(fsync="interval")
    spool.append([b"one"])
    failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    failed.set_exception(OSError(errno.EMFILE, "Too many open files"))
    spool._rotate(spool._created())
    spool._sealing.job = failed
    with pytest.raises(SpoolFailed, match=r"could not seal .*Too many open files"):
        await spool.seal()
    assert (spool.stats.failures, "Too many open files" in spool.stats.last_failure) == (1, True)
    await spool.seal()
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [[b"one"]]


async def test_a_caller_cancelled_as_the_seal_ends_leaves_its_result_to_the_next(open_spool: Any) -> None:
    spool = open_spool()
    spool.append([b"one"])
    sealing = asyncio.get_running_loop().create_task(spool.seal())
    while spool._sealing.job is None:  # noqa: ASYNC110 turn by turn: it runs until it waits for its thread
        await asyncio.sleep(0)
    job = spool._sealing.job
    job.add_done_callback(lambda _: sealing.cancel())
    with suppress(asyncio.CancelledError):
        await sealing
    await spool.seal()
    assert [(await read(segment)).payloads for segment in spool.sealed()] == [[b"one"]]
    assert spool.stats.failures == 0


@pytest.mark.parametrize("durable", [True, False])
def test_settling_is_safe_to_repeat_after_the_rename_and_after_the_end(open_spool: Any, durable: bool) -> None:
    spool = open_spool()
    spool.append([b"one", b"two"])
    file, queue = spool._open, open_spool.directory / "q"
    spool._open = None
    file.path.rename(queue / f"{file.path.stem}.seg")
    for _ in range(2):
        (settled,) = settle_all([file], queue, durable)
        assert isinstance(settled, SealResult)
        assert settled.segment is not None
        assert (settled.segment.path.name, settled.segment.events) == (f"{file.path.stem}.seg", 2)
        assert settled.segment.size == settled.segment.path.stat().st_size
        assert (settled.move_problem, settled.sync_problem) == (None, None)


async def test_whoever_waits_for_a_sync_that_failed_is_told(open_spool: Any) -> None:
    spool = open_spool(fsync="always")
    spool.append([b"one"])
    reader, writer = os.pipe()
    kept = os.dup(spool._open.handle)
    os.dup2(writer, spool._open.handle)  # a pipe cannot be synced
    for _ in range(2):
        with pytest.raises(SpoolFailed, match="make durable"):
            await spool.synced()
    os.dup2(kept, spool._open.handle)
    spool.append([b"two"])
    await spool.synced()
    for handle in (reader, writer, kept):
        os.close(handle)


class Broken:
    """Replace a spool's open file by a device that is full."""

    def __init__(self, spool: Spool) -> None:
        assert spool._open is not None
        self._handle = spool._open.handle

    def __enter__(self) -> None:
        self._kept = os.dup(self._handle)
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, self._handle)
        os.close(full)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._kept, self._handle)
        os.close(self._kept)
