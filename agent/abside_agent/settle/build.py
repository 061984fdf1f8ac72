"""Builds what is about to be published as a sidecar does, so that only buildable records are published. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from abside.assignment.plan import build_plans
from abside.snapshot import Experiment, Placement, SnapshotError, assemble, decode, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.snapshot import Attribute, Record

Key: TypeAlias = tuple[str, str]  # section, id

TOGETHER: Key = ("", "")  # the records can be built one by one, but not as one snapshot
AT_US = 0  # any instant: it selects the share in force, and does not decide whether a record can be built
# Raised by writing, reading and building for a record of a wrong shape; anything else is a bug.
_REFUSALS = (SnapshotError, TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError)


def unbuildable(attributes: Mapping[str, Attribute], records: list[Record]) -> dict[Key, str]:
    """Return each record that a sidecar cannot build, and why; empty where the whole can be built."""
    refusal = _refusal(attributes, records)
    if not refusal:
        return {}
    found = {key_of(record): why for record in records if (why := _refusal(attributes, [record]))}
    return found or {TOGETHER: refusal}


def key_of(record: Record) -> Key:
    """Return the section and the id of a record."""
    if isinstance(record, Experiment):
        return "experiments", record.id
    return ("placements" if isinstance(record, Placement) else "layers"), record.id


def _refusal(attributes: Mapping[str, Attribute], records: list[Record]) -> str:
    """Write, read and build these records; return why that fails, empty where it works."""
    try:
        plans = build_plans(decode(encode(assemble(dict(attributes), records, written_at_us=AT_US))), AT_US)
        for plan in plans.placements.values():
            plan.merged(())
            for evaluator in plan.evaluators:
                for arm in evaluator.arms:
                    plan.merged((arm,))
    except _REFUSALS as exc:
        return str(exc) or type(exc).__name__
    return ""
