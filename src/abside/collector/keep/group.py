"""Batches that came within a second become one file: gathered, written in a thread, and only then acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

from abside.collector.store import NotSynced, StoreFailed
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.collector.keep.writer import ReceivedBatch, Writer

log = Log("abside.collector.keep.group")
P = ParamSpec("P")
T = TypeVar("T")
Stored = Literal["stored", "known"]


class Grouper:
    """The one place where files are written. A group is written after `seconds` or at `limit_bytes`."""

    def __init__(self, writer: Writer, *, seconds: float, limit_bytes: int) -> None:
        self._writer = writer
        # A thread of its own: no body that is long to unpack keeps what was gathered from the disk.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._seconds = seconds
        self._limit_bytes = limit_bytes
        self._open: list[ReceivedBatch] = []
        self._open_bytes = 0
        self._due = 0.0  # loop time at which the open group is written
        self._begun = asyncio.Event()  # the open group has a batch
        self._ripe = asyncio.Event()  # it need not wait any longer
        self._outcomes: dict[str, asyncio.Future[StoreFailed | None]] = {}  # of the batches gathered or being written
        self._hurried = False
        self.files = 0
        self.rows = 0
        self.last_error: str | None = None
        self.failed_at: float | None = None  # monotonic seconds of the last write that failed

    async def store(self, batch: ReceivedBatch) -> Stored:
        """Wait until a batch is on disk; return whether it was there before.

        Raises StoreFailed; then it is not, and forgotten. Raises NotSynced; then it is, and known when it comes again.

        A batch whose twin is in the very group being written waits for that one.
        """
        if await self.knows(batch.batch_id):
            return "known"
        outcome = self._outcomes.get(batch.batch_id)
        stored: Stored = "known" if outcome else "stored"
        if outcome is None:
            outcome = self._outcomes[batch.batch_id] = asyncio.get_running_loop().create_future()
            self._gather(batch)
        failed = await asyncio.shield(outcome)  # one sender that leaves takes no other's answer with it
        if failed:
            raise failed
        return stored

    async def knows(self, batch_id: str) -> bool:
        """Whether a batch is on disk. Raises StoreFailed where its file is, and the file's name may not be."""
        if not self._writer.knows(batch_id):
            return False
        if self._writer.is_loose(batch_id):
            await self._in_thread(self._writer.fasten)
        return True

    async def run(self) -> None:
        """Write group after group, for ever."""
        while True:
            await self._begun.wait()
            with suppress(TimeoutError):  # then it is old enough
                async with asyncio.timeout_at(self._due):
                    await self._ripe.wait()
            batches, self._open, self._open_bytes = self._open, [], 0
            self._begun.clear()
            if not self._hurried:
                self._ripe.clear()
            # A group may span midnight; a file belongs to one date of receipt.
            for _, of_a_day in itertools.groupby(batches, key=lambda batch: batch.day):
                await self._write(list(of_a_day))

    def hurry(self) -> None:
        """Write what is gathered, and from now on each batch as it comes: the process is about to end."""
        self._hurried = True
        self._ripe.set()

    async def finish(self) -> None:
        """Wait until everything gathered is written or refused."""
        self.hurry()
        while self._outcomes:
            await asyncio.wait(self._outcomes.values())

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _gather(self, batch: ReceivedBatch) -> None:
        if not self._open:
            self._due = asyncio.get_running_loop().time() + self._seconds
            self._begun.set()
        self._open.append(batch)
        self._open_bytes += batch.size
        if self._open_bytes >= self._limit_bytes:
            self._ripe.set()

    async def _write(self, batches: Sequence[ReceivedBatch]) -> None:
        """Write one file and report to every batch in it. Rows of a failed one are dropped: they come again."""
        failed: StoreFailed | None = StoreFailed(self._writer.directory, "the collector stopped in between")
        apart = False  # one of them cannot be written: which one is found out one by one, and the others are kept
        try:
            # Parquet encoding, compression and fsync are C that releases the GIL.
            rows = await self._in_thread(self._writer.receive, batches)
        except NotSynced as exc:
            failed = exc
            self._writer.remember(batches)
            log.error("file_not_synced", file=str(exc.path), reason=exc.reason, batches=len(batches))
        except StoreFailed as exc:
            failed = exc
            log.error("file_not_written", file=str(exc.path), reason=exc.reason, batches=len(batches))
        except Exception as exc:  # noqa: BLE001 a bug: its senders try again, and the next group gets its chance
            failed = StoreFailed(self._writer.directory, f"{type(exc).__name__}, see the log")
            log.crash("file_not_written", exc, batches=len(batches))
            apart = len(batches) > 1
        else:
            failed = None
            self.files += 1
            self.rows += rows
            self._writer.remember(batches)
        finally:
            self.last_error = str(failed) if failed else None
            self.failed_at = time.monotonic() if failed else None
            for batch in () if apart else batches:
                self._outcomes.pop(batch.batch_id).set_result(failed)
        if apart:
            for batch in batches:
                await self._write([batch])

    async def _in_thread(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given, **named))
