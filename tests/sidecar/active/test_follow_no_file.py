"""What is no regular file in the snapshot's place hangs nothing: the last good stays, and the status says why."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import MAX_SNAPSHOT_BYTES
from abside.upstream.choose import token_reader
from abside.upstream.contract import BearerTokenError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def kernel_file(path: Path) -> None:
    path.symlink_to("/proc/kmsg")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def to_itself(path: Path) -> None:
    path.symlink_to(path)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_SNAPSHOT_BYTES + 1)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (fifo, "is a FIFO; name a regular file"),
        (folder, "is a directory"),
        (listening, "is a socket"),
        (kernel_file, "0 bytes; the header alone is 52"),
        (endless, "is a device"),
        (to_itself, "symbolic links"),
        (sparse, "67,108,865 bytes; the bound is 67,108,864"),
    ],
)
async def test_the_last_good_is_served_and_a_good_file_is_taken_again(
    start: Start,
    world: World,
    until: Callable[..., Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
    put: Callable[[Path], None],
    words: str,
) -> None:
    running = await start()
    path = running.directory / "abside.snapshot"
    path.unlink()
    put(path)
    cell = running.sidecar.context.cell
    await until(lambda: bool(cell.refusal))  # by the follower itself: it does not hang
    status = await running.status()
    assert status["degraded"]
    assert words in status["snapshot"]["refusal"]
    for _ in range(3):
        await running.sidecar.follower.look()
    assert (status["snapshot"]["refused"], cell.refused) == (1, 1)
    assert len([line for line in caplog.messages if line.startswith("snapshot_refused")]) == 1
    assert (await running.assign(placement="pdp", user_id="u1"))["revision"] == status["revision"]
    path.rmdir() if path.is_dir() else path.unlink()
    published = world.snapshot(pdp_rank_2026_11={"pause": "carts broken"})
    running.publish(published)
    await until(lambda: cell.current is not None and cell.current.revision == published.head.revision)
    assert not (await running.status())["degraded"]


async def test_a_sidecar_starts_beside_a_fifo_and_says_what_lies_there(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "abside.snapshot")
    running = await start(published=None)
    status = await running.status()
    assert (status["revision"], status["degraded"]) == (None, True)
    assert "FIFO" in status["snapshot"]["refusal"]


@pytest.mark.parametrize(("put", "words"), [(fifo, "a FIFO"), (folder, "a directory"), (endless, "a device")])
def test_a_token_file_that_is_none_is_an_error_and_no_wait(
    tmp_path: Path, put: Callable[[Path], None], words: str
) -> None:
    put(tmp_path / "token")
    with pytest.raises(BearerTokenError, match=words):
        token_reader(tmp_path / "token")()
