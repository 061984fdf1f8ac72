"""One order from stdin to one reply on stdout, within the order's limits on this process's CPU time and memory."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from abside_agent.run.child.exchange import EXIT_MEMORY, Order

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.run.child.exchange import ChildReply


def answer_one(answer: Callable[[Order], ChildReply]) -> int:
    """Answer one order, and return the exit code: 0, or EXIT_MEMORY where memory ran out."""
    _speak_as_the_parent()
    order = Order.unpack(sys.stdin.buffer.read())
    _limit(order)
    try:
        answered = answer(order).pack()
    except MemoryError:
        return EXIT_MEMORY
    sys.stdout.buffer.write(answered)
    return 0


def _speak_as_the_parent() -> None:
    """Make JSON of a traceback where the parent's lines are JSON. The import takes 10 ms that a pause waits for."""
    if os.environ.get("ABSIDE_LOG_FORMAT") == "json":  # noqa: TID251 its parent sets it
        from abside.log import setup_child  # noqa: PLC0415 see above

        setup_child("child")


def _limit(order: Order) -> None:
    """Limit CPU time and address space of this process; the parent limits the duration."""
    for kind, amount in (
        (resource.RLIMIT_CPU, order.cpu_seconds),
        (resource.RLIMIT_AS, order.memory_bytes),
    ):
        with suppress(ValueError, OSError):  # macOS has no RLIMIT_AS, and a lower limit may be set already
            resource.setrlimit(kind, (amount, amount))
