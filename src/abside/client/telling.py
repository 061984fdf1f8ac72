"""How fallbacks are posted, whatever the client: the bound, the clock, and what a refusal means."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abside.client.fallback import Fallbacks
    from abside.client.result import Refused

TELL_SECONDS = 1.0  # for all that waits: 10,000 events in 20 batches; nobody waits for it but a close


def wall_us() -> int:
    """Give the time in µs UTC."""
    return time.time_ns() // 1000


def after_refusal(fallbacks: Fallbacks, events: list[dict[str, Any]], refused: Refused) -> None:
    """Leave out the one event the sidecar named and take back the others; all of them when it named none.

    Each refusal thus shortens what is left, so posting ends.
    """
    if refused.index is None or not 0 <= refused.index < len(events):
        fallbacks.refused(events)
        return
    fallbacks.refused([events.pop(refused.index)])
    fallbacks.not_told(events, later=False)
