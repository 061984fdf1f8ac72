"""An A/A test → whether the pipeline may be believed: intervals that do not hold 0, beside what chance explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.report.stats.ratio import ALARM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from abside.report.stats.compare import Interval

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class AaInterval:
    """One fixed interval of an A/A test: of the lift, or of the difference where there is no lift."""

    experiment: str
    metric: str
    variant: str
    interval: Interval

    @property
    def holds_zero(self) -> bool:
        """Whether it is as an interval of nothing should be."""
        return self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True, slots=True)
class AaCount:
    """How many intervals, how many of them do not hold 0, how many are expected not to; `p`: as many or more by chance.

    `p` takes intervals as independent. Those of one experiment are not: they are of the same people.
    """

    intervals: int
    missed: int
    expected: float
    p: float | None


@dataclass(frozen=True, slots=True)
class AaCheck:
    """The whole check. `ratios` are the sample ratios' p by experiment; None: not estimable."""

    intervals: tuple[AaInterval, ...]
    ratios: dict[str, float | None]
    treated: tuple[str, ...] = ()  # experiments whose variants set something: no A/A test
    not_estimable: int = 0  # comparisons without an interval

    @property
    def whole(self) -> AaCount:
        """All intervals together."""
        return counted(self.intervals)

    @property
    def mismatches(self) -> tuple[str, ...]:
        """Experiments with a sample ratio mismatch."""
        return tuple(name for name, p in self.ratios.items() if p is not None and p < ALARM)

    @property
    def is_alarm(self) -> bool:
        """Whether chance does not explain it: a mismatch, or too many intervals that do not hold 0."""
        return bool(self.mismatches) or (self.whole.p is not None and self.whole.p < ALARM)

    def by(self, key: Callable[[AaInterval], str]) -> dict[str, AaCount]:
        """Count the intervals of each metric, or of each arm."""
        names = dict.fromkeys(map(key, self.intervals))
        return {name: counted([one for one in self.intervals if key(one) == name]) for name in names}


def counted(intervals: Sequence[AaInterval]) -> AaCount:
    """Count intervals that do not hold 0; the probability is of the binomial distribution."""
    import scipy.stats  # noqa: PLC0415 see load_statistics

    total, missed = len(intervals), sum(not one.holds_zero for one in intervals)
    p = float(scipy.stats.binom.sf(missed - 1, total, 1 - LEVEL)) if total else None
    return AaCount(total, missed, total * (1 - LEVEL), p)
