"""The problems of a change of the experiments' ConfigMap: those of check, and forbidden transitions. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from abside.snapshot import assemble
from abside_agent.document.tree import flaw
from abside_agent.rules.transition import transitions
from abside_agent.settle.check import check, in_force
from abside_agent.settle.compile import SECTIONS
from abside_agent.settle.doubts import doubt
from abside_agent.settle.resolve import resolve
from abside_agent.settle.settle import in_order, refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.snapshot import Problem, Snapshot
    from abside_agent.document.reading import Reading
    from abside_agent.document.tree import Path
    from abside_agent.settle.check import Checked

# Problems that another ConfigMap of the same document may solve, where a review sees only one of them.
ELSEWHERE = frozenset({"UNKNOWN_PLACEMENT", "UNKNOWN_LAYER", "UNKNOWN_ATTRIBUTE"})

_EMPTIED = flaw(
    "documents",
    "EMPTIED",
    (),
    "NO DOCUMENT IS LEFT: agents keep the last good, a new pod starts without any configuration",
    "to end experiments write status: ended",
    severity="warning",
).problem


def judge(new: Reading, old: Reading | None, now_us: int, *, one_of_several: bool = False) -> tuple[Problem, ...]:
    """Return the problems of `new` in place of `old` (None: there was none). Errors deny the change.

    `one_of_several`: other ConfigMaps belong to the same document and are not in these readings, so what they may
    declare causes only warnings.
    """
    tolerated = ELSEWHERE if one_of_several else frozenset()
    before = check(old.files, order=old.order) if old is not None else None
    last = None if before is None else _as_written(before, None, _flawed(before, tolerated))
    checked = check(new.files, last, order=new.order)
    if checked.is_empty:
        return (_EMPTIED,)
    doubt(checked, now_us)
    found = [one.problem for one in checked.flaws()]
    if last is not None:
        found += transitions(last, _as_written(checked, last, set()), now_us, checked.trees)
    found = [_softened(one, tolerated) for one in found]
    if before is not None and old is not None:
        found = list(_inherited(found, before, _unchanged(old, new)))
    if not one_of_several and not any(one.severity == "error" for one in found):
        resolved = resolve(checked, last)
        refusal = refusal_of(new, checked, resolved, last)
        found += [one.problem for one in resolved.flaws if one.problem.code == "UNBUILDABLE"]
        found += [refusal.problem] if refusal else []
    return in_order(found)


def _as_written(checked: Checked, last: Snapshot | None, without: set[Path]) -> Snapshot:
    """Return the snapshot that the files ask for, also where another ConfigMap has the ground of an experiment.

    A record with a flaw, or of a broken file, stays as it was: its new state is unknown.
    """
    records: dict[str, dict[str, Any]] = {section: dict(checked.kept[section]) for section in SECTIONS}
    for candidate in checked.candidates:
        record = candidate.record if candidate.sound else in_force(last, candidate.section).get(candidate.id)
        if record is not None and candidate.path not in without:
            records[candidate.section][candidate.id] = record
    return assemble(
        records["attributes"],
        [record for section in SECTIONS[1:] for record in records[section].values()],
        written_at_us=0,  # nobody reads the time
        retired=checked.retired,
    )


def _flawed(checked: Checked, tolerated: frozenset[str]) -> set[Path]:
    """Return the entities with errors: they cannot have been in force as written, so a correction changes nothing."""
    harmless = tolerated | {"UNKNOWN_METRIC"}  # an error for the report, which stops no experiment
    return {one.entity for one in checked.flaws() if one.is_error and one.problem.code not in harmless}


def _softened(problem: Problem, tolerated: frozenset[str]) -> Problem:
    if problem.severity == "warning" or problem.code not in tolerated:
        return problem
    return replace(problem, severity="warning", message=f"{problem.message}, unless another ConfigMap does")


def _unchanged(old: Reading, new: Reading) -> frozenset[str]:
    was = {file.name: file.data for file in old.files}
    return frozenset(file.name for file in new.files if was.get(file.name) == file.data)


def _inherited(found: list[Problem], before: Checked, unchanged: frozenset[str]) -> Iterator[Problem]:
    """Yield problems; old errors in untouched files become warnings: a typo must not block a pause elsewhere."""
    stood = {_identity(one.problem) for one in before.flaws()}
    for problem in found:
        if problem.severity == "error" and problem.file in unchanged and _identity(problem) in stood:
            yield replace(problem, severity="warning", message=f"stood here before: {problem.message}")
        else:
            yield problem


def _identity(problem: Problem) -> tuple[str, str, int, int, str, str]:
    return problem.code, problem.file, problem.line, problem.column, problem.path, problem.value
