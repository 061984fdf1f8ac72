"""The Python client for rec services: it asks the sidecar beside it; it never fails, and waits within a deadline only.

`Client` needs the standard library only and may be shared between threads and across forks; `AsyncClient` needs
aiohttp, which is imported only when it is asked for. Both have the methods of `Calls`. So has `Local`, which decides in
this process and needs the base install; it too is imported when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from abside.client.blocking import Client
from abside.client.result import Assigned, Assignment, Flag, Receipt, Refused, Stats, Unit, Why
from abside.client.visit import Visit

if TYPE_CHECKING:
    from abside.client.aio import AsyncClient

__all__ = [
    "Assigned",
    "Assignment",
    "AsyncClient",
    "Client",
    "Flag",
    "Receipt",
    "Refused",
    "Stats",
    "Unit",
    "Visit",
    "Why",
]


def __getattr__(name: str) -> Any:
    if name == "AsyncClient":
        from abside.client.aio import AsyncClient  # noqa: PLC0415 the blocking client works where aiohttp is absent

        return AsyncClient
    if name == "Local":
        return import_module("abside.client.local").Local  # by name: nothing else of this package knows of it
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
