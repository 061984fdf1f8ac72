"""The background task that copies merged files to the archive, in a thread that nothing else waits for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.collector.keep.archive import IdWrong
from abside.collector.store import FileUnreadable, StoreFailed, reason_of
from abside.collector.store.place import PlaceError
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.collector.keep.archive import Archive

log = Log("abside.collector.keep.archiving")
RETRY_SECONDS = 60.0


class Archiving:
    """`run` is a background task: it copies after each round of upkeep, and tries again where that failed."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.problem: str | None = None  # why files wait that are merged
        self._due = asyncio.Event()
        self._stopping = threading.Event()

    def due(self) -> None:
        """Copy soon: a round is over."""
        self._due.set()

    async def run(self) -> None:
        """Copy what is due, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if self.problem else None):
                    await self._due.wait()
            is_round = self._due.is_set()
            self._due.clear()
            await self.copy(loud=is_round)

    async def copy(self, *, loud: bool = True) -> None:
        """Copy what is not there yet. A failure is kept in `problem`, and logged where it is new or `loud`."""
        before, files = self.problem, self.archive.files
        try:
            await _in_thread(self._work)
        except (PlaceError, IdWrong, FileUnreadable, StoreFailed) as exc:
            self.problem = str(exc)
        except OSError as exc:
            self.problem = f"{exc.filename or self.archive.place.shown}: {reason_of(exc)}"
        else:
            self.problem = None
        if copied := self.archive.files - files:
            log.info("archived", files=copied, place=self.archive.place.shown)
        if self.problem and (loud or self.problem != before):
            log.error("archive_failed", reason=self.problem, files_waiting=self.archive.waiting)

    def stop(self) -> None:
        """Copy no further file: the process is about to end."""
        self._stopping.set()

    def _work(self) -> None:
        self.archive.copy(self._stopping.is_set)


async def _in_thread(work: Callable[[], None]) -> None:
    """Work in a thread of its own, which ends with the process: a place that never answers keeps none from its end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 raised where it is waited for
            error = exc
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, daemon=True, name="archive").start()
    await done
