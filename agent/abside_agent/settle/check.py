"""Every problem of a set of files: first by file, then between files. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from abside_agent.document.conform import conform
from abside_agent.document.parse import parse
from abside_agent.document.tree import Bad, Flaw, Path, Tree
from abside_agent.rules.alone import check_alone
from abside_agent.rules.apart import LayersInUse
from abside_agent.rules.conflicts import ConflictGround, Gathered, conflicts
from abside_agent.rules.fit import Ground, fit
from abside_agent.rules.placement_limit import too_many
from abside_agent.settle.compile import SECTIONS, Candidate, candidates_of, retired_of
from abside_agent.settle.metrics import check_currency, check_metrics
from abside_agent.settle.precedence import Claims, Precedence
from abside_agent.settle.sizes import sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from abside.metric import Metric
    from abside.snapshot import Experiment, Snapshot
    from abside_agent.document.reading import File

SHOWN_PLACES = 5  # of an id that several files contain: it may be a thousand


@dataclass(slots=True)
class Checked:
    """What files contain, and what is wrong with it. `broken`: files that cannot be used as a whole."""

    trees: list[Tree]
    candidates: list[Candidate[Any]]
    retired: dict[str, str]
    broken: frozenset[str]
    clashing: frozenset[Path]  # without a flaw of their own, but unusable: ids that exist twice, or are retired
    is_empty: bool  # no file has any content
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # by section: what broken files contributed last
    more: list[Flaw] = field(default_factory=list)  # flaws of no file
    metrics: dict[str, Metric] = field(default_factory=dict)  # own ones that the report can compute
    currency: str | None = None  # in which the report counts values
    precedence: Precedence = field(default_factory=Precedence)

    def flaws(self) -> list[Flaw]:
        """Return every flaw, by file and line."""
        found = [*(one for tree in self.trees for one in tree.flaws), *self.more]
        return sorted(found, key=lambda one: (one.problem.file, one.problem.line, one.problem.column, one.problem.code))


def check(
    files: Iterable[File], last: Snapshot | None = None, lost: Iterable[str] = (), order: tuple[str, ...] = ()
) -> Checked:
    """Check files as one document. `last`: the snapshot in force; `lost`: prefixes of the files that cannot be seen.

    `order`: the sources, see Reading.

    What a broken file contributed last stays in force, so the other files are checked against it too.
    """
    precedence = Precedence(order)
    ordered = sorted(files, key=lambda file: (precedence.rank(file.name), file.name))
    trees = [_read(file) for file in ordered]
    documents = [conform(tree) for tree in trees]
    for tree, document in zip(trees, documents, strict=True):
        check_alone(tree, document)
    candidates: list[Candidate[Any]] = []
    retired: dict[str, str] = {}
    for tree, document in zip(trees, documents, strict=True):
        candidates += candidates_of(tree, document)
        retired = {**retired_of(tree, document), **retired}
    _empty(trees, last)
    broken = frozenset(tree.file for tree in trees if not tree.is_usable) | _lost(last, tuple(lost))
    kept = _kept(last, broken)
    candidates = Claims(precedence, {tree.file: tree for tree in trees}, retired, kept).left(candidates)
    checked = Checked(
        trees,
        candidates,
        retired,
        broken,
        frozenset(_clashes(candidates, retired, kept)),
        all(tree.root is None for tree in trees),
        kept,
        precedence=precedence,
    )
    _fits(checked)
    _conflicts(checked, in_force(last, "experiments"))
    checked.metrics.update(check_metrics(trees, documents))
    checked.currency = check_currency(trees, documents)
    checked.more.extend(sizes(ordered))
    return checked


def _read(file: File) -> Tree:
    if not file.refusal:
        return parse(file.name, file.data)
    tree = Tree(file.name, Bad((0, 0)))
    tree.note("UNREADABLE", (), file.refusal, "make it a readable file")
    return tree


def _empty(trees: list[Tree], last: Snapshot | None) -> None:
    """Note files without content; one that had content before may be half-written, so it counts as broken."""
    contributed = sources_of(last)
    for tree in trees:
        if tree.root is None and tree.file in contributed:
            remedy = "delete the file, or write experiments: {}, if that is what you want"
            tree.note("EMPTY_FILE", (), "the file is empty: what it contributed stays", remedy)
        elif tree.root is None:
            tree.note("EMPTY_FILE", (), "the file is empty", "write something, or delete it", severity="warning")


def _lost(last: Snapshot | None, lost: tuple[str, ...]) -> frozenset[str]:
    """Return the files behind the snapshot in force whose directory cannot be seen."""
    return frozenset(source for source in sources_of(last) if source.startswith(lost)) if lost else frozenset()


def sources_of(last: Snapshot | None) -> frozenset[str]:
    """Return the name of every file that contributed to a snapshot."""
    if last is None:
        return frozenset()
    records = (*last.records(), *last.head.attributes.values())
    return frozenset({*(record.source for record in records), *last.head.retired.values()})


def _kept(last: Snapshot | None, broken: frozenset[str]) -> dict[str, dict[str, Any]]:
    if last is None:
        return {section: {} for section in SECTIONS}
    return {
        section: {name: record for name, record in in_force(last, section).items() if record.source in broken}
        for section in SECTIONS
    }


def in_force(last: Snapshot | None, section: str) -> dict[str, Any]:
    """Return the records of one section in a snapshot, by id."""
    if last is None:
        return {}
    records: dict[str, Any] = last.head.attributes if section == "attributes" else getattr(last, section)
    return records


def _clashes(
    candidates: list[Candidate[Any]], retired: dict[str, str], kept: dict[str, dict[str, Any]]
) -> Iterator[Path]:
    """Note ids that exist twice, are both a placement and an experiment, or are retired; yield the unusable ones."""
    by_path: dict[Path, list[Candidate[Any]]] = defaultdict(list)
    for candidate in candidates:
        by_path[candidate.path].append(candidate)
    for path, group in by_path.items():
        section, name = str(path[0]), str(path[1])
        others = [candidate.tree.file for candidate in group]
        if name in kept[section] and kept[section][name].source not in others:
            others.append(kept[section][name].source)
        if len(others) > 1:
            yield path
        places = {id(one): _at(one, path) for one in group[: SHOWN_PLACES + 1]} if len(others) > 1 else {}
        for candidate in group if len(others) > 1 else ():
            shown = [place for one, place in places.items() if one != id(candidate)][:SHOWN_PLACES]
            where = ", ".join(shown) + (
                f" and {len(group) - 1 - len(shown)} more" if len(group) - 1 > len(shown) else ""
            )
            where = where or f"{others[-1]}, which cannot be read: its last good version stays"
            candidate.tree.note("DUPLICATE_ID", path, f"{name} is also in {where}", "keep one", at_key=True)
        for candidate in group if section == "experiments" else ():
            other = by_path.get(("placements", name))
            if name in retired:
                yield path
                message = f"{name} is retired in {retired[name]}: its id may never be used again"
                candidate.tree.note("RETIRED", path, message, "choose a new id", at_key=True, value=name)
            if other:
                _namespace(candidate, other[0])


def _namespace(experiment: Candidate[Any], placement: Candidate[Any]) -> None:
    for one, other in ((experiment, placement), (placement, experiment)):
        message = f"experiments and placements share their ids, and {other.section} has it in {_at(other, other.path)}"
        one.tree.note("NAMESPACE", one.path, message, "rename the experiment", at_key=True, value=one.id)


def _at(candidate: Candidate[Any], path: Path) -> str:
    line = candidate.tree.place_of(path, at_key=True)[0]
    return f"{candidate.tree.file}:{line}"


def _fits(checked: Checked) -> None:
    """Note what experiments need of placements, layers and attributes and do not find there, as written."""
    asked: dict[str, dict[str, Any]] = {section: dict(checked.kept[section]) for section in SECTIONS}
    unsure = set()
    for candidate in checked.candidates:
        if candidate.record is None:
            unsure.add(candidate.id)
        elif candidate.section != "experiments":
            asked[candidate.section].setdefault(candidate.id, candidate.record)
    ground = Ground(asked["placements"], asked["layers"], asked["attributes"])
    unread = next((tree.file for tree in checked.trees if isinstance(tree.root, Bad)), None)
    for candidate in checked.candidates:
        if candidate.section != "experiments" or candidate.record is None:
            continue
        tree, noted = candidate.tree, {one.path[:3] for one in candidate.tree.flaws}
        for misfit in fit(candidate.record, ground, in_force=False)[1]:
            path = (*candidate.path, *misfit.path)
            follows = misfit.code == "UNKNOWN_ATTRIBUTE" and tree.shown(path) in unsure
            if follows or (misfit.path[0] == "eligibility" and path[:3] in noted):
                continue
            remedy = misfit.remedy
            if misfit.code == "NOT_A_VERSION":  # 2024.10 as the file has it: read as a number, it is 2024.1
                remedy = remedy.replace(f'"{misfit.value}"', f'"{tree.shown(path) or misfit.value}"')
            if unread is not None and misfit.code in _UNDECLARED and not remedy.startswith("did you mean"):
                remedy = f"mend {unread} first, which cannot be read, or declare it"
            tree.note(misfit.code, path, misfit.message, remedy, value=misfit.value, at_key=misfit.at_key)


_UNDECLARED = frozenset({"UNKNOWN_LAYER", "UNKNOWN_PLACEMENT", "UNKNOWN_ATTRIBUTE"})


def _conflicts(checked: Checked, force: dict[str, Experiment]) -> None:
    written = {c.id: c for c in reversed(checked.candidates) if c.section == "experiments" and c.claims}
    experiments: dict[str, Experiment] = dict(checked.kept["experiments"])
    experiments.update((name, candidate.record) for name, candidate in written.items())
    gathered = Gathered()
    for conflict in conflicts(experiments.values()):
        for experiment in checked.precedence.giving_way(conflict):
            gathered.add(experiment.id, conflict)

    def at(name: str) -> str:
        return _at(written[name], written[name].path) if name in written else experiments[name].source

    declared = {*checked.kept["layers"], *(one.id for one in checked.candidates if one.section == "layers")}
    layers = LayersInUse.of(experiments.values(), declared) if gathered.found else LayersInUse({})
    placements = {one.id: one.record for one in checked.candidates if one.section == "placements" and one.record}
    placements = {**checked.kept["placements"], **placements}
    for name in gathered.found:
        if name in written:
            gathered.note(name, written[name].tree, at, ConflictGround(layers, placements))
    for one in too_many(experiments.values(), force):
        if one.experiment.id in written:
            one.note(written[one.experiment.id].tree)
