"""Lays pauses over experiments: in the child with the documents, and before it, at once, over what is in force."""

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
MAX_QUICK_BYTES = 4 * 2**20  # some 5,000 experiments, 0.2 s; the agent itself must not need what its child may


def paused(experiments: Iterable[Experiment], pauses: Mapping[str, str]) -> list[Experiment]:
    """Give the experiments with these pauses and no others. A pause never fails for its form."""
    reasons = {name: reason or NO_REASON for name, reason in pauses.items()}
    every = reasons.get(EVERY_EXPERIMENT)
    return [replace(one, pause=reasons.get(one.id, every)) for one in experiments]


def by_directory(reading: Reading, last: Snapshot | None) -> dict[str, Pauses]:
    """Give what each directory pauses; of one that `keeps`, also what the snapshot in force has from it, and no more.

    So an agent that restarts knows of a directory that is away what one that goes on remembers of it.
    """
    if last is None:
        return reading.paused
    remembered = last.head.pauses
    if remembered is None:  # from before this was written down: all that no directory shows may be from here
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
    """Give a reading that may be of a moment in mid-write: what it shows is paused, and nothing is resumed by it."""
    return replace(reading, keeps=tuple(reading.paused), lifted={})


def over(snapshot: bytes, reading: Reading, now_us: int, max_bytes: int = MAX_QUICK_BYTES) -> tuple[bytes, str]:
    """Give the snapshot in force with the pauses of a reading, and its revision; nothing where that changes nothing.

    It is what the child will make of the same documents, so that only one of the two is ever written; the child knows
    the problems too. A snapshot that cannot be read is the child's, and so is one larger than `max_bytes`.
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
    """Whether a snapshot says by its head alone that these pauses are in it. Raises SnapshotError."""
    head = next(read(snapshot))[1]
    return isinstance(head, SnapshotHead) and head.pauses is not None and _kept(reading, head.pauses) == head.pauses
