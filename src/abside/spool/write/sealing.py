"""The files put up for sealing: each brought to its end by a thread, tried again until it is, reported while not."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from abside.log import Log
from abside.spool.errors import SpoolFailed
from abside.spool.write.complaint import Complaint
from abside.spool.write.settle import settle_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.spool.queue.backlog import Backlog
    from abside.spool.settings import SpoolStats
    from abside.spool.write.openfile import OpenFile
    from abside.spool.write.settle import SealResult

# Files may wait while the disk takes seconds for an fdatasync; each keeps a descriptor. Full load fills some four a
# second: a disk that is longer away than this and the open file's own bound are good for has to be reported.
MOST_FILES = 16

log = Log("abside.spool")


class Sealing:
    """A few files on their way into the backlog, the oldest first.

    `bytes` is their size. `synced` is called with how far a file reaches of all that was appended, its mark, and what
    its fdatasync came to. `trouble` is why the last try failed.
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
        self.bytes = 0
        self._waiting: deque[tuple[OpenFile, int]] = deque()
        self.job: asyncio.Future[list[SealResult | OSError]] | None = None
        self.trouble = ""
        self._queue = queue
        self._backlog = backlog
        self._stats = stats
        self._synced = synced
        self._durable = durable
        self._complain = Complaint("seal_failed", monotonic)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def marked(self) -> list[tuple[OpenFile, int]]:
        """The files with their marks, the oldest first."""
        return list(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether one more may be put up ahead of its turn."""
        return len(self._waiting) < MOST_FILES

    def put_up(self, file: OpenFile, mark: int) -> None:
        """Take a file to seal after those that wait."""
        self._waiting.append((file, mark))
        self.bytes += file.length

    async def settle(self) -> None:
        """Bring what waits now to its end. Raises SpoolFailed; it is then tried again later, in the same order."""
        if not self._waiting:
            return
        if self.job is None:
            files = [file for file, _ in self._waiting]
            self.job = asyncio.get_running_loop().run_in_executor(None, settle_all, files, self._queue, self._durable)
        await asyncio.wait([self.job])  # a caller that is cancelled here leaves the job and its result to the next
        done, self.job = self.job, None  # also when it failed: the next caller tries anew
        try:
            results = done.result()
        except OSError as exc:
            results = [exc]
        for result in results:
            self._take(*self._waiting[0], result)

    def _take(self, file: OpenFile, mark: int, settled: SealResult | OSError) -> None:
        """Take what became of the oldest file. Raises SpoolFailed."""
        if isinstance(settled, OSError):
            raise self._failed(file, settled) from settled
        self._synced(mark, settled.sync_problem)
        if settled.segment is None and not settled.gone:
            raise self._failed(file, settled.move_problem) from settled.move_problem
        self._waiting.popleft()
        self.bytes -= file.length
        self.trouble = ""
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
