"""`abside diff OLD NEW`: what a change does to shoppers, how many move, and what in it is forbidden."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
import orjson

from abside.assignment.attribute import date_text
from abside.environ import now_us
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.impact.changes import changes
from abside_agent.commands.impact.movement import by_experiment, by_placement
from abside_agent.commands.review.markdown import code, plain, problem_table, table
from abside_agent.commands.shown import shown
from abside_agent.document.parse import parse
from abside_agent.document.reading import Reading, problem_to_map
from abside_agent.document.wording import counted
from abside_agent.rules.transition import transitions
from abside_agent.settle.settle import settle
from abside_agent.sources.documents import Documents, DocumentsError, documents
from abside_agent.sources.given import Given

if TYPE_CHECKING:
    from abside.snapshot import Problem, Snapshot
    from abside_agent.commands.impact.change import Change
    from abside_agent.commands.impact.movement import ExperimentMove, PlacementMove
    from abside_agent.settings import DiffSettings


@dataclass(frozen=True, slots=True)
class Difference:
    """The result of `abside diff`."""

    at_us: int
    revisions: tuple[str, str]
    changes: list[Change]
    placements: list[PlacementMove]
    experiments: dict[str, ExperimentMove]
    targeted: list[str]  # experiments with an eligibility, which the figures ignore
    problems: list[Problem]

    @property
    def errors(self) -> int:
        """The number of errors: problems that forbid the change."""
        return sum(problem.severity == "error" for problem in self.problems)


def main(settings: DiffSettings) -> int:
    """Print the difference. Return 0; 1 when something in it is forbidden or wrong, 2 where nothing can be read."""
    at_us = now_us() if settings.at is None else settings.at
    try:
        old, new = documents(settings.old), documents(settings.new)
        before = _old(settings.old, old, at_us)
    except DocumentsError as exc:
        return refuse("diff", exc)
    found = difference(before, new, at_us)
    form = "json" if settings.json else settings.format
    click.echo({"json": _json, "markdown": _markdown}[form](found) if form != "text" else _text(found, new), nl=False)
    return ExitCode.PROBLEMS if found.errors else ExitCode.DONE


def difference(old: Snapshot, new: Documents, at_us: int) -> Difference:
    """Compare the snapshot in force with the one that an agent would make of the new files. Pure."""
    settled = settle(Reading(new.files), old, at_us)
    after = settled.snapshot or old
    trees = [parse(file.name, file.data) for file in new.files]
    found = [*settled.problems, *transitions(old, after, at_us, trees)]
    problems = [*new.problems, *(new.place(problem) for problem in found)]
    return Difference(
        at_us,
        (old.head.revision, after.head.revision),
        changes(old, after, at_us),
        by_placement(old, after, at_us),
        by_experiment(old, after, at_us),
        sorted({one.id for each in (old, after) for one in each.experiments.values() if one.eligibility}),
        sorted(problems, key=lambda one: (one.severity, one.file, one.line, one.column)),
    )


def _old(place: str, old: Documents, at_us: int) -> Snapshot:
    """Return the snapshot of the old files. Raises DocumentsError where they make none."""
    settled = settle(Reading(old.files), None, at_us)
    errors = [old.place(problem) for problem in settled.problems if problem.severity == "error"]
    if settled.snapshot is None:
        raise DocumentsError(place, f"nothing there can be compared with: {errors[0]}")
    if errors:
        left_out = ", ".join(sorted(settled.held)) or "something"
        sys.stderr.write(f"abside diff: {place} has problems of its own; left out of it: {left_out}\n")
    return settled.snapshot


ASSUMED = "every unit is eligible, has a user id and a session id, and is not forced"


def _json(found: Difference) -> str:
    body: dict[str, Any] = {
        "at": date_text(found.at_us),
        "revisions": {"old": found.revisions[0], "new": found.revisions[1]},
        "changes": [asdict(change) for change in found.changes],
        "placements": [asdict(move) for move in found.placements],
        "experiments": [asdict(move) for move in found.experiments.values()],
        "assumed": ASSUMED,
        "targeted": found.targeted,
        "problems": [problem_to_map(problem) for problem in found.problems],
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"


def _text(found: Difference, new: Documents) -> str:
    quoted = Given(new.files, new.shown, new.problems).lines() if found.problems else {}
    lines = list(shown(found.problems, quoted))
    lines += _sentences(found) or ["Nothing changes."]
    if found.placements and found.changes:
        lines += ["", *_table(found.placements), "", *_notes(found)]
    warnings = len(found.problems) - found.errors
    counts = [counted(len(found.changes), "change"), counted(found.errors, "error"), counted(warnings, "warning")]
    closing = f"{counts[0]}: {counts[1]}, {counts[2]}"
    return "\n".join([*lines, "", closing]) + "\n"


def _markdown(found: Difference) -> str:
    warnings = len(found.problems) - found.errors
    counts = [counted(len(found.changes), "change"), counted(found.errors, "error"), counted(warnings, "warning")]
    lines = [f"### abside diff: {', '.join(counts)}", "", *problem_table(found.problems, "abside diff")]
    lines += ["", *(_sentences(found, bullets=True) or ["Nothing changes for shoppers."])]
    if found.placements and found.changes:
        heads = ("placement", *(f"of all: {name}" for name in COLUMNS[1:4]), "enrolled before")
        heads += tuple(f"of those: {name}" for name in COLUMNS[5:])
        rows = [(code(row[0]), *row[1:]) for row in _rows(found.placements)]
        lines += ["", *table(heads, rows, figures=7), "", *(plain(note) for note in _notes(found))]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _sentences(found: Difference, *, bullets: bool = False) -> list[str]:
    """Return a sentence for each change, and behind an experiment's how many units move; `bullets`: as Markdown."""
    lines = []
    for index, change in enumerate(found.changes):
        lines.append(f"- **{plain(change.sentence)}**" if bullets else click.style(change.sentence, bold=True))
        following = found.changes[index + 1].id if index + 1 < len(found.changes) else ""
        move = found.experiments.get(change.id)
        if move is not None and following != change.id and (move.before or move.after):
            parts = (("join", move.joins), ("leave", move.leaves), ("switch variant", move.switches))
            moved = ", ".join(f"{_share(share)} {verb}" for verb, share in parts)
            within = f"in it before {_share(move.before)}, after {_share(move.after)}"
            lines.append(f"{'  - ' if bullets else '    '}of all units {moved}; {within}")
    return lines


