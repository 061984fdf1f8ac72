"""Several sources of documents, as several teams have: of what excludes each other the earlier one wins. Pure.

What is in force has no say in it: an agent that just started and one that ran before must end with the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abside_agent.document.tree import Mapping
from abside_agent.rules.conflicts import Gathered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from abside.snapshot import Experiment
    from abside_agent.document.tree import Path, Tree
    from abside_agent.rules.conflicts import Conflict
    from abside_agent.settle.compile import Candidate


@dataclass(frozen=True, slots=True)
class Precedence:
    """The order of the sources. `prefixes`: how the names of the files of each begin, see Reading."""

    prefixes: tuple[str, ...] = ()

    def rank(self, file: str) -> int:
        """Return the number of the source of a file: the lower one wins. Without an order all are equal."""
        prefix = file[: file.rfind("/") + 1]
        return self.prefixes.index(prefix) if prefix in self.prefixes else len(self.prefixes)

    def is_across(self, conflict: Conflict) -> bool:
        """Whether the two experiments of a conflict are of different sources."""
        return self.rank(conflict.first.source) != self.rank(conflict.second.source)

    def giving_way(self, conflict: Conflict) -> tuple[Experiment, ...]:
        """Return who may have to give way: of different sources the later one, unless one alone may have to."""
        both = conflict.giving_way
        if len(both) == 1 or not self.is_across(conflict):
            return both
        return (max(both, key=lambda one: self.rank(one.source)),)

    def losing(self, conflicts: Iterable[Conflict]) -> Gathered:
        """Return who loses a conflict between sources to one that loses none: the others may yet come free."""
        pairs = [(self.giving_way(one)[0], one) for one in conflicts if self.is_across(one)]
        losers = {loser.id for loser, _ in pairs}
        found = Gathered()
        for loser, one in pairs:
            winner = one.second if loser is one.first else one.first
            if winner.id not in losers:
                found.add(loser.id, one)
        return found


@dataclass(frozen=True, slots=True)
class Claims:
    """What the files ask for under an id. `retired` and `kept` (see Checked) lose what an earlier source excludes."""

    precedence: Precedence
    trees: dict[str, Tree]  # by file
    retired: dict[str, str]
    kept: dict[str, dict[str, Any]]

    def left(self, candidates: Iterable[Candidate[Any]]) -> list[Candidate[Any]]:
        """Return the candidates that no earlier source excludes; the others are noted where they are."""
        by_path: dict[Path, list[Candidate[Any]]] = defaultdict(list)
        for candidate in candidates:
            by_path[candidate.path].append(candidate)
        first = [one for path, group in by_path.items() for one in self._earliest(path, group)]
        self._unretire()
        return [one for one in first if not self._is_retired(one)]

    def _earliest(self, path: Path, group: list[Candidate[Any]]) -> list[Candidate[Any]]:
        """Return the candidates of the earliest source with a sound one, or of the earliest where there is none."""
        rank, (section, name) = self.precedence.rank, (str(path[0]), str(path[1]))
        best = min(group, key=lambda one: (not one.sound, rank(one.tree.file)))
        where, winner = best.tree.file, rank(best.tree.file)
        old = self.kept[section].get(name)
        if old is not None and rank(old.source) < winner:
            where, winner = old.source, rank(old.source)
        elif old is not None and rank(old.source) > winner and best.sound:
            del self.kept[section][name]
        for one in group:
            if rank(one.tree.file) != winner:
                message = f"{name} is also in {where}, which is used"
                one.tree.note("DUPLICATE_ID", path, message, "keep one", at_key=True)
        return [one for one in group if rank(one.tree.file) == winner]

    def _is_retired(self, one: Candidate[Any]) -> bool:
        """Note an experiment whose id an earlier source retires."""
        file = self.retired.get(one.id) if one.section == "experiments" else None
        if file is None or self.precedence.rank(file) >= self.precedence.rank(one.tree.file):
            return False
        message = f"{one.id} is retired in {file}: its id may never be used again"
        one.tree.note("RETIRED", one.path, message, "choose a new id", at_key=True, value=one.id)
        return True

    def _unretire(self) -> None:
        """Leave out and note what is retired although an earlier source has the experiment."""
        owners: dict[str, str] = {name: record.source for name, record in self.kept["experiments"].items()}
        for file, tree in self.trees.items():
            experiments = tree.node(("experiments",))
            for name in experiments.items if isinstance(experiments, Mapping) else ():  # a list is a mistake of its own
                if name not in owners or self.precedence.rank(file) < self.precedence.rank(owners[name]):
                    owners[name] = file
        for name, file in list(self.retired.items()):
            owner = owners.get(name)
            if owner is not None and self.precedence.rank(owner) < self.precedence.rank(file):
                del self.retired[name]
                message = f"{name} is an experiment in {owner}: a later source cannot retire it"
                self.trees[file].note("RETIRED", ("retired",), message, f"delete {name} here", at_key=True, value=name)
        for name, record in list(self.kept["experiments"].items()):
            if name in self.retired and self.precedence.rank(self.retired[name]) < self.precedence.rank(record.source):
                del self.kept["experiments"][name]
