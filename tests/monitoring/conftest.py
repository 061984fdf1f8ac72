"""What the processes expose, from the code that a scrape runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metrics_page import families
from prometheus_client import generate_latest
from tests.monitoring.exposed import Exposed
from tests.sidecar.conftest import fast_path, http, start, world  # noqa: F401 its fixtures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from prometheus_client.core import Metric
    from tests.sidecar.conftest import Running


class FamiliesOnly:
    """A registry of families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


@pytest.fixture
async def exposed(start: Callable[..., Awaitable[Running]]) -> Exposed:  # noqa: F811 the fixture imported above
    """Return what each process exposes; a sidecar that has done some of its work."""
    known = await families()
    texts = {"abside-sidecar": await of_sidecar(start)}
    for job, section in (
        ("abside-collector", "collector"),
        ("abside-collector-kafka", "collector from Kafka"),
        ("abside-admission", "admission"),
    ):
        texts[job] = generate_latest(FamiliesOnly(known[section])).decode()
    return Exposed(texts, [one for section in known.values() for one in section])


async def of_sidecar(start: Callable[..., Awaitable[Running]]) -> str:  # noqa: F811 as above
    running = await start(upstream="http://127.0.0.1:9", drain_seconds=0.0, metric_experiments=True)
    await running.assign(placement="pdp", user_id="qa-user-1")
    await running.post("/v1/events", [{"type": "client_fallback", "user_id": "u1"}])
    await running.post("/v1/assign", {"placement": "pdp"})  # a mistake: nobody is asked for
    return (await running.admin("/metrics")).text
