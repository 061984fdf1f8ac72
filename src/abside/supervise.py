"""Background tasks that never die silently: each is named, and is either fatal to its process or restarted visibly."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, Literal

from abside.backoff import Backoff
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

OnDeath = Literal["fatal", "restart"]
log = Log("abside.supervise")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_on_signal(stopping: asyncio.Event | None = None) -> asyncio.Event:
    """Return the event that SIGTERM and SIGINT set, in the running loop: `stopping`, or a new one.

    A process calls this before it starts, waits for the event, and then drains. Later signals do not cut the drain.
    """
    stopping = stopping or asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop where there is one: half the time a request takes on asyncio's own loop."""
    try:
        import uvloop  # noqa: PLC0415 absent on PyPy and Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def start_once(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task that belongs to one connection; it is not restarted, and an exception of it is logged as a bug."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_log_death)
    return task


class Supervisor:
    """Starts, watches and stops the background tasks of one process.

    A task that ends with an exception is restarted with backoff (`restart`) and is listed in `degraded` until it has
    run for `healthy_seconds`; or it ends the process (`fatal`: `on_fatal` is called once with its name).
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
            except Exception as exc:  # noqa: BLE001 the one place that decides what the death of a task means
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


def _log_death(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.crash("task_died", error, task=task.get_name(), then="ended")
