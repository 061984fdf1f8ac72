"""The spool of a process beside the sidecar: one folder, made on the first write; no thread, no timer, no event loop.

Whoever owns it asks by calls only, so a segment is sealed on the call that finds it full or old. What a silent process
left open is taken by the sidecar (see abside.spool.page), and what a dead one left is adopted.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.log import Log
from abside.spool.errors import PayloadSizeError, SpoolFailed, SpoolFull, SpoolRefused, disk_failed
from abside.spool.frame import MAGIC, frame
from abside.spool.page import ALLOWED, APPENDED, ASKED, BUSY, LOCAL, share
from abside.spool.segment import SEALED
from abside.spool.settings import SEAL_BYTES, SEAL_EVENTS, SEAL_SECONDS
from abside.spool.write.claim import claim
from abside.spool.write.openfile import create
from abside.spool.write.writer import no_account

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from abside.spool.page import OwnPage
    from abside.spool.write.openfile import OpenFile

MAX_SAVED = 8  # files of a removed folder: until it is noticed, a process that asks without pause fills a few

log = Log("abside.spool")


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
        self._saved: list[OpenFile] = []  # of a folder that somebody removed: their events are in the descriptors

    @property
    def directory(self) -> Path:
        """Where its segments are."""
        return self._spool / LOCAL / self._boot

    def obstacle(self) -> str:
        """Return why nothing can be written, with what would be right; empty where it can."""
        if self._page is not None:
            return ""
        local = self._spool / LOCAL
        if not os.access(self._spool, os.F_OK):
            return f"there is no directory {self._spool}: mount the sidecar's spool into this container"
        place = local if os.access(local, os.F_OK) else self._spool  # nor is there one in a directory closed to us
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
        except SpoolRefused:
            raise
        except BaseException:  # of a signal handler: what it came out of may have been done
            if not was and self._open is not None:
                self._open.measure()
            raise
        finally:
            words[BUSY] = was
        self._appended = words[APPENDED] = self._appended + len(data)
        if (opened.length >= SEAL_BYTES or opened.events >= SEAL_EVENTS) and not was:  # else it is still written to
            self.seal()

    def look(self, now_us: int) -> None:
        """Seal what has been open for the time that a batch may wait; leave a folder that somebody removed."""
        if self._page is not None and not self._page.is_in(self.directory):
            self._leave()
        if self._saved:
            with suppress(SpoolFailed):  # the next look tries
                self._write_saved()
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
        if self._saved:
            with suppress(SpoolFailed):
                self._write_saved()
        self.seal(last=True)
        if self._open is not None:
            self._open.discard()
            self._open = None
        if self._page is not None:
            self._page.close()
            self._page = None

    def abandon(self) -> None:
        """Close what a forked child inherited, and touch nothing: the parent goes on writing."""
        for one in (*self._saved, *((self._open,) if self._open else ())):
            os.close(one.handle)
        self._open, self._saved = None, []
        if self._page is not None:
            self._page.close()
            self._page = None

    def _leave(self) -> None:
        """Go on in a folder of another name; what the old one's open file has is sealed in it, or written once more."""
        log.error("local_folder_removed", directory=str(self.directory), consequence="this process begins another")
        with suppress(SpoolFailed):
            self._put_away()
        if self._page is not None:
            self._page.close()
            self._page = None
        self._boot = secrets.token_hex(8)

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
        sealed = opened.path.with_suffix(SEALED)
        try:
            opened.path.rename(sealed)
        except FileNotFoundError:
            # The sidecar did not take it, nor was it sealed before, by a call that a signal handler broke off.
            if (
                self._page is not None
                and self._page.words[ASKED] == self._answered
                and not (sealed.exists() and os.path.samestat(sealed.stat(), os.fstat(opened.handle)))
            ):
                self._save(opened)
                return
        except OSError as exc:
            raise disk_failed("seal", opened.path, exc) from exc
        self._open = None
        os.close(opened.handle)

    def _save(self, opened: OpenFile) -> None:
        self._open = None
        if len(self._saved) < MAX_SAVED:
            self._saved.append(opened)
        else:
            log.error("local_events_lost", events=opened.events, reason="somebody removes the directory all the time")
            os.close(opened.handle)

    def _write_saved(self) -> None:
        """Write what is in files whose names are gone, whatever the quota. Raises SpoolFailed."""
        asked = (self._page or self._claim()).words[ASKED]
        while self._saved:
            gone = self._saved[0]
            self._begin(asked).write(os.pread(gone.handle, gone.length, len(MAGIC)), gone.events)
            os.close(self._saved.pop(0).handle)

    def _claim(self) -> OwnPage:
        """Make and lock the folder. Raises SpoolFailed."""
        self._page, self._appended, self._answered = claim(self._spool, self._boot), 0, 0
        return self._page
