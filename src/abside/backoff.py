"""The wait before a retry: full jitter, so that a fleet does not come back in step.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("full jitter").
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 30.0  # long enough to spare a sick upstream, short enough that recovery is seen within a minute


@dataclass(slots=True)
class Backoff:
    """Waits that grow: each is uniform in [0, min(longest, first * 2**attempt)] seconds."""

    first_seconds: float = FIRST_SECONDS
    longest_seconds: float = LONGEST_SECONDS
    chance: random.Random = field(default_factory=random.Random)
    attempt: int = 0

    def next_seconds(self) -> float:
        """Return the next wait and count the attempt."""
        ceiling = min(self.longest_seconds, self.first_seconds * 2.0 ** min(self.attempt, 32))
        self.attempt += 1
        return self.chance.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Start again from the shortest wait: something succeeded."""
        self.attempt = 0
