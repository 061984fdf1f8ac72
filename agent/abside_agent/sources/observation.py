"""What a watch of a ConfigMap has to tell, whatever that ConfigMap holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from abside.snapshot import Problem

Content = TypeVar("Content")  # what is made of a ConfigMap's keys: pauses, or documents


@dataclass(frozen=True, slots=True)
class Observation(Generic[Content]):
    """What the API said last, asked or told at `at` (seconds of a steady clock). `is_fresh`: more would be heard."""

    content: Content
    at: float
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class WatchReport(Generic[Content]):
    """What a watch has to tell at one moment: its last word, and what a person must know of it."""

    observation: Observation[Content] | None
    problem: Problem | None = None


class Watch(Protocol[Content]):
    """Something that hears of a ConfigMap."""

    report: WatchReport[Content]

    def doubt(self) -> None:
        """Ask again."""
