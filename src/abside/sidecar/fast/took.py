"""How long answers took: a few plain counts, raised for samples and never for each request."""

from __future__ import annotations

from bisect import bisect_left

# Seconds. A decision takes 20 µs, a hundred that arrive together 1 ms; a client's usual deadline is 20 to 50 ms.
BOUNDS = (0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05)


class Took:
    """Answers by how long they took; the last count is what is above all bounds."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0  # all together

    def add(self, seconds: float, answers: int) -> None:
        """Count answers that took so long, each of them."""
        self.counts[bisect_left(BOUNDS, seconds)] += answers
        self.seconds += seconds * answers
