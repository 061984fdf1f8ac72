"""Runs the compiling child: a process of its own, so that the agent stays small and no document can end it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import IO, TYPE_CHECKING

from abside_agent.run.child.exchange import EXIT_MEMORY, ChildReply, Order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "abside_agent.run.child.inside",
)  # -P: nothing is imported from the working directory
LOOK_SECONDS = 0.2  # how soon a stop or a pause is noticed while a child runs


class ChildError(Exception):
    """The child did not answer: it was stopped at a limit, or died."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the documents could not be compiled: {self.reason}"


class ChildLateError(ChildError):
    """The child exceeded its time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"it took longer than {seconds:g} s")


def run(
    order: Order,
    seconds: float,
    stop: Event,
    command: Sequence[str] = COMMAND,
    meanwhile: Callable[[], None] = lambda: None,
) -> ChildReply:
    """Return the reply to an order within `seconds`, unless stopped. Raises ChildLateError, ChildError.

    `meanwhile` is called every LOOK_SECONDS; an exception of it ends the child.
    """
    try:
        # A session of its own: Ctrl-C in a terminal must reach the agent only.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)  # noqa: S603 our own command
    except OSError as exc:
        raise ChildError(f"no process could be started: {exc}") from exc
    # In a thread, because `communicate` loses the rest of its input when it is called again after a timeout.
    question, child.stdin = child.stdin, None
    asking = Thread(target=_ask, args=(question, order.pack()), name="ask-child")
    asking.start()
    with child:
        try:
            answer = _answer(child, seconds, stop, meanwhile)
        finally:
            child.kill()
            asking.join()
    if child.returncode != 0:
        raise ChildError(_why(child.returncode, order))
    try:
        return ChildReply.unpack(answer)
    except (ValueError, TypeError) as exc:
        raise ChildError("its answer cannot be read") from exc


def _ask(question: IO[bytes], order: bytes) -> None:
    with suppress(BrokenPipeError), question:  # the exit code of a child that died is reported below
        question.write(order)


def _answer(child: subprocess.Popen[bytes], seconds: float, stop: Event, meanwhile: Callable[[], None]) -> bytes:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return child.communicate(timeout=max(0.0, min(LOOK_SECONDS, deadline - time.monotonic())))[0]
        except subprocess.TimeoutExpired as exc:
            if stop.is_set():
                raise ChildError("the agent was stopped") from exc
            if time.monotonic() >= deadline:
                raise ChildLateError(seconds) from exc
        meanwhile()


def _why(code: int, order: Order) -> str:
    if code == EXIT_MEMORY:
        return f"it needed more than {order.memory_bytes // 2**20} MiB of memory"
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"it was stopped after {order.cpu_seconds} s of CPU, or for want of memory"
    return f"the process ended with {code}"
