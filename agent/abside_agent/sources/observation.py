"""What a watch reports of a ConfigMap, for any content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from abside.snapshot import Problem

Content = TypeVar("Content")  # what a ConfigMap's keys are read as: pauses, or documents


@dataclass(frozen=True, slots=True)
class Observation(Generic[Content]):
    """The API's last answer or event, at `at` (seconds of a steady clock). `is_fresh`: the watch is connected."""

    content: Content
    at: float
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class WatchReport(Generic[Content]):
    """The state of a watch at one moment: its last observation, and the problem that a person must know of."""

    observation: Observation[Content] | None
    problem: Problem | None = None


class Watch(Protocol[Content]):
    """A watch of one ConfigMap."""

    report: WatchReport[Content]

    def doubt(self) -> None:
        """Have the API asked again."""
