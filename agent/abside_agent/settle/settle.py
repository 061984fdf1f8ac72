"""From a reading and the snapshot in force to the next snapshot: check, last good, pauses. Pure.

The history of the agent has no influence: with nothing held back, the same files and pauses have the same result in
an agent that just started and in one that has run for a year.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside.metric import to_json
from abside.snapshot import Experiment, Problem, Snapshot, assemble
from abside_agent.document.characters import odd_in
from abside_agent.document.reading import EVERY_EXPERIMENT, Reading, holds_back, together
from abside_agent.document.tree import Flaw, Severity, flaw
from abside_agent.document.wording import did_you_mean
from abside_agent.settle.build import unbuildable
from abside_agent.settle.check import Checked, check, sources_of
from abside_agent.settle.pause import by_directory, paused
from abside_agent.settle.resolve import Resolved, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from abside.snapshot import Json
    from abside_agent.document.reading import Pauses

MOST_NAMES = 10_000  # compared with a pause's key: there are few keys, and a person who pauses is in a hurry
MAX_HEAD_PROBLEMS = 100  # a status page and a log show no more; 100 of them keep the head below 50 KB


@dataclass(frozen=True, slots=True)
class Settled:
    """The next snapshot (None: nothing may be published), its problems, and by path what is served instead."""

    snapshot: Snapshot | None
    problems: tuple[Problem, ...]
    held: dict[str, str] = field(default_factory=dict)

    @property
    def is_degraded(self) -> bool:
        """Whether anything that a file asks for is not in force."""
        return any(map(holds_back, self.problems))


def settle(reading: Reading, last: Snapshot | None, now_us: int, *, unread: Problem | None = None) -> Settled:
    """Return what comes into force. `unread`: the problem because of which the files must not be read."""
    if unread is not None:
        return _refused(reading, last, now_us, [unread], set())
    checked = check(reading.files, last, [lost.prefix for lost in reading.lost], reading.order)
    asked = {candidate.id for candidate in checked.candidates if candidate.section == "experiments"}
    resolved = resolve(checked, last)
    found = [*reading.problems, *_lost(reading, last), *(one.problem for one in resolved.flaws)]
    if refusal := refusal_of(reading, checked, resolved, last):
        return _refused(reading, last, now_us, [*found, refusal.problem], asked)
    pauses = by_directory(reading, last)
    experiments, odd = _paused(pauses, resolved.experiments, asked)
    problems = in_order([*found, *odd])
    snapshot = assemble(
        resolved.attributes,
        [*resolved.placements.values(), *resolved.layers.values(), *experiments],
        written_at_us=now_us,
        retired=resolved.retired,
        degraded=any(map(holds_back, problems)),
        problems=bounded(problems),
        pauses=pauses,
        report=_for_report(checked),
    )
    return Settled(snapshot, problems, resolved.held)


def _for_report(checked: Checked) -> dict[str, Json]:
    """Return what the report alone reads; nothing of it is in the revision."""
    own: dict[str, Json] = {"metrics": [to_json(one) for one in checked.metrics.values()]} if checked.metrics else {}
    return own if checked.currency is None else {**own, "currency": checked.currency}


def refusal_of(reading: Reading, checked: Checked, resolved: Resolved, last: Snapshot | None) -> Flaw | None:
    """Return why the files cannot be used as a whole, or None: missing or empty is never "no experiments"."""
    placements = any(candidate.section == "placements" for candidate in checked.candidates)
    where, kept = "documents", any(checked.kept.values())
    if not reading.files and not kept:
        return flaw(where, "NO_FILE", (), "there is no *.yaml file", "put the documents there")
    if checked.is_empty and not kept:
        return flaw(where, "EMPTY", (), "no file has any content", "write placements and experiments")
    if not resolved.placements or not (placements or checked.kept["placements"]):
        return flaw(where, "NO_PLACEMENT", (), "there is no placement that can be used", "declare one: placements: …")
    if resolved.refusal:
        message = f"no sidecar could take all of this together ({resolved.refusal})"
        return flaw(where, "UNBUILDABLE", (), message, "make it smaller, or report it, with these documents")
    if not resolved.experiments and last is not None and last.experiments:
        remedy = "to end the last one write status: ended, and keep it for a while"
        return flaw(where, "NO_EXPERIMENT", (), "no experiment is left of those in force", remedy)
    return None


def _lost(reading: Reading, last: Snapshot | None) -> Iterator[Problem]:
    """Return a problem for each directory without files; what it contributed before stays in force."""
    for lost in reading.lost:
        contributed = any(source.startswith(lost.prefix) for source in sources_of(last))
        stays = ": what it contributed stays" if contributed else ""
        if lost.refusal:
            message = f"the directory cannot be read ({lost.refusal}){stays}"
            yield flaw(lost.directory, "DIRECTORY", (), message, "mount the ConfigMap there").problem
        elif contributed or reading.files:
            severity: Severity = "error" if contributed else "warning"
            message, remedy = f"no *.yaml file is here{stays}", "put the documents here"
            yield flaw(lost.directory, "EMPTY_DIRECTORY", (), message, remedy, severity=severity).problem


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems sorted: errors first, then by file, line and column; without repetitions."""
    unique = dict.fromkeys(problems)
    return tuple(sorted(unique, key=lambda p: (p.severity, p.file, p.line, p.column, p.path, p.code, p.message)))


