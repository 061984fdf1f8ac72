"""Reads the other ConfigMaps of a namespace that a review needs, through the Kubernetes API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from abside_agent.watch.config_map import ExpiredError, GarbageError, RefusedError, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside_agent.admission.review import ReviewKeys
    from abside_agent.watch.api import Access


class UnreadError(Exception):
    """A ConfigMap could not be read."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"{self.name} could not be read ({self.why})"


class Neighbours:
    """Reads ConfigMaps as the service account of the webhook."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def read(self, namespace: str, names: Sequence[str], seconds: float) -> list[ReviewKeys]:
        """Return the keys of each ConfigMap, none for one that does not exist. Raises UnreadError.

        `seconds`: for all of them together.
        """
        return list(await asyncio.gather(*(self._one(namespace, name, seconds) for name in names)))

    async def _one(self, namespace: str, name: str, seconds: float) -> ReviewKeys:
        try:
            async with asyncio.timeout(seconds):
                token = self._access.read("token")  # read each time: Kubernetes renews it
                connection = self._access.connect(token, name, answer=seconds, silence=seconds, namespace=namespace)
                async with connection as query:
                    return listed(await query.list(), name).keys or {}
        except TimeoutError as exc:
            raise UnreadError(name, f"the API did not answer within {seconds:g} s") from exc
        except OSError as exc:
            raise UnreadError(name, exc.strerror or str(exc) or type(exc).__name__) from exc
        except (aiohttp.ClientError, RefusedError, ExpiredError, GarbageError, ValueError) as exc:
            raise UnreadError(name, str(exc) or type(exc).__name__) from exc
