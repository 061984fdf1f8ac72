"""Pauses ahead of the documents: which reading of them is still to be put over what is in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from abside_agent.settle.pause import only_more

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.document.reading import Pauses, Reading

Shown: TypeAlias = "tuple[dict[str, Pauses], tuple[str, ...], dict[str, tuple[str, ...]]]"


class PauseFirstError(Exception):
    """A pause came while documents are compiled, and it takes a child of its own: that one goes first."""


@dataclass(slots=True)
class EarlyPauses:
    """What of the pauses was put in force. `read`: reads the paused directories alone."""

    read: Callable[[], Reading]
    _laid: Shown | None = None
    _doubted: Shown | None = None  # put in force as far as it pauses; whether it resumes is to be seen
    _looked: Shown | None = None

    def due(self, reading: Reading, *, is_certain: bool) -> Reading | None:
        """Give the reading that is to be put in force now, None where there is nothing new.

        One that is not certain may be of a moment in mid-write: it pauses and resumes nothing.
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
        """Read, and give what is due: what shows alike in two looks is certain."""
        reading = self.read()
        was, self._looked = self._looked, _shown(reading)
        return self.due(reading, is_certain=was == self._looked)


def _shown(reading: Reading) -> Shown:
    return reading.paused, reading.keeps, reading.lifted
