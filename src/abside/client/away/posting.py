"""What both clients share when they post fallbacks: the time allowed, the clock, and what follows a refusal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from abside.client.away.fallback import Fallbacks
    from abside.client.result import Refused

POSTING_SECONDS = 1.0  # for all that are kept: 10,000 events in 20 batches; only `close` waits for it


def wall_us() -> int:
    """Return the time in µs UTC."""
    return time.time_ns() // 1000


def after_refusal(fallbacks: Fallbacks, events: list[dict[str, Any]], refused: Refused) -> None:
    """Drop the one event that the sidecar named and put back the others; drop all when it named none.

    Each refusal thus shortens what is left, so posting ends.
    """
    if refused.index is None or not 0 <= refused.index < len(events):
        fallbacks.refused(events)
        return
    fallbacks.refused([events.pop(refused.index)])
    fallbacks.put_back(events, later=False)
