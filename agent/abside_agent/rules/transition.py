"""What may not change under an experiment that ever ran, from two snapshots: for `diff` and for admission. Pure.

The agent applies such a change all the same, because it has no history in a new pod and all pods must answer alike;
so it must be refused here, before it reaches an agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.snapshot import Experiment, Placement, digest, is_set, leaf_name, leaves, value_at
from abside_agent.document.tree import Path, Severity, Tree
from abside_agent.document.wording import shown_split
from abside_agent.rules.membership import carried_over, moved
from abside_agent.rules.reach import surprises, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from abside.snapshot import Json, Leaf, Parameters, Problem, Snapshot
    from abside_agent.rules.values import Doubt


def transitions(old: Snapshot, new: Snapshot, now_us: int, trees: Iterable[Tree] = ()) -> list[Problem]:
    """Return changes from `old` to `new` that are forbidden (errors), and those that the analyst must know (warnings).

    `trees` are the new document's files, for line and column; without them a problem names its file only.
    """
    pages = _Pages(trees)
    for name, before in old.experiments.items():
        after = new.experiments.get(name)
        if after is None:
            _removed(pages, before, new, now_us)
        else:
            _changed(pages, before, after, old, new, now_us)
    for name, was in old.placements.items():
        if name in new.placements:
            _under(pages, was, new.placements[name], list(_measured(old, new, now_us)))
    ran = {name: before for name, before in old.experiments.items() if ever_ran(before, now_us)}
    pairs = ((ran.get(name), new.experiments.get(name)) for name in sorted(ran.keys() | new.experiments.keys()))
    for after, doubt in carried_over(pairs, now_us):
        pages.warn(after, doubt)
    for placement, doubt in widened(ran.values(), old, new, now_us):
        pages.warn(placement, doubt)
    _retired(pages, old, new)
    return pages.problems()


def ever_ran(experiment: Experiment, now_us: int) -> bool:
    """Whether units may have met an experiment, as far as its document shows.

    A draft has not run, nor has an experiment whose start is in the future. A running, paused or ended one may have.
    Older documents are unknown: an experiment that ran and is a draft again looks like one that never ran.
    """
    return experiment.status != "draft" and (experiment.start_us is None or experiment.start_us <= now_us)


class _Pages:
    """The new document's files, which collect problems at their lines; a file without a tree gets an empty one."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self.trees = {tree.file: Tree(tree.file, tree.root) for tree in trees}

    def of(self, source: str) -> Tree:
        return self.trees.setdefault(source, Tree(source, None))

    def with_section(self, section: str, source: str) -> Tree:
        """Return the first file that has a section, else the file named `source`."""
        own = self.of(source)  # first: it may add a tree
        return next((tree for tree in self.trees.values() if tree.node((section,)) is not None), own)

    def warn(self, one: Experiment | Placement, doubt: Doubt) -> None:
        """Note a warning inside an experiment or a placement."""
        path = ("experiments" if isinstance(one, Experiment) else "placements", one.id, *doubt.path)
        self.of(one.source).note(doubt.code, path, doubt.message, doubt.remedy, severity="warning", at_key=True)

    def problems(self) -> list[Problem]:
        found = [flaw.problem for tree in self.trees.values() for flaw in tree.flaws]
        return sorted(found, key=lambda one: (one.severity, one.file, one.line, one.column, one.path, one.message))


def _changed(pages: _Pages, before: Experiment, after: Experiment, old: Snapshot, new: Snapshot, now_us: int) -> None:
    if not ever_ran(before, now_us):
        return
    tree, path = pages.of(after.source), ("experiments", after.id)
    if after.phase < before.phase:
        message = f"the phase goes back from {before.phase} to {after.phase}: units would meet an old split again"
        remedy = f"write phase: {before.phase}, or {before.phase + 1} to draw all units anew"
        tree.note("PHASE_LOWERED", (*path, "phase"), message, remedy, value=str(after.phase))
        return
    if after.phase > before.phase:
        return
    for field, what in _frozen(before, after):
        message = f"{what} under an experiment that ran: its units would be mixed, and its figures mean nothing"
        remedy = f"write phase: {before.phase + 1} to draw all units anew, or take the change back"
        tree.note("NEEDS_PHASE", (*path, *field), message, remedy, at_key=True)
    for doubt in (*moved(before, after), *surprises(before, after, now_us, tree)):
        pages.warn(after, doubt)
    _parameters(tree, path, before, after, old, new)
    if after.status == "draft":
        message = "an experiment that ran goes back to draft: from then on nothing shows that it ever ran"
        tree.note("BACK_TO_DRAFT", (*path, "status"), message, "write paused or ended", severity="warning")


def _frozen(before: Experiment, after: Experiment) -> Iterator[tuple[Path, str]]:
    """Yield (path, clause) of each change in the fields that decide which variant a unit gets."""
    was, now = _arms(before), _arms(after)
    if was != now:
        yield ("variants",), _weights(before, after)
    for field, show in _FROZEN.items():
        one, other = show(before), show(after)
        if digest(one) != digest(other):
            yield (field,), f"{field} change{'' if field == 'placements' else 's'}{_from_to(one, other)}"


# The fields, in the order of the document. They are compared by digest: in Python 1 == 1.0 == True.
_FROZEN: dict[str, Callable[[Experiment], Json]] = {
    "placements": lambda experiment: [*sorted(experiment.placements)],
    "unit": lambda experiment: experiment.unit,
    "eligibility": lambda experiment: list(experiment.eligibility),
    "control": lambda experiment: experiment.control,
}


