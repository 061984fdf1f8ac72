"""What an agent that starts now would put in force: the first step of the commands that ask what shoppers get."""

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
    """A snapshot at one instant, ready to assign from, and what is wrong with its documents."""

    snapshot: Snapshot
    plans: Plans
    at_us: int
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> list[Problem]:
        """The problems for which something is left out."""
        return [problem for problem in self.problems if problem.severity == "error"]


class UsageError(Exception):
    """What was asked for cannot be answered: an option names something that is not there."""


class NothingInForceError(Exception):
    """An agent would publish nothing from these documents. `problems` say why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        self.problems = problems


def put_in_force(config: tuple[str, ...], paused: tuple[str, ...], at_us: int) -> InForce:
    """Read directories as an agent does. Raises UsageError for one that is not there, NothingInForceError."""
    missing = [directory for directory in (*config, *paused) if not Path(directory).is_dir()]
    if missing:
        raise UsageError(f"no such directory: {', '.join(missing)}")
    settled = settle(Mounted(config, paused).read(), None, at_us)
    if settled.snapshot is None:
        raise NothingInForceError(settled.problems)
    return InForce(settled.snapshot, build_plans(settled.snapshot, at_us), at_us, settled.problems)
