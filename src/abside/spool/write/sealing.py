"""The file put up for sealing: brought to its end by a thread, tried again until it is, reported while it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.log import Log
from abside.spool.errors import SpoolFailed
from abside.spool.write.complaint import Complaint
from abside.spool.write.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.spool.queue.backlog import Backlog
    from abside.spool.settings import SpoolStats
    from abside.spool.write.openfile import OpenFile
    from abside.spool.write.settle import SealResult

log = Log("abside.spool")


class Sealing:
    """At most one file at a time, on its way into the backlog. `mark` is how far it reaches of all that was appended.

    `synced` is called with that mark and what its fdatasync came to. `trouble` is why the last try failed.
    """

    def __init__(
        self,
        queue: Path,
        backlog: Backlog,
        stats: SpoolStats,
        synced: Callable[[int, OSError | None], None],
        monotonic: Callable[[], float],
        *,
        durable: bool,
    ) -> None:
        self.file: OpenFile | None = None
        self.mark = 0
        self.job: asyncio.Future[SealResult] | None = None
        self.trouble = ""
        self._queue = queue
        self._backlog = backlog
        self._stats = stats
        self._synced = synced
        self._durable = durable
        self._complain = Complaint("seal_failed", monotonic)

    def put_up(self, file: OpenFile, mark: int) -> None:
        """Take the file to seal; there is none before it."""
        self.file, self.mark = file, mark

    async def settle(self) -> None:
        """Bring the file to its end. Raises SpoolFailed; it is then tried again later."""
        if self.file is None:
            return
        if self.job is None:
            loop = asyncio.get_running_loop()
            self.job = loop.run_in_executor(None, settle, self.file, self._queue, self._durable)
        await asyncio.wait([self.job])  # a caller that is cancelled here leaves the job and its result to the next
        done, self.job = self.job, None  # also when it failed: the next caller tries anew
        try:
            settled: SealResult = done.result()
        except OSError as exc:
            raise self._failed(self.file, exc) from exc
        self._synced(self.mark, settled.sync_problem)
        if settled.segment is None and not settled.gone:
            raise self._failed(self.file, settled.move_problem) from settled.move_problem
        file, self.file, self.trouble = self.file, None, ""
        if settled.segment is None:
            self._stats.lost(file.events)
            log.error("segment_gone", segment=file.path.name, lost_events=file.events)
            return
        self._stats.sealed_segments += 1
        if settled.rescued:
            self._stats.rescued_segments += 1
            log.error("segment_rescued", segment=file.path.name, events=file.events, why="its name was removed")
        self._backlog.add(settled.segment)

    def _failed(self, file: OpenFile, problem: object) -> SpoolFailed:
        """Count and report a seal that failed."""
        failed = SpoolFailed("seal", file.path, problem)
        self._stats.failed(problem)
        self._stats.failed_seals += 1
        self.trouble = str(failed)
        self._complain(reason=str(failed), events=file.events, consequence="it is tried again; nothing is shipped")
        return failed
