"""What every process of ours tells about itself: its version, and CPU, memory and descriptors by the kernel."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from abside import __version__
from abside.scrape.families import gauges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import ProcessCollector
    from prometheus_client.core import Metric

LEFT_OUT = "process_virtual_memory_bytes"  # it means nothing for a process that maps files


def own_figures(proc: str = "/proc") -> Iterator[Metric]:
    """Yield the version and, where there is a /proc, the process metrics that Prometheus' dashboards know by name."""
    yield gauges("build_info", "The version that runs here; always 1.", "version", {__version__: 1})
    yield from (one for one in _process(proc).collect() if one.name != LEFT_OUT)


@cache
def _process(proc: str) -> ProcessCollector:
    """Return what reads this process's figures: once, for it reads /proc/stat, which takes long on many cores."""
    from prometheus_client import ProcessCollector  # noqa: PLC0415 30 ms that start-up saves

    return ProcessCollector(proc=proc, registry=None)
