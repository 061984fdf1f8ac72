"""The text of `/metrics`: what every process has, and families as prometheus-client writes them."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from abside import __version__
from abside.scrape.families import histogram
from abside.scrape.own import own_figures
from abside.scrape.render import RENDER_SECONDS, Scrape

if TYPE_CHECKING:
    from pathlib import Path


async def samples(scrape: Scrape) -> dict[str, float]:
    text = (await scrape.render()).body.decode()
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_every_process_tells_its_version_cpu_memory_and_descriptors() -> None:
    found = await samples(Scrape(lambda: ()))
    assert found.keys() == {
        f"abside_build_info{__version__}",
        *(f"process_{name}" for name in ("cpu_seconds_total", "resident_memory_bytes", "start_time_seconds")),
        *("process_open_fds", "process_max_fds"),
    }
    assert found["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert found["process_open_fds"] >= 3
    assert found["process_resident_memory_bytes"] > 2**20
    assert 0 < found["process_cpu_seconds_total"] <= sum(os.times()[:2]) + 0.1
    assert found["process_start_time_seconds"] > 0


def test_without_a_proc_only_the_version_is_told(tmp_path: Path) -> None:
    assert [family.name for family in own_figures(str(tmp_path))] == ["abside_build_info"]


async def test_descriptors_are_counted_at_the_scrape(tmp_path: Path) -> None:
    now = [0.0]
    scrape = Scrape(lambda: (), lambda: now[0])
    before = (await samples(scrape))["process_open_fds"]
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        now[0] += RENDER_SECONDS
        assert (await samples(scrape))["process_open_fds"] == before + 2


async def test_a_histograms_buckets_are_cumulative() -> None:
    family = histogram("x_seconds", "Some.", (0.5, 1.0), (3, 0, 2), 7.5)
    found = await samples(Scrape(lambda: [family]))
    assert {name: value for name, value in found.items() if "x_seconds" in name} == {
        "abside_x_seconds_bucket0.5": 3,
        "abside_x_seconds_bucket1.0": 3,
        "abside_x_seconds_bucket+Inf": 5,
        "abside_x_seconds_count": 5,
        "abside_x_seconds_sum": 7.5,
    }