def bounded(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Return the first MAX_HEAD_PROBLEMS, with one that counts the rest."""
    if len(problems) <= MAX_HEAD_PROBLEMS:
        return problems
    more = f"{len(problems) - MAX_HEAD_PROBLEMS} more problems are not shown here"
    last = flaw("documents", "MORE_PROBLEMS", (), more, "run abside check", severity="warning")
    return (*problems[:MAX_HEAD_PROBLEMS], last.problem)


def _refused(reading: Reading, last: Snapshot | None, now_us: int, found: list[Problem], asked: set[str]) -> Settled:
    """Return the snapshot in force with only its pauses changed, and the problems."""
    if last is None:
        return Settled(None, in_order(found))
    pauses = by_directory(reading, last)
    unbuilt = unbuildable(last.head.attributes, [*last.records()])
    kept = {name: one for name, one in last.experiments.items() if ("experiments", name) not in unbuilt}
    experiments, odd = _paused(pauses, kept, {*asked, *last.experiments})
    problems = in_order([*found, *odd, *_left_out(last, unbuilt)])
    snapshot = assemble(
        last.head.attributes,
        [*last.placements.values(), *last.layers.values(), *experiments],
        written_at_us=now_us,
        retired=last.head.retired,
        degraded=True,
        problems=bounded(problems),
        pauses=pauses,
        report=last.head.report,
    )
    return Settled(snapshot, problems, {"all": "last good"})


def _odd(name: str) -> str:
    odd = odd_in(name)
    return f" ({odd.message})" if odd else ""


def _left_out(last: Snapshot, unbuilt: Mapping[tuple[str, str], str]) -> Iterator[Problem]:
    for name, one in last.experiments.items():
        if why := unbuilt.get(("experiments", name)):
            message = f"{name}, in force until now, is left out: no sidecar could build it ({why})"
            yield flaw(one.source, "UNBUILDABLE", ("experiments", name), message, "mend the documents").problem


def _paused(
    by_label: Mapping[str, Pauses], experiments: dict[str, Experiment], asked: set[str]
) -> tuple[list[Experiment], list[Problem]]:
    """Return the experiments with their pauses, and the problems of those pauses."""
    pauses = together(by_label)
    known = {*experiments, *asked, EVERY_EXPERIMENT}
    odd = [
        flaw(
            next(f"{label}/{name}" for label, found in by_label.items() if name in found),
            "PAUSED_UNKNOWN",
            (),
            f"no experiment is called {name}{_odd(name)}: this pauses nothing",
            did_you_mean(name, known, MOST_NAMES) or "delete the key",
            severity="warning",
            value=name,
        ).problem
        for name in pauses
        if name not in known
    ]
    return paused(experiments.values(), pauses), odd