COLUMNS = ("placement", "variant", "configuration", "either", "enrolled", "variant", "configuration", "either")


def _rows(moves: list[PlacementMove]) -> list[tuple[str, ...]]:
    return [
        (
            move.placement,
            *(_share(share) for share in (move.variant, move.configuration, move.either, move.enrolled)),
            *(_share(share) for share in (move.enrolled_variant, move.enrolled_configuration, move.enrolled_either)),
        )
        for move in moves
    ]


def _table(moves: list[PlacementMove]) -> list[str]:
    rows = _rows(moves)
    widths = [max(len(row[index]) for row in (COLUMNS, *rows)) for index in range(len(COLUMNS))]
    first = sum(widths[1:4]) + 4
    second = sum(widths[5:]) + 4
    group = f"{'':{widths[0]}}  {'of all units':^{first}}  {'':{widths[4]}}  {'of those enrolled before':^{second}}"
    lines = [group.rstrip()]
    for row in (COLUMNS, *rows):
        cells = [
            f"{row[0]:{widths[0]}}",
            *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _notes(found: Difference) -> list[str]:
    moves = found.placements
    lines = [f"Units that change, assuming that {ASSUMED}."]
    if found.targeted:
        lines.append(f"Not everybody is eligible for {', '.join(found.targeted)}.")
    sampled = [move for move in moves if move.sample_units]
    for move in sampled:
        error = max(
            move.standard_error(share) for share in (move.variant, move.configuration, move.either, move.enrolled)
        )
        sample = f"{move.sample_units:,} synthetic units, standard error at most {error * 100:.2f} points"
        lines.append(f"{move.placement}: a sample of {sample}.")
    return lines if len(sampled) == len(moves) else [*lines, "Exact over the buckets where no sample is named."]


def _share(share: float | None) -> str:
    if share is None:
        return "—"
    if 0 < share < 0.0001:
        return "<0.01 %"
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + " %"
