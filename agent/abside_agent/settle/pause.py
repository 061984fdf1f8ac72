"""Applies pauses to experiments: in the child together with the documents, and at once to the snapshot in force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from abside.snapshot import SnapshotError, SnapshotHead, assemble, decode, encode, read
from abside_agent.document.reading import EVERY_EXPERIMENT, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from abside.snapshot import Experiment, Snapshot
    from abside_agent.document.reading import Pauses, Reading

NO_REASON = "no reason given"
MAX_QUICK_BYTES = 4 * 2**20  # some 5,000 experiments, 0.2 s; the agent itself must stay small


def paused(experiments: Iterable[Experiment], pauses: Mapping[str, str]) -> list[Experiment]:
    """Return the experiments with these pauses and no others. Any text is a valid pause."""
    reasons = {name: reason or NO_REASON for name, reason in pauses.items()}
    every = reasons.get(EVERY_EXPERIMENT)
    return [replace(one, pause=reasons.get(one.id, every)) for one in experiments]


def by_directory(reading: Reading, last: Snapshot | None) -> dict[str, Pauses]:
    """Return the pauses of each directory; for labels in `keeps` also those in the snapshot in force.

    So a restarted agent has the same pauses of a directory that is away as one that kept running.
    """
    if last is None:
        return reading.paused
    remembered = last.head.pauses
    if remembered is None:  # older snapshots name no directory: a pause that no other one shows may be of this one
        shown = reading.pauses
        known = {name: one.pause for name, one in last.experiments.items() if one.pause and name not in shown}
        remembered = dict.fromkeys(reading.keeps, known)
    return _kept(reading, remembered)


def _kept(reading: Reading, remembered: Mapping[str, Pauses]) -> dict[str, Pauses]:
    lifted = reading.lifted
    kept = {
        label: {name: why for name, why in remembered.get(label, {}).items() if name not in lifted.get(label, ())}
        for label in reading.keeps
    }
    return {label: kept.get(label, {}) | shows for label, shows in reading.paused.items()}


def only_more(reading: Reading) -> Reading:
    """Return a reading for files that may be half-written: its pauses count, and it resumes nothing."""
    return replace(reading, keeps=tuple(reading.paused), lifted={})


def over(snapshot: bytes, reading: Reading, now_us: int, max_bytes: int = MAX_QUICK_BYTES) -> tuple[bytes, str]:
    """Return the snapshot in force with the pauses of a reading, and its revision; empty where nothing changes.

    It equals what the child makes of the same documents, so only one of the two is written; the child also reports
    problems. A snapshot that cannot be read, or is larger than `max_bytes`, is left to the child.
    """
    if not snapshot or len(snapshot) > max_bytes:
        return b"", ""
    try:
        if _shows(snapshot, reading):
            return b"", ""
        last = decode(snapshot)
    except SnapshotError:
        return b"", ""
    pauses = by_directory(reading, last)
    experiments = paused(last.experiments.values(), together(pauses))
    if experiments == list(last.experiments.values()):
        return b"", ""
    head = last.head
    laid = assemble(
        head.attributes,
        [*last.placements.values(), *last.layers.values(), *experiments],
        written_at_us=now_us,
        retired=head.retired,
        degraded=head.degraded,
        problems=head.problems,
        pauses=pauses,
        report=head.report,
    )
    return encode(laid), laid.head.revision


def _shows(snapshot: bytes, reading: Reading) -> bool:
    """Whether the head of a snapshot alone shows that it has these pauses. Raises SnapshotError."""
    head = next(read(snapshot))[1]
    return isinstance(head, SnapshotHead) and head.pauses is not None and _kept(reading, head.pauses) == head.pauses