def _arms(experiment: Experiment) -> list[tuple[str, int, int]]:
    return [(arm.id, arm.start, arm.stop) for arm in experiment.variants]


def _weights(before: Experiment, after: Experiment) -> str:
    was, now = ([arm.id for arm in one.variants] for one in (before, after))
    if sorted(was) != sorted(now):
        return f"the variants change from {', '.join(was)} to {', '.join(now)}"
    if was != now:
        return f"the order of the variants changes from {', '.join(was)} to {', '.join(now)}"
    return f"the weights change from {split(before)} to {split(after)}"


def split(experiment: Experiment) -> str:
    """Return the weights of the variants: `80/20`."""
    return shown_split(arm.stop - arm.start for arm in experiment.variants)


def _from_to(one: Json, other: Json) -> str:
    if isinstance(one, list) and not all(isinstance(item, str) for item in one):
        return ""
    if isinstance(other, list) and not all(isinstance(item, str) for item in other):
        return ""
    return f" from {_shown(one)} to {_shown(other)}"


def _shown(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _parameters(tree: Tree, path: Path, before: Experiment, after: Experiment, old: Snapshot, new: Snapshot) -> None:
    was = {arm.id: arm.parameters for arm in before.variants}
    for arm in after.variants:
        if arm.id in was and any(
            _gives(old, name, was[arm.id], leaf) != _gives(new, name, arm.parameters, leaf)
            for given in (was[arm.id], arm.parameters)
            for (name, *leaf), _ in leaves(given)
        ):
            _note_parameters(tree, (*path, "variants", arm.id, "parameters"), f"what {arm.id} gives changes")


def _gives(snapshot: Snapshot, placement: str, own: dict[str, Parameters], leaf: list[str]) -> str:
    """Return the digest of what a variant gives in the place of a leaf: its own value, or the placement's."""
    if is_set(own, (placement, *leaf)):
        return digest([value_at(own, (placement, *leaf))])
    base = snapshot.placements.get(placement)
    return digest([None if base is None else value_at(base.parameters, tuple(leaf))])


def _note_parameters(tree: Tree, path: Path, what: str) -> None:
    message = f"{what} in mid-experiment: units before and after met different configurations"
    remedy = "raise the phase to measure only the new one; config_id tells them apart in the events"
    tree.note("PARAMETERS_CHANGED", path, message, remedy, severity="warning", at_key=True)


def _measured(old: Snapshot, new: Snapshot, now_us: int) -> Iterator[tuple[Experiment, Experiment]]:
    """Yield (before, after) of the experiments that ran and continue in the same phase."""
    for name, before in old.experiments.items():
        after = new.experiments.get(name)
        goes_on = after is not None and "ended" not in (before.status, after.status)
        if after is not None and goes_on and after.phase == before.phase and ever_ran(before, now_us):
            yield before, after


def _under(pages: _Pages, was: Placement, now: Placement, measured: list[tuple[Experiment, Experiment]]) -> None:
    """Warn of a placement's own values that change under an experiment with a variant that uses them."""
    tree = pages.of(now.source)
    old, new = dict(leaves(was.parameters)), dict(leaves(now.parameters))
    for leaf in sorted({*old, *new}):
        if leaf in old and leaf in new and digest([old[leaf]]) == digest([new[leaf]]):
            continue
        under = [after.id for before, after in measured if now.id in before.placements and _shows(after, now.id, leaf)]
        if under:
            changes = "is new" if leaf not in old else "changes" if leaf in new else "is gone"
            what = f"{leaf_name(leaf)} of {now.id} {changes} under {', '.join(under)}"
            _note_parameters(tree, ("placements", now.id, "parameters", *leaf), what)


def _shows(experiment: Experiment, placement: str, leaf: Leaf) -> bool:
    """Whether some variant uses the placement's own value."""
    return any(not is_set(arm.parameters, (placement, *leaf)) for arm in experiment.variants)


def _removed(pages: _Pages, before: Experiment, new: Snapshot, now_us: int) -> None:
    if before.id in new.head.retired or not ever_ran(before, now_us):
        return
    tree = pages.with_section("retired", before.source)
    message = f"{before.id} ran and is gone: a new experiment of that id would meet the same units in the same split"
    _warn(tree, "NOT_RETIRED", ("retired",), message, f"add {before.id} to retired", before.id)


def _retired(pages: _Pages, old: Snapshot, new: Snapshot) -> None:
    for name, source in old.head.retired.items():
        if name in new.experiments:
            experiment = new.experiments[name]
            message = f"{name} was retired: its id may never be used again, its units are split already"
            remedy = "choose a new id, and keep this one under retired"
            tree = pages.of(experiment.source)
            tree.note("RETIRED", ("experiments", name), message, remedy, at_key=True, value=name)
        elif name not in new.head.retired:
            message = f"{name} is no longer retired: its id could be used again"
            _warn(pages.with_section("retired", source), "UNRETIRED", ("retired",), message, f"keep {name} there", name)


def _warn(tree: Tree, code: str, path: Path, message: str, remedy: str, value: str) -> None:
    severity: Severity = "warning"
    tree.note(code, path, message, remedy, severity=severity, at_key=True, value=value)
