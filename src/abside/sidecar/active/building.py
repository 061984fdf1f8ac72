"""From a snapshot file's bytes to what is in force, in slices: whoever answers meanwhile goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from abside.assignment.plan import NO_PLANS, build_in_slices
from abside.sidecar.active.current import Current, caches, logged_attributes, unknown_attributes
from abside.snapshot import decode_in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from abside.assignment.plan import Plans
    from abside.snapshot import LeftOut, Snapshot


def read_in_slices(data: bytes, old: Current | None, clock: Callable[[], int]) -> Generator[None, None, Current]:
    """Read a file and build what can be built; `clock` returns µs UTC. Raises SnapshotError.

    A record that cannot be read or built is left out; the others, and every pause, take effect. What did not change
    is taken over from `old`.
    """
    snapshot, digests, unread = yield from decode_in_slices(data)
    left_out = [*unknown_attributes(snapshot.head), *unread]
    return (yield from _built(snapshot, digests, left_out, old, clock()))


def rebuild_in_slices(current: Current, now_us: int) -> Generator[None, None, Current]:
    """Build the same snapshot for another instant."""
    return (yield from _built(current.snapshot, current.plans.digests, current.left_out, current, now_us))


def is_right_at(current: Current, now_us: int) -> bool:
    """Whether the plans are still right at this instant; a clock that stepped back makes them wrong too."""
    due = current.plans.next_change_us
    if due is not None and now_us >= due:
        return False
    return now_us >= current.applied_us or all(one.is_valid_at(now_us) for one in current.plans.evaluators.values())


def _built(
    snapshot: Snapshot, digests: Mapping[str, str], unread: Sequence[LeftOut], old: Current | None, now_us: int
) -> Generator[None, None, Current]:
    left_out = list(unread)
    reuse = old.plans if old else NO_PLANS
    plans: Plans = yield from build_in_slices(snapshot, now_us, reuse=reuse, digests=digests, left_out=left_out)
    usable = replace(snapshot, experiments={name: one.experiment for name, one in plans.evaluators.items()})
    answers = caches(snapshot.head.revision, plans)
    return Current(usable, plans, now_us, logged_attributes(snapshot), answers, tuple(left_out))
