"""Starts the watches by the Kubernetes API that the settings ask for, and waits for their events."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from abside_agent.sources.followed import Followed
from abside_agent.sources.newest import Watched

if TYPE_CHECKING:
    from abside_agent.document.reading import Pauses
    from abside_agent.settings import AgentSettings
    from abside_agent.sources.keys import Keys
    from abside_agent.sources.mounted import Mounted
    from abside_agent.watch.cluster import Cluster

MAX_CONFIG_MAPS = 16  # full ones reach the bound for all directories; each is a connection and a thread
# After a restart the volume may show an older state; the API usually answers within a tenth of this.
FIRST_ANSWER_SECONDS = 2.0


class SettingWrongError(ValueError):
    """Settings that do not go together."""

    def __init__(self, option: str, why: str) -> None:
        super().__init__(option, why)
        self.option = option
        self.why = why

    def __str__(self) -> str:
        return f"{self.option}: {self.why}"


class WakeUp:
    """Wakes the loop at once. A queue, because an Event may deadlock when it is set by a signal's handler."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the loop, now or at its next wait."""
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until `ring` was called or the time is over; several calls count as one."""
        with suppress(Empty):
            self._queue.get(timeout=seconds)
            while True:
                self._queue.get_nowait()


def names_watched(settings: AgentSettings) -> tuple[str, ...]:
    """Return the names of the ConfigMaps to watch. Raises SettingWrongError."""
    names, paused = settings.fast_watch_config, settings.fast_watch
    option = "--fast-watch-config"
    if names and len(settings.config) > 1:
        why = f"its ConfigMaps are those of one --config directory, and there are {len(settings.config)}"
        raise SettingWrongError(option, f"{why}: mount them together, as one projected volume")
    if len(names) > MAX_CONFIG_MAPS:
        raise SettingWrongError(option, f"{len(names)} ConfigMaps; at most {MAX_CONFIG_MAPS} can be watched")
    for name in names:
        if names.count(name) > 1:
            raise SettingWrongError(option, f"{name} is given twice; name each ConfigMap once")
        if name == paused:
            raise SettingWrongError(option, f"{name} is that of --fast-watch; documents need a ConfigMap of their own")
    return names if paused is None else (paused, *names)


class FastWatch:
    """The watches of one agent. Their imports are in here, because they take 15 MB."""

    def __init__(self, settings: AgentSettings, source: Mounted) -> None:
        from abside_agent.watch.api import Access  # noqa: PLC0415 see above
        from abside_agent.watch.cluster import Cluster  # noqa: PLC0415 see above
        from abside_agent.watch.topic import EXPERIMENTS, PAUSES  # noqa: PLC0415 see above

        environment = os.environ  # noqa: TID251 this is a root, and the two variables are Kubernetes', not settings of ours
        url = settings.cluster_api or in_cluster(
            environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
        )
        access = Access(url, Path(settings.cluster_credentials))
        self.wake_up = wake_up = WakeUp()
        self._documents = {
            name: Cluster(access, name, EXPERIMENTS, wake_up.ring) for name in settings.fast_watch_config
        }
        self._clusters: list[Cluster[Keys] | Cluster[Pauses]] = [*self._documents.values()]
        if self._documents:
            source.followed = Followed({**self._documents})
        if settings.fast_watch is not None:
            pauses = Cluster(access, settings.fast_watch, PAUSES, wake_up.ring)
            source.watched = Watched(settings.fast_watch, pauses)
            self._clusters.append(pauses)

    def start(self) -> None:
        """Start to watch, and wait shortly for the documents: after a restart the volume may be older."""
        for cluster in self._clusters:
            cluster.start()
        until = time.monotonic() + FIRST_ANSWER_SECONDS
        for cluster in self._documents.values():
            cluster.await_answer(until - time.monotonic())

    def wait(self, seconds: float) -> None:
        """Wait for an event, or the end of the time."""
        self.wake_up.wait(seconds)

    def close(self) -> None:
        """End the watches."""
        for cluster in self._clusters:
            cluster.close()


def in_cluster(host: str | None, port: str | None) -> str:
    """Return the API's address from the variables of the pod; the name of the Service where they are absent."""
    host = host or "kubernetes.default.svc"
    return f"https://{f'[{host}]' if ':' in host else host}:{port or 443}"
