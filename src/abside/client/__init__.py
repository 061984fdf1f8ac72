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
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, install = _LATER[name]
    try:
        return getattr(import_module(place), name)
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("abside"):
            raise
        sentence = f"{name} needs {exc.name}, which a client alone does without: {install} (docs/python.md, Install)"
        raise ModuleNotFoundError(sentence, name=exc.name) from exc


# By name, since nothing else of this package knows of them: where each is, and what brings what it needs.
_LATER = {
    "AsyncClient": ("abside.client.aio", "pip install aiohttp"),
    "Local": ("abside.client.local", "pip install abside with its dependencies"),
}
