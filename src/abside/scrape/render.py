"""`/metrics` in Prometheus' text format: plain figures of the process, read at the scrape and nowhere else."""

from __future__ import annotations

import asyncio
import time
from itertools import chain
from typing import TYPE_CHECKING

from abside.scrape.own import own_figures
from abside.serve.answer import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from aiohttp import web
    from prometheus_client.core import Metric

RENDER_SECONDS = 1.0  # what was rendered is answered for so long: whoever scrapes more often costs nothing more
CONTENT_TYPE = "text/plain; version=0.0.4"  # which of its formats this is, Prometheus 3 wants to know


class Scrape:
    """One process's answer to scrapes. `collect` yields its families, `monotonic` returns seconds."""

    def __init__(
        self, collect: Callable[[], Iterable[Metric]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.collect = collect
        self._monotonic = monotonic
        self._rendering = asyncio.Lock()
        self._rendered = Response(200, b"", CONTENT_TYPE)
        self.fresh_until = float("-inf")  # monotonic seconds

    async def get(self, _request: web.BaseRequest, _: bytes) -> Response:
        """Answer `/metrics`."""
        return await self.render()

    async def render(self) -> Response:
        """Return one scrape, at most RENDER_SECONDS old: all who ask in that time share it."""
        async with self._rendering:
            if self._monotonic() >= self.fresh_until:
                self._rendered = Response(200, await self._render(), CONTENT_TYPE)
                self.fresh_until = self._monotonic() + RENDER_SECONDS
        return self._rendered

    async def _render(self) -> bytes:
        """Render family by family, with a turn of the loop between two. The library is imported at the first."""
        from prometheus_client import generate_latest  # noqa: PLC0415 30 ms that start-up saves

        pieces: list[bytes] = []
        last = ""
        for family in chain(self.collect(), own_figures()):
            text = generate_latest(_One(family))  # it asks for nothing but collect()
            if family.name == last:  # a further slice of the same: its two lines of description were written
                text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
            last = family.name
            pieces.append(text)
            await asyncio.sleep(0)
        return b"".join(pieces)


class _One:
    """A registry of one family, as prometheus-client takes one."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family
