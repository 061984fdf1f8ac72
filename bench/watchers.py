"""Many agents' watches against one API server: how long a change takes to reach all, and how they come back.

python bench/watchers.py [WATCHERS]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from abside.supervise import Supervisor
from abside_agent.watch.api import Access
from abside_agent.watch.cluster import Cluster
from abside_agent.watch.timeouts import WatchTimeouts
from abside_agent.watch.topic import PAUSES
from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.document.reading import Pauses

PATIENCE_SECONDS = 60.0
BACK_SECONDS = 5.0  # the longest back-off here; in a pod it is 30


async def main(watchers: int, back_seconds: float = BACK_SECONDS) -> dict[str, float]:
    """Connect them, change the ConfigMap, cut them, forget versions, go away and come back. Give the seconds."""
    api = FakeApi().start()
    supervisor = Supervisor(print)
    with tempfile.TemporaryDirectory() as folder:
        access = Access(api.url, api.credentials(Path(folder)))
        patience = WatchTimeouts(longest=back_seconds, look=back_seconds)
        all_of_them = [Cluster(access, "abside-paused", PAUSES, int, patience) for _ in range(watchers)]
        try:
            for number, cluster in enumerate(all_of_them):
                supervisor.start(f"watch-{number}", cluster._follow)  # noqa: SLF001 in one loop instead of a thread each
            return await _measure(api, all_of_them)
        finally:
            await supervisor.stop()
            await asyncio.to_thread(api.end)
            assert supervisor.deaths == {}


async def _measure(api: FakeApi, all_of_them: list[Cluster[Pauses]]) -> dict[str, float]:
    def report(pauses: dict[str, str]) -> Callable[[], bool]:
        return lambda: all(one.report.observation and one.report.observation.content == pauses for one in all_of_them)

    def watching() -> bool:
        return api.watching == len(all_of_them)

    took = {"connect": await until(watching)}
    for number in range(3):
        begun = time.monotonic()
        await asyncio.to_thread(api.put, {"x": str(number)})
        await until(report({"x": str(number)}))
        took[f"change {number + 1}"] = time.monotonic() - begun
    await asyncio.to_thread(api.cut)
    await asyncio.to_thread(api.put, {"x": "cut"})
    took["change while cut"] = await until(report({"x": "cut"}))
    await until(watching)
    api.data = {"x": "expired"}
    await asyncio.to_thread(api.expire)
    took["change in an expired version"] = await until(report({"x": "expired"}))
    await until(watching)
    await asyncio.to_thread(api.stop)
    await until(lambda: not any(one.report.observation and one.report.observation.is_fresh for one in all_of_them))
    await asyncio.sleep(1.0)
    assert report({"x": "expired"})(), "the last word stays"
    await asyncio.to_thread(api.start)
    took["back after an outage"] = await until(watching)
    took["lists of each"] = api.lists / len(all_of_them)
    return took


async def until(holds: Callable[[], bool]) -> float:
    """Wait; return how long it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < PATIENCE_SECONDS
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


if __name__ == "__main__":
    for what, seconds in asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)).items():
        print(f"{what:30} {seconds:.2f}")
