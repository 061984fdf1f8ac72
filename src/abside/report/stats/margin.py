"""A guardrail's margin beside its interval → a mechanical label: inside, crosses, outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Interval = tuple[float, float]
Label = Literal["inside", "crosses", "outside"]


@dataclass(frozen=True, slots=True)
class Margin:
    """How far a metric may move, as a fraction of control (of a gini: absolute). None: however far."""

    max_increase: float | None = None
    max_decrease: float | None = None

    def label(self, interval: Interval) -> Label:
        """Say where an interval lies: wholly within the margin, wholly beyond it, or across."""
        low, high = interval
        above = self.max_increase if self.max_increase is not None else float("inf")
        below = -self.max_decrease if self.max_decrease is not None else float("-inf")
        if low > above or high < below:
            return "outside"
        return "inside" if low >= below and high <= above else "crosses"

    def __str__(self) -> str:
        parts = []
        if self.max_increase is not None:
            parts.append(f"at most +{self.max_increase * 100:g} %")
        if self.max_decrease is not None:
            parts.append(f"at most -{self.max_decrease * 100:g} %")
        return ", ".join(parts)
