"""A guardrail's margin beside its interval → a mechanical label: inside, crosses, outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Label = Literal["inside", "crosses", "outside"]


@dataclass(frozen=True, slots=True)
class GuardrailMargin:
    """How far a metric may move, as a fraction of control (of a gini: absolute). None: however far."""

    max_increase: float | None = None
    max_decrease: float | None = None

    def label(self, interval: tuple[float, float]) -> Label:
        """Return where an interval lies: wholly within the margin, wholly beyond it, or across."""
        low, high = interval
        above = self.max_increase if self.max_increase is not None else float("inf")
        below = -self.max_decrease if self.max_decrease is not None else float("-inf")
        if low > above or high < below:
            return "outside"
        return "inside" if low >= below and high <= above else "crosses"

    def words(self, *, is_absolute: bool = False) -> str:
        """Return the margin as people read it."""
        bounds = (("+", self.max_increase), ("-", self.max_decrease))
        told = [
            f"at most {sign}{bound:g}" if is_absolute else f"at most {sign}{bound * 100:g} %"
            for sign, bound in bounds
            if bound is not None
        ]
        return ", ".join(told)
