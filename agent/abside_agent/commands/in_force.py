"""What an agent that starts now would put in force: the first step of `explain` and `simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abside.assignment.plan import Plans, build_plans
from abside_agent.settle.settle import settle
from abside_agent.sources.mounted import Mounted

if TYPE_CHECKING:
    from abside.snapshot import Problem, Snapshot


@dataclass(frozen=True, slots=True)
class InForce:
    """A snapshot with its plans at one instant, and the problems of its documents."""

    snapshot: Snapshot
    plans: Plans
    at_us: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """The problems that leave something out of force."""
        return [problem for problem in self.problems if problem.severity == "error"]


class UsageError(Exception):
    """A wrong call: an option names something that does not exist, or does not fit."""


class NothingInForceError(Exception):
    """An agent would publish nothing from these documents. `problems`: why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems


def put_in_force(config: tuple[str, ...], paused: tuple[str, ...], at_us: int) -> InForce:
    """Read directories as an agent does. Raises UsageError for a missing one, NothingInForceError."""
    missing = [directory for directory in (*config, *paused) if not Path(directory).is_dir()]
    if missing:
        raise UsageError(f"no such directory: {', '.join(missing)}")
    settled = settle(Mounted(config, paused).read(), None, at_us)
    if settled.snapshot is None:
        raise NothingInForceError(settled.problems)
    return InForce(settled.snapshot, build_plans(settled.snapshot, at_us), at_us, settled.problems)
