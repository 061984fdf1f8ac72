"""How many experiments one placement may have: an exposure lists them all, and receivers bound that list. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.snapshot import Experiment
    from abside_agent.document.tree import Tree

# Below the 256 assignments that a collector accepts in one exposure (the bound is in abside.event, and a test compares
# the two): every batch with a larger exposure would be refused. Drafts count, because a single edit starts them.
MAX_EXPERIMENTS = 200


@dataclass(frozen=True, slots=True)
class TooMany:
    """An experiment for which there is no room at a placement."""

    experiment: Experiment
    placement: str
    present: int  # experiments there that are not ended, including this one

    def note(self, tree: Tree) -> None:
        """Note it on the tree, where the experiment names the placement."""
        message = (
            f"{self.placement} has {self.present} experiments that are not ended, the limit is {MAX_EXPERIMENTS}: "
            "there is no room for this one"
        )
        remedy = f"end or delete one at {self.placement} first, or take {self.placement} out of this one's placements"
        index = self.experiment.placements.index(self.placement)
        tree.note("TOO_MANY_EXPERIMENTS", ("experiments", self.experiment.id, "placements", index), message, remedy)


def too_many(experiments: Iterable[Experiment], in_force: Mapping[str, Experiment]) -> Iterator[TooMany]:
    """Yield who has to give way: drafts first, then those that are not at the placement in force, then larger ids."""
    present: dict[str, list[Experiment]] = defaultdict(list)
    for experiment in experiments:
        for placement in dict.fromkeys(experiment.placements) if experiment.status != "ended" else ():
            present[placement].append(experiment)
    for placement, members in sorted(present.items()):

        def rank(one: Experiment, at: str = placement) -> tuple[bool, bool, str]:
            return one.status == "draft", not _is_at(in_force.get(one.id), at), one.id

        for experiment in sorted(members, key=rank)[MAX_EXPERIMENTS:]:
            yield TooMany(experiment, placement, len(members))


def _is_at(version: Experiment | None, placement: str) -> bool:
    return version is not None and version.status != "ended" and placement in version.placements
