"""Pauses ahead of the documents: which reading of them must still be applied to the snapshot in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from abside_agent.settle.pause import only_more

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.document.reading import Pauses, Reading

Shown: TypeAlias = "tuple[dict[str, Pauses], tuple[str, ...], dict[str, tuple[str, ...]]]"


class PauseFirstError(Exception):
    """A pause came while documents are compiled, and needs a child of its own, which must run first."""


@dataclass(slots=True)
class EarlyPauses:
    """The pauses that are in force already. `read`: reads only the paused directories."""

    read: Callable[[], Reading]
    _laid: Shown | None = None
    _doubted: Shown | None = None  # its pauses are in force; what it resumes is uncertain
    _looked: Shown | None = None

    def due(self, reading: Reading, *, is_certain: bool) -> Reading | None:
        """Return the reading to put in force now, None where there is nothing new.

        An uncertain reading may be of half-written files: it pauses and resumes nothing.
        """
        shown = _shown(reading)
        if is_certain:
            is_new, self._laid, self._doubted = shown != self._laid, shown, None
            return reading if is_new else None
        if shown in (self._laid, self._doubted):
            return None
        self._laid, self._doubted = None, shown
        return only_more(reading)

    def look(self) -> Reading | None:
        """Read, and return what is due; a reading is certain when two in a row are equal."""
        reading = self.read()
        was, self._looked = self._looked, _shown(reading)
        return self.due(reading, is_certain=was == self._looked)


def _shown(reading: Reading) -> Shown:
    return reading.paused, reading.keeps, reading.lifted
