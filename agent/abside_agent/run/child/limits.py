"""The limits of a child on its own CPU time and memory."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abside_agent.run.child.exchange import Order


def limit(order: Order) -> None:
    """Limit CPU time and address space of this process; the parent limits the duration."""
    for kind, amount in (
        (resource.RLIMIT_CPU, order.cpu_seconds),
        (resource.RLIMIT_AS, order.memory_bytes),
    ):
        with suppress(ValueError, OSError):  # macOS has no RLIMIT_AS, and a lower limit may be set already
            resource.setrlimit(kind, (amount, amount))
