"""A spool in memory: what the sidecar's journal writes is kept in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside import event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.event import EventMap

OWN = frozenset({"config", "account"})  # what a sidecar tells the analyst of itself


class MemorySpool:
    """That part of a spool which a journal uses. It never refuses, and grows with what a test sends."""

    def __init__(self) -> None:
        self.before_seal: Callable[[], Sequence[bytes]] = tuple  # nothing is sealed here
        self._payloads: list[bytes] = []

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep packed events."""
        self._payloads += payloads

    def append_each(self, payloads: Sequence[bytes]) -> None:
        """Keep packed events; None: each of them."""
        self._payloads += payloads

    def clear(self) -> None:
        """Forget all."""
        self._payloads.clear()

    def events(self) -> list[EventMap]:
        """Return exposures and callers' events in their order."""
        found = [event.decode(one) for one in self._payloads]
        return [one for one in found if one["type"] not in OWN]
