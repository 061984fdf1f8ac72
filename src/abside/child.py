"""One of the processes that `abside up` runs: started, watched, restarted after a death, never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside.backoff import Backoff
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

log = Log("abside.up")
LOOK_SECONDS = 0.1
STOP_SECONDS = 30.0  # the sidecar's own drain bound is 25 s
QUICK_SECONDS = 10.0  # a process that dies younger than this could not start
QUICK_DEATHS = 5  # in a row; with their waits about 5 s: a person is watching
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FAILED, USAGE = 1, 2  # exit codes


class CannotRun(Exception):  # noqa: N818 read as a sentence where it is caught
    """Why the three cannot run here, in sentences for a person, and the exit code."""

    def __init__(self, code: int, *sentences: str) -> None:
        super().__init__(code, *sentences)
        self.code = code
        self.sentences = sentences

    def __str__(self) -> str:
        return "\n".join(f"abside up: {one}" for one in self.sentences)


@dataclass(slots=True)
class Child:
    """One of the three: its arguments after `abside`, the URL that shows that it runs, and its state."""

    name: str
    arguments: tuple[str, ...]
    alive: str  # URL that answers 200 once it runs
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0  # monotonic seconds
    due: float = 0.0  # monotonic seconds of the next start, when it does not run
    quick_deaths: int = 0
    backoff: Backoff = field(default_factory=lambda: Backoff(first_seconds=0.5, longest_seconds=5.0))

    def tend(self, now: float) -> None:
        """Start it when it is due; log its death and plan a restart. Raises CannotRun after too many quick deaths."""
        if self.process is None:
            if now >= self.due:
                self.process, self.started = _start(self.arguments), now
            return
        code = self.process.poll()
        if code is None:
            return
        self.process = None
        if code == USAGE and now - self.started < QUICK_SECONDS:
            sentence = f"{self.name} does not take a setting that it was given; its own line above names it"
            raise CannotRun(USAGE, f"{sentence} and what would be right")
        if now - self.started < QUICK_SECONDS:
            self.quick_deaths += 1
        else:
            self.quick_deaths = 0
            self.backoff.reset()
        then = "giving up" if self.quick_deaths >= QUICK_DEATHS else "restarting"
        sentence = f"{self.name} died (code {code}): {then}"
        log.error(sentence)  # at once: what follows may take a drain
        if self.quick_deaths >= QUICK_DEATHS:
            raise CannotRun(
                FAILED,
                f"{self.name} died {QUICK_DEATHS} times (last with code {code}), each time within {QUICK_SECONDS:g} s"
                " of its start: giving up. Its own lines above say why; what it had accepted is kept. To see it alone:"
                f" abside {' '.join(self.arguments)}",
            )
        self.due = now + self.backoff.next_seconds()

    def stop(self, signals: list[int]) -> int:
        """Send SIGTERM; SIGKILL after STOP_SECONDS or a second Ctrl-C. Return the exit code; 0 when it does not run."""
        process = self.process
        if process is None:
            return 0
        until = time.monotonic() + STOP_SECONDS
        process.terminate()
        while process.poll() is None:
            if time.monotonic() > until or signals.count(signal.SIGINT) > 1:
                process.kill()
                return process.wait()
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        return process.wait()


def _start(arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process only, which stops the three in their order.
    return subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "abside", *arguments],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        preexec_fn=_die_with_parent(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509 no threads here
    )


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a child runs before its own program, so that the kernel ends it too after kill -9 of its parent.

    It is SIGKILL, as no process is left to stop the three in their order: accepted events are in the spool, and the
    addresses are free at once.
    """
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died in between
            os._exit(FAILED)

    return before_exec
