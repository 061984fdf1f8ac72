"""What every client posts once the sidecar answers: each request in turn, and what follows from how it went."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from abside.client.message import EVENTS, encode
from abside.client.result import CallFailed, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from abside.client.away.fallback import Fallbacks

POSTING_SECONDS = 1.0  # for all that are kept: 10,000 events in 20 batches; only `close` waits for it


def wall_us() -> int:
    """Return the time in µs UTC."""
    return time.time_ns() // 1000


def posts(fallbacks: Fallbacks) -> Generator[tuple[str, bytes], CallFailed | None, None]:
    """Yield path and body of each request; send in why it failed, or None. Ends when nothing is left, or at a failure.

    What is not accepted is kept, also where an exception is thrown in, or the generator is closed.
    """
    unsent = fallbacks.unsent
    while events := fallbacks.take():
        try:
            failed = yield EVENTS, encode(events)
        except BaseException:
            fallbacks.put_back(events)
            raise
        if failed is None:
            fallbacks.accepted(events)
        elif isinstance(failed, Refused):
            after_refusal(fallbacks, events, failed)
        else:
            fallbacks.put_back(events)
            return
    while batch := unsent.take():
        try:
            failed = yield batch.path, batch.body
        except BaseException:
            unsent.put_back(batch)
            raise
        if failed is None:
            unsent.accepted(batch)
        elif isinstance(failed, Refused):
            fallbacks.complaints.failed("report", failed)
            unsent.not_accepted(batch, failed.index)
        else:
            unsent.put_back(batch)
            fallbacks.later()
            return


def post_all(fallbacks: Fallbacks, send: Callable[[str, bytes], None]) -> None:
    """Post what is kept by calls of `send`, which raises CallFailed, until nothing is left or it is not taken."""
    failed: CallFailed | None = None
    with closing(posts(fallbacks)) as posting, suppress(StopIteration):
        while True:
            path, body = posting.send(failed)
            try:
                send(path, body)
                failed = None
            except CallFailed as exc:
                failed = exc


def after_refusal(fallbacks: Fallbacks, events: list[dict[str, Any]], refused: Refused) -> None:
    """Drop the one event that the sidecar named and put back the others; drop all when it named none.

    Each refusal thus shortens what is left, so posting ends.
    """
    if refused.index is None or not 0 <= refused.index < len(events):
        fallbacks.refused(events)
        return
    fallbacks.refused([events.pop(refused.index)])
    fallbacks.put_back(events, later=False)
