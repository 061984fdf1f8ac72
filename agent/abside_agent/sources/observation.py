"""What a watch of a ConfigMap has to tell, whatever that ConfigMap holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from abside.snapshot import Problem

Said = TypeVar("Said")  # what is made of a ConfigMap's keys: pauses, or documents


@dataclass(frozen=True, slots=True)
class Word(Generic[Said]):
    """What the API said last, asked or told at `at` (seconds of a steady clock). `is_fresh`: more would be heard."""

    said: Said
    at: float
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Heard(Generic[Said]):
    """What a watch has to tell at one moment: its last word, and what a person must know of it."""

    word: Word[Said] | None
    problem: Problem | None = None


class Watch(Protocol[Said]):
    """Something that hears of a ConfigMap."""

    heard: Heard[Said]

    def doubt(self) -> None:
        """Ask again."""
