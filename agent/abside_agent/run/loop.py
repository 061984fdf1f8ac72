"""The agent process: turns, and the wait between them, until SIGTERM."""

from __future__ import annotations

import signal
from threading import Event
from typing import TYPE_CHECKING

from abside.log import Log, setup
from abside_agent.run.agent import Agent
from abside_agent.run.memory import give_back
from abside_agent.sources.mounted import MOUNTS, Mounted, mount_points
from abside_agent.watch.hints import Hints

if TYPE_CHECKING:
    from abside_agent.settings import AgentSettings
    from abside_agent.watch.begin import FastWatch

log = Log("abside.agent")


def main(settings: AgentSettings) -> int:
    """Run the agent until SIGTERM or SIGINT, or once. Return the exit code."""
    setup("agent", settings.log_level, settings.log_format)
    mounts = mount_points(MOUNTS.read_text()) if MOUNTS.exists() else frozenset()
    source = Mounted(settings.config, settings.paused, mounts)
    try:
        watch = _fast_watch(settings, source)
    except ValueError as exc:
        log.error("cannot_start", reason=str(exc))
        return 1
    stop = Event()

    def end(*_: object) -> None:
        stop.set()
        if watch is not None:
            watch.wake_up.ring()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    agent = Agent(settings, source, stop)
    if settings.once:
        agent.turn()
        return 0 if agent.is_clean else 1
    waits: Hints | FastWatch  # watch first, then read: no change is lost in between
    if watch is not None:
        # Without hints: a change of the volume is a minute old anyway.
        waits = watch
        watch.start()
    else:
        waits = Hints((*settings.config, *settings.paused), stop)
    log.info(
        "following", config=" ".join(settings.config), paused=" ".join(settings.paused), snapshot=settings.snapshot
    )
    try:
        while not stop.is_set():
            if agent.turn():
                give_back()
            waits.wait(settings.poll_seconds)
    finally:
        waits.close()
    log.info("stopped")
    return 0


def _fast_watch(settings: AgentSettings, source: Mounted) -> FastWatch | None:
    """Return the watches that the settings ask for. Raises ValueError for settings that do not go together."""
    if settings.fast_watch is None and not settings.fast_watch_config:
        return None
    from abside_agent.watch.begin import FastWatch, names_watched  # noqa: PLC0415 a megabyte that only watches need

    names_watched(settings)
    return None if settings.once else FastWatch(settings, source)
