"""What says whether the figures may be believed at all: the sample ratio, before anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ALARM = 0.001  # below it the page begins with it, in red
WATCH = 0.01  # below it a person should look again: one experiment in a hundred is there by chance


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """How the units fell, beside how the weights say they should. `p` is None where `reason` says why."""

    units: dict[str, int]
    expected: dict[str, float]  # units
    p: float | None
    reason: str = ""

    @property
    def is_mismatch(self) -> bool:
        """Whether something decides who is counted: no figure of this page can be believed."""
        return self.p is not None and self.p < ALARM

    @property
    def is_watched(self) -> bool:
        """Whether it may be chance, and may become a mismatch."""
        return self.p is not None and ALARM <= self.p < WATCH


def sample_ratio(units: Mapping[str, int], weights_bp: Mapping[str, int] | None, *, reason: str = "") -> SampleRatio:
    """Test the units of every arm against the weights: Pearson's chi-square over k arms.

    An arm without units counts as 0. `reason`: why the weights cannot be had, where they are None.
    """
    if weights_bp is None:
        return SampleRatio(dict(units), {}, None, reason)
    arms = [name for name, weight in weights_bp.items() if weight > 0]
    observed = {name: units.get(name, 0) for name in arms}
    total, whole = sum(observed.values()), sum(weights_bp[name] for name in arms)
    expected = {name: total * weights_bp[name] / whole for name in arms}
    if total == 0 or len(arms) < 2:
        return SampleRatio(observed, expected, None, "it takes two arms and a unit")
    import scipy.stats  # noqa: PLC0415 see load_statistics

    found = scipy.stats.chisquare(list(observed.values()), list(expected.values()))
    return SampleRatio(observed, expected, float(found.pvalue))
