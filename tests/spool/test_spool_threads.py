"""No append waits for the disk but for its own write: all else that asks the disk for something does so in threads."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.upstream.contract import Acked, Rejected, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.upstream.contract import Batch, Result

ASKS = {
    *("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir", "os.truncate", "os.utime"),
    *("os.chmod", "os.link", "os.symlink", "shutil.copyfile", "fcntl.flock", "fcntl.fcntl"),
}
seen: list[str] = []
watched: set[int] = set()  # threads


def hook() -> Callable[[str, tuple[Any, ...]], None]:
    asks, whoami = ASKS, threading.get_ident  # kept here: at the end of the process a module's own names are gone

    def watch(event: str, arguments: tuple[Any, ...], seen: list[str] = seen, watched: set[int] = watched) -> None:
        if event in asks and whoami() in watched:
            seen.append(f"{event} {arguments}")

    return watch


@pytest.fixture(scope="module")
def _audited() -> None:
    import_module("concurrent.futures.thread")  # imported at the first use of a thread, which reads a file
    sys.addaudithook(hook())  # for as long as the process lives


@contextmanager
def this_thread_watched() -> Iterator[list[str]]:
    seen.clear()
    watched.add(threading.get_ident())
    try:
        yield seen
    finally:
        watched.clear()


class Answering:
    """An upstream that gives the answers it was given."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self, *answers: Result) -> None:
        self.answers = list(answers)

    async def send(self, batch: Batch) -> Result:
        return self.answers.pop(0)

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.usefixtures("_audited")
@pytest.mark.parametrize("policy", ["never", "interval", "always"])
async def test_the_loop_asks_nothing_of_the_disk_from_append_to_the_grave(
    open_spool: Any, tmp_path: Any, policy: str
) -> None:
    spool = open_spool(fsync=policy, open_directory=tmp_path / "memory", dead_limit_bytes=1)
    no = Rejected("no", final=True)
    shipper = Shipper(spool, Answering(Acked(), TooLarge(), no, Acked(), no, Acked()), ShipperSettings("h"), lambda: 1)
    with this_thread_watched() as asked:
        for number in range(4):
            spool.append([b"%d" % number, b"x" * 100])
            await spool.synced()
            await spool.seal()
        spool.append([b"left"])
        await spool.sync()
        while spool.sealed():
            await shipper._step()
        await spool._look()
        await spool.backlog.tidy()
    assert asked == []
    assert (spool.stats.acknowledged_segments, spool.stats.buried_segments) == (3, 2)


@pytest.mark.usefixtures("_audited")
async def test_the_watch_sees_what_is_done_on_the_loop(tmp_path: Any) -> None:
    with this_thread_watched() as asked:
        (tmp_path / "file").write_text("x")
    assert any(one.startswith("open") for one in asked)
