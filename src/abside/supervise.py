"""Background tasks that never die silently: each is named, and is either fatal to its process or restarted visibly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from abside.backoff import Backoff
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

OnDeath = Literal["fatal", "restart"]
log = Log("abside.supervise")


class Supervisor:
    """Starts, watches and stops the background tasks of one process.

    A task that ends with an exception is restarted with backoff (`restart`), and stands in `degraded` by name until
    it has run through `healthy_seconds`, or ends the process (`fatal`: `on_fatal` is called once with its name).
    """

    def __init__(self, on_fatal: Callable[[str], None], *, healthy_seconds: float = 30.0) -> None:
        self._on_fatal = on_fatal
        self._healthy_seconds = healthy_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.degraded: dict[str, str] = {}  # task name → what it last died of
        self.deaths: dict[str, int] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]], on_death: OnDeath = "restart") -> None:
        """Start `work` under `name`; a name runs once. Raises ValueError for a name already running."""
        if name in self._tasks and not self._tasks[name].done():
            raise ValueError(f"background task {name!r} is already running")
        loop = asyncio.get_running_loop()
        self._tasks[name] = loop.create_task(self._watch(name, work, on_death), name=name)

    async def stop(self, *names: str) -> None:
        """Cancel the named tasks (all when none is named) and wait for their end."""
        chosen = [self._tasks.pop(name) for name in (names or tuple(self._tasks)) if name in self._tasks]
        for task in chosen:
            task.cancel()
        await asyncio.gather(*chosen, return_exceptions=True)

    async def _watch(self, name: str, work: Callable[[], Awaitable[None]], on_death: OnDeath) -> None:
        backoff = Backoff(first_seconds=0.2, longest_seconds=10.0)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            recovery = loop.call_later(self._healthy_seconds, self.degraded.pop, name, None)
            try:
                await work()
            except Exception as exc:  # noqa: BLE001 the one place where the death of a task is decided on
                self.deaths[name] = self.deaths.get(name, 0) + 1
                self.degraded[name] = f"{type(exc).__name__}: {exc}"
                log.crash("task_died", exc, task=name, then=on_death)
            else:
                self.degraded.pop(name, None)
                return
            finally:
                recovery.cancel()
            if on_death == "fatal":
                self._on_fatal(name)
                return
            if loop.time() - started >= self._healthy_seconds:
                backoff.reset()
            await asyncio.sleep(backoff.next_seconds())
