"""The spool of a process beside the sidecar: one folder, made on the first write; no thread, no timer, no event loop.

Whoever owns it asks by calls only, so a segment is sealed on the call that finds it full or old. What a silent process
left open is taken by the sidecar (see abside.spool.page), and what a dead one left is adopted.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.spool.errors import PayloadSizeError, SpoolFailed, SpoolFull, SpoolRefused
from abside.spool.frame import frame
from abside.spool.page import ALLOWED, APPENDED, ASKED, BUSY, LIMIT, LOCAL, PAGE, OwnPage, make_shared, share
from abside.spool.segment import OPEN, SEALED, listed
from abside.spool.settings import LIMIT_BYTES, SEAL_BYTES, SEAL_EVENTS, SEAL_SECONDS
from abside.spool.write.openfile import create
from abside.spool.write.writer import no_account

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from abside.spool.write.openfile import OpenFile

# Before the sidecar has said what this process may write, which takes it up to half a second: 30,000 exposures. But not
# more than this part of what is left: workers that die and come back while no sidecar runs must not fill the disk.
FIRST_BYTES = 16 * 2**20
FIRST_PART = 4


class ProcessSpool:
    """Appends before a call returns. For one thread at a time; a forked child makes its own, of another `boot`.

    `now_us` is the wall clock. `before_seal` returns payloads that are appended at each seal, whatever the quota.
    """

    def __init__(self, spool: Path, boot: str, now_us: Callable[[], int], seal_seconds: float = SEAL_SECONDS) -> None:
        self.before_seal: Callable[[], Sequence[bytes]] = no_account
        self._spool = spool
        self._boot = boot
        self._now_us = now_us
        self._seal_us = int(seal_seconds * 1e6)
        self._page: OwnPage | None = None
        self._open: OpenFile | None = None
        self._since_us = 0  # of the open file's first event
        self._answered = 0  # how often the sidecar had asked when the open file was begun
        self._appended = 0
        self._seq = 0

    @property
    def directory(self) -> Path:
        """Where its segments are."""
        return self._spool / LOCAL / self._boot

    def obstacle(self) -> str:
        """Return why nothing can be written, with what would be right; empty where it can."""
        if self._page is not None:
            return ""
        local = self._spool / LOCAL
        place = local if local.is_dir() else self._spool
        if not place.is_dir():
            return f"there is no directory {self._spool}: mount the sidecar's spool into this container"
        if not os.access(place, os.W_OK | os.X_OK):
            return f"user {os.getuid()} may not write to {place}: give app and sidecar one group by the pod's fsGroup"
        return ""

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all payloads in one write, or none: when this returns they survive the death of the process.

        Raises SpoolFull where this process has used up its share of the quota, SpoolFailed, or PayloadSizeError.
        """
        if len(payloads) == 1:
            self.append_one(payloads[0])
        else:
            self._append(b"".join(map(frame, payloads)), len(payloads))

    def append_one(self, payload: bytes) -> None:
        """Write one payload in the same way."""
        self._append(frame(payload), 1)

    def _append(self, data: bytes, events: int) -> None:
        words = (self._page or self._claim()).words
        if self._appended + len(data) > words[ALLOWED]:
            raise SpoolFull(self._spool, "quota", self._appended, words[ALLOWED])
        was = words[BUSY]  # 1 where a signal handler's call comes in the middle of another
        try:
            words[BUSY] = 1
            opened, asked = self._open, words[ASKED]
            if opened is None or asked != self._answered:
                opened = self._begin(asked)
            opened.write(data, events)
        finally:
            words[BUSY] = was
        self._appended = words[APPENDED] = self._appended + len(data)
        if (opened.length >= SEAL_BYTES or opened.events >= SEAL_EVENTS) and not was:  # else it is still written to
            self.seal()

    def seal_if_old(self, now_us: int) -> None:
        """Seal what has been open for the time that a batch may wait."""
        if self._open is not None and not 0 <= now_us - self._since_us < self._seal_us:  # or a clock stepped back
            self.seal()

    def append_each(self, payloads: Sequence[bytes]) -> tuple[list[bool], SpoolRefused] | None:
        """Write all payloads; None when all of them are in, else which are, and why the others are not."""
        try:
            self.append(payloads)
        except SpoolRefused as exc:
            why = exc
        else:
            return None
        is_in = []
        for payload in payloads:
            try:
                self.append([payload])
            except SpoolRefused:
                is_in.append(False)
            else:
                is_in.append(True)
        return is_in, why

    def seal(self, *, last: bool = False) -> None:
        """Add the account, and give what was appended so far to the sidecar; where that fails, the next call tries.

        `last`: the account is written also where it needs a file of its own.
        """
        page = self._page
        if page is None or (self._open is None and not last):
            return
        was = page.words[BUSY]
        try:
            page.words[BUSY] = 1
            asked = page.words[ASKED]
            if asked != self._answered:  # the sidecar has it, and the account is of the next
                self._put_away()
                if not last:
                    return
            opened = self._open or self._begin(asked)
            for payload in self.before_seal():
                with suppress(PayloadSizeError):
                    opened.write(frame(payload), 1)
            if opened.events:
                self._put_away()
        except SpoolFailed:  # what is appended is safe
            return
        finally:
            page.words[BUSY] = was

    def close(self) -> None:
        """Seal with the last account, and let the folder go for good: the sidecar takes what is there."""
        self.seal(last=True)
        if self._open is not None:
            self._open.discard()
            self._open = None
        if self._page is not None:
            self._page.close()
            self._page = None

    def abandon(self) -> None:
        """Close what a forked child inherited, and touch nothing: the parent goes on writing."""
        if self._open is not None:
            os.close(self._open.handle)
            self._open = None
        if self._page is not None:
            self._page.close()
            self._page = None

    def _begin(self, asked: int) -> OpenFile:
        self._put_away()
        self._answered = asked
        self._seq = max(self._seq + 1, self._now_us())
        opened = self._open = create(self.directory, self._seq, self._boot)
        share(opened.handle)
        self._since_us = self._now_us()
        return opened

    def _put_away(self) -> None:
        """Rename the open file to its sealed name, and close it. Raises SpoolFailed: it then stays open."""
        opened = self._open
        if opened is None:
            return
        try:
            opened.path.rename(opened.path.with_suffix(SEALED))
        except FileNotFoundError:  # the sidecar took it, or somebody removed it
            pass
        except OSError as exc:
            raise SpoolFailed("seal", opened.path, exc) from exc
        self._open = None
        os.close(opened.handle)

    def _claim(self) -> OwnPage:
        """Make and lock the folder, under another name until it is locked. Raises SpoolFailed."""
        local, making = self._spool / LOCAL, self._spool / LOCAL / f".{self._boot}"
        page: OwnPage | None = None
        try:
            if not local.is_dir():
                with suppress(FileExistsError):
                    make_shared(local)
            make_shared(making)
            page = OwnPage(making, self._first_bytes())
            making.rename(self.directory)
        except OSError as exc:
            if page is not None:
                page.close()
            with suppress(OSError):  # nothing of it may be in the way of the next call, which tries again
                (making / PAGE).unlink(missing_ok=True)
                making.rmdir()
            raise SpoolFailed("make the directory", self.directory, exc) from exc
        self._page, self._appended, self._answered = page, 0, 0
        return page

    def _first_bytes(self) -> int:
        """Return what this process may write until the sidecar has looked: a part of what the quota leaves."""
        local = self._spool / LOCAL
        try:
            limit = int((local / LIMIT).read_bytes())
        except (OSError, ValueError):  # no sidecar has been here
            limit = LIMIT_BYTES
        places = [self._spool / "q", *local.iterdir()]
        used = sum(one.size for place in places for suffix in (OPEN, SEALED) for one in listed(place, suffix))
        return max(0, min(FIRST_BYTES, (limit - used) // FIRST_PART))
