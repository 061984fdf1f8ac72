"""What processes beside the sidecar wrote comes into its queue: what they sealed, what they left, what grew old there.

One look at a time, in a thread; files move by one rename, so that whatever dies, an event is in one place.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from abside.files import write_whole
from abside.log import Log
from abside.spool.errors import SpoolFailed
from abside.spool.folder import is_written, move, sync, unforced
from abside.spool.frame import MAGIC
from abside.spool.page import ALLOWED, ASKED, LIMIT, LOCAL, PAGE, VISIBLE_SECONDS, OthersPage, make_shared
from abside.spool.queue.recovery import seal_found
from abside.spool.segment import BOOT, OPEN, SEALED, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from abside.spool.folder import Folder
    from abside.spool.queue.backlog import Backlog
    from abside.spool.segment import Segment
    from abside.spool.settings import SpoolSettings, SpoolStats

log = Log("abside.spool")
LOOK_SECONDS = 0.2  # while there are such processes: a full one waits so long for more of the quota
IDLE_LOOK_SECONDS = 0.5
LOOK_SHARE = 0.05  # of a core at most: two thousand folders take a look of some 50 ms
UNLOCKED_SECONDS = 60.0  # a folder that is being made has its name within milliseconds


@dataclass(slots=True)
class Neighbour:
    """A living process: its open segment as last seen, since when it is so, and since when it was asked for it."""

    seen: tuple[str, int] = ("", 0)  # name, bytes
    since: float = 0.0  # the monotonic clock's seconds
    asked_for: str = ""
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class BesideLook:
    """What a look found: segments that are in the queue now, living processes, and the bytes in their folders."""

    taken: list[Segment] = field(default_factory=list)
    living: int = 0
    bytes: int = 0


class Beside:
    """Looks after the folders below `local/`. `bytes` in them count against the quota."""

    def __init__(
        self,
        settings: SpoolSettings,
        folder: Folder,
        backlog: Backlog,
        stats: SpoolStats,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bytes = 0
        self.living = 0
        self.pause_seconds = IDLE_LOOK_SECONDS
        self._root = folder.root / LOCAL
        self._folder = folder
        self._limit_bytes = settings.limit_bytes
        self._silent_seconds = max(settings.seal_seconds, settings.quiet_seconds)
        self._durable = settings.fsync != "never"
        self._backlog = backlog
        self._stats = stats
        self._monotonic = monotonic
        self._known: dict[str, Neighbour] = {}
        self._announced = False  # the quota
        self._making: dict[str, float] = {}  # folders without their name, since when they are seen
        self._complained: set[str] = set()
        self._turn = asyncio.Lock()

    async def look(self, used_bytes: int, room_bytes: int) -> None:
        """Take what is there, and tell each process what it may write beside the `used_bytes` of all.

        `room_bytes`: what the disk has room for. Never raises OSError.
        """
        async with self._turn:
            began = self._monotonic()
            found = await asyncio.to_thread(self._look, used_bytes, room_bytes)
            for segment in found.taken:
                self._backlog.add(segment)
            self.bytes, self.living = found.bytes, found.living
            took = self._monotonic() - began
            pause = LOOK_SECONDS if self._known else IDLE_LOOK_SECONDS
            self.pause_seconds = max(pause, took / LOOK_SHARE)

    def _look(self, used_bytes: int, room_bytes: int) -> BesideLook:
        taken: list[Segment] = []
        waiting: dict[str, int] = {}
        folders = list(self._folders())
        for directory in folders:
            try:
                self._take_from(directory, taken)
            except (OSError, SpoolFailed) as exc:
                self._stats.failed(exc)
                self._complain(directory, exc)
            if directory.name in self._known:
                waiting[directory.name] = _bytes_in(directory)
        there = {directory.name for directory in folders}
        self._complained &= there
        for gone in self._known.keys() - there:
            del self._known[gone]
        total = sum(waiting.values())
        used = used_bytes - self.bytes + total + sum(one.size for one in taken)
        left = max(0, min(self._limit_bytes - used, room_bytes))
        for name in waiting:
            self._grant(self._root / name, left // len(waiting))
        return BesideLook(taken, len(waiting), total)

    def _folders(self) -> Iterator[Path]:
        """Yield the folders of processes; make `local/` where it is not, so that they can."""
        try:
            if not self._root.is_dir():
                make_shared(self._root)
            if not self._announced:
                write_whole(self._root / LIMIT, b"%d\n" % self._limit_bytes, fsync=unforced)
                with suppress(OSError):  # a file system without modes
                    (self._root / LIMIT).chmod(0o664)  # whatever the umask: for processes of other users
                self._announced = True
            entries = sorted(self._root.iterdir())
        except OSError as exc:
            self._stats.failed(exc)
            return
        now, made = self._monotonic(), {}
        for path in entries:
            if path.is_symlink() or not path.is_dir():
                continue
            if BOOT.match(path.name):
                yield path
            elif path.name.startswith("."):
                made[path.name] = self._making.get(path.name, now)
                if now - made[path.name] > UNLOCKED_SECONDS:  # its process died while it made it
                    _remove(path)
        self._making = made

    def _take_from(self, directory: Path, taken: list[Segment]) -> None:
        """Take what is sealed; of a dead process everything, and of a silent one what it has open.

        Each is added to `taken` once it is in the queue, whatever fails after it. Raises OSError, SpoolFailed.
        """
        taken.extend(self._into_queue(listed(directory, SEALED)))
        left = listed(directory, OPEN)
        try:
            page = OthersPage(directory)
        except FileNotFoundError:  # somebody removed it: a segment that nobody writes is left behind
            if not any(is_written(one.path) for one in left):
                taken.extend(self._adopt(directory, left))
            return
        with page:
            if page.claim():
                taken.extend(self._into_queue(listed(directory, SEALED)))  # sealed meanwhile
                taken.extend(self._adopt(directory, listed(directory, OPEN)))
            else:
                known = self._known.setdefault(directory.name, Neighbour())
                taken.extend(self._into_queue(self._silent(known, page, left)))

    def _silent(self, known: Neighbour, page: OthersPage, left: list[Segment]) -> list[Segment]:
        """Return the open segment that may be taken from a living process; ask for one that has grown old."""
        now = self._monotonic()
        seen = (left[-1].path.name, left[-1].size) if left else ("", 0)
        if seen != known.seen:
            known.seen, known.since = seen, now
        elif left and left[-1].size > len(MAGIC) and now - known.since >= self._silent_seconds:
            if known.asked_for != seen[0]:
                page.write(ASKED, page.read().asked + 1)
                known.asked_for, known.asked_at = seen[0], now
            elif now - known.asked_at >= VISIBLE_SECONDS and not page.read().busy:
                return left[-1:]
        return []

    def _adopt(self, directory: Path, left: list[Segment]) -> Iterator[Segment]:
        """Recover what a dead process had open, and remove its folder. Raises OSError, SpoolFailed."""
        for segment in left:
            events = seal_found(segment, self._folder.queue, self._backlog.dead, self._stats, durable=self._durable)
            path = self._folder.queue / segment.file_name
            if path.exists():
                yield replace(segment, path=path, size=path.stat().st_size, events=events)
        self._known.pop(directory.name, None)
        if _remove(directory):
            self._stats.adopted_folders += 1

    def _into_queue(self, segments: list[Segment]) -> Iterator[Segment]:
        """Make segments durable and move them into the queue. Raises OSError."""
        for segment in segments:
            path = self._folder.queue / f"{segment.name}{SEALED}"
            try:
                if self._durable:
                    sync(segment.path)
                move(segment.path, path, durable=self._durable)
            except FileNotFoundError:  # its process gave it its sealed name meanwhile: it comes with the next look
                continue
            self._stats.local_segments += 1
            yield replace(segment, path=path, size=path.stat().st_size)

    def _grant(self, directory: Path, more: int) -> None:
        with suppress(OSError), OthersPage(directory) as page:  # it ended meanwhile
            page.write(ALLOWED, page.read().appended + more)

    def _complain(self, directory: Path, problem: Exception) -> None:
        """Log the first problem of a folder; all are counted."""
        if directory.name not in self._complained:
            self._complained.add(directory.name)
            log.error(
                "local_folder_failed",
                directory=str(directory),
                reason=str(problem),
                remedy="the sidecar's group must be able to write there: see fsGroup in docs/local.md",
            )


def _bytes_in(directory: Path) -> int:
    return sum(one.size for suffix in (OPEN, SEALED) for one in listed(directory, suffix))


def _remove(directory: Path) -> bool:
    """Remove a folder with its page, and return whether it is gone; one that contains anything else stays."""
    try:
        (directory / PAGE).unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        return False
    return True
