"""Runs the compiling child: a process of its own, so that the agent stays small and outlives any document."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from abside_agent.exchange import Order, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_MEMORY = 3  # as in child.py, which this process must not import: it brings YAML and msgspec
COMMAND = (sys.executable, "-P", "-m", "abside_agent.child")  # -P: the working directory is no place to import from


class ChildError(Exception):
    """The child did not answer: it was stopped at a limit, or died."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the documents could not be compiled: {self.reason}"


def run(order: Order, seconds: float, command: Sequence[str] = COMMAND) -> Outcome:
    """Have an order answered. Raises ChildError."""
    try:
        done = subprocess.run(command, input=order.pack(), stdout=subprocess.PIPE, timeout=seconds, check=False)  # noqa: S603 our own command
    except subprocess.TimeoutExpired as exc:
        raise ChildError(f"it took longer than {seconds:g} s") from exc
    except OSError as exc:
        raise ChildError(f"no process could be started: {exc}") from exc
    if done.returncode != 0:
        raise ChildError(_why(done.returncode, order))
    try:
        return Outcome.unpack(done.stdout)
    except (ValueError, TypeError) as exc:
        raise ChildError("its answer cannot be read") from exc


def _why(code: int, order: Order) -> str:
    if code == EXIT_MEMORY:
        return f"it needed more than {order.memory_bytes // 2**20} MiB of memory"
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return f"it was stopped after {order.cpu_seconds} s of CPU, or for want of memory"
    return f"the process ended with {code}"
