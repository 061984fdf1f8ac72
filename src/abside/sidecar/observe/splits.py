"""Since when each experiment divides its units as it does now in this pod, and what it had exposed before that.

Exposures are counted by variant for as long as the process lives; only those of one split can be compared with its
weights. Nothing is done for a decision: a new snapshot is looked at once, and only what changed in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from abside.assignment.assign import Evaluator
    from abside.sidecar.active.current import Current
    from abside.sidecar.record.accounts import Accounts
    from abside.snapshot import Experiment


class SplitStart(NamedTuple):
    """When a split came into force here (µs UTC), and by variant the exposures that were counted until then.

    `experiment`: the record that brought it.
    """

    experiment: Experiment
    since_us: int
    before: dict[str, int]

    def has_split_of(self, other: Experiment) -> bool:
        """Whether another record of the experiment divides its units alike: phase, variants and weights."""
        mine = self.experiment
        if mine.phase != other.phase or len(mine.variants) != len(other.variants):
            return False
        pairs = zip(mine.variants, other.variants, strict=True)
        return all(one.id == two.id and one.stop == two.stop for one, two in pairs)


class Splits:
    """The split of each experiment that is in force."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._evaluators: dict[str, Evaluator] = {}
        self._starts: dict[str, SplitStart] = {}

    def applied(self, current: Current) -> None:
        """Note what a swap changed. Unchanged experiments keep their evaluators, so they cost a comparison each."""
        evaluators = current.plans.evaluators
        for name, evaluator in evaluators.items():
            if self._evaluators.get(name) is not evaluator:
                self._note(evaluator, current.applied_us)
        if len(self._starts) > len(evaluators):
            self._starts = {name: self._starts[name] for name in evaluators}
        self._evaluators = evaluators

    def exposed(self, evaluator: Evaluator) -> tuple[int, dict[str, int]] | None:
        """Return since when the split is as it is, and the exposures of each variant since; None for an unknown one."""
        start = self._starts.get(evaluator.experiment.id)
        if start is None:
            return None
        now = self._counts(evaluator.experiment)
        variants = (one.id for one in evaluator.experiment.variants)
        return start.since_us, {one: now.get(one, 0) - start.before.get(one, 0) for one in variants}

    def _note(self, evaluator: Evaluator, now_us: int) -> None:
        experiment = evaluator.experiment
        known = self._starts.get(experiment.id)
        if known is None or not known.has_split_of(experiment):
            self._starts[experiment.id] = SplitStart(experiment, now_us, self._counts(experiment))

    def _counts(self, experiment: Experiment) -> dict[str, int]:
        arms = self._accounts.arms  # a variant that was never exposed has no count there, and gets none by this
        found = ((one.id, arms.get((experiment.id, one.id))) for one in experiment.variants)
        return {variant: count.accepted for variant, count in found if count is not None}
