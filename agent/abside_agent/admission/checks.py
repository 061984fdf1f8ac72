"""Runs the children of the webhook, one at a time: two would not fit into the container's memory."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING

from abside_agent.run.child.spawn import ChildError, ChildLateError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside_agent.run.child.exchange import ChildReply, Order


class Checks:
    """Answers orders by children. `seconds`: the longest that a child may run."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._one = asyncio.Lock()
        self._stop = Event()

    def stop(self) -> None:
        """End the running child; what waits for it is told that it did not answer."""
        self._stop.set()

    async def reply(
        self,
        order: Order,
        command: Sequence[str],
        seconds: float,
        late: Callable[[ChildReply], None] | None = None,
    ) -> ChildReply:
        """Return the reply within `seconds`, including the wait for another child. Raises ChildError.

        `late`: the child is not ended after `seconds`; what it replies then is given to this function.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        try:
            async with asyncio.timeout_at(until):
                await self._one.acquire()
        except TimeoutError as exc:
            raise ChildError("other changes were being checked all the time") from exc
        limit = until - loop.time() if late is None else self._seconds
        running = loop.run_in_executor(None, run, order, limit, self._stop, command)
        running.add_done_callback(lambda done: self._ended(done, late))
        done, _ = await asyncio.wait({running}, timeout=None if late is None else until - loop.time())
        if not done:
            raise ChildLateError(seconds)
        try:
            return running.result()
        except ChildLateError as exc:  # its own limit was what the wait left, a figure that means nothing to a person
            raise ChildLateError(seconds) from exc

    def _ended(self, done: asyncio.Future[ChildReply], late: Callable[[ChildReply], None] | None) -> None:
        self._one.release()
        if late is not None and not done.cancelled() and done.exception() is None:
            late(done.result())
