"""`account` events → what sidecars say they lost, and what they accepted that never arrived here."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from abside.report.store.members import mentions, objects_opening, text_of, whole_of

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table

MAX_ARMS = 1_000  # of an experiment's accounts, those with the most exposures: more is garbage


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the last account of every sidecar says, all added up."""

    sidecars: int = 0  # boots that gave an account
    without_end: int = 0  # of them, not (or not yet) ended with a clean drain
    accepted: Counter[str] = field(default_factory=Counter)  # by type
    lost: Counter[str] = field(default_factory=Counter)
    unread: int = 0  # sidecars whose last account has no readable shape: what they say is not in it


@dataclass(frozen=True, slots=True)
class ArmLedger:
    """Exposures of one arm as the accounts count them, all phases, forced and bots included."""

    accepted: int
    lost: int


def ledger(engine: Engine, events: Table) -> Ledger:
    """Add up the last account of every boot. Raises EngineFailed."""
    mine = events.filter(events.type == "account", events.detail.notnull())
    boot = text_of(mine.detail, "boot")
    ended = mine.detail.contains('"clean_end":true').any()  # its last words may be several accounts of one moment
    last = mine.group_by(boot=boot).agg(detail=mine.detail.argmax(mine.ts), ended=ended)
    rows = engine.rows("accounts of the sidecars", last)
    accepted: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    unread = 0
    for row in rows:
        told = [_counts(row["detail"], name) for name in ("accepted", "lost")]
        unread += None in told
        accepted.update(told[0] or {})
        lost.update(told[1] or {})
    return Ledger(len(rows), sum(not row["ended"] for row in rows), accepted, lost, unread)


def _counts(detail: str, name: str) -> dict[str, int] | None:
    """Read the counts of an account; None where they have another shape than a sidecar of ours writes."""
    try:
        counts = json.loads(detail).get(name) or {}
    except (ValueError, AttributeError):
        return None
    readable = isinstance(counts, dict) and all(type(count) is int and count >= 0 for count in counts.values())
    return counts if readable else None


def arm_ledger(engine: Engine, events: Table, experiment: str) -> dict[str, ArmLedger]:
    """Add up the accounts by arm. Counts are cumulative and told when they changed: the largest is the last."""
    mine = events.filter(events.type == "account", mentions(events.detail, experiment))
    each = mine.select(boot=text_of(mine.detail, "boot"), told=objects_opening(mine.detail, "experiment").unnest())
    each = each.filter(each.told.startswith(json.dumps(experiment)))
    counts = {name: whole_of(each.told, name) for name in ("accepted", "lost")}
    each = each.select("boot", variant=text_of(each.told, "variant"), **counts)
    last = each.group_by("boot", "variant").agg(accepted=each.accepted.max(), lost=each.lost.max())
    found = last.group_by("variant").agg(accepted=last.accepted.sum(), lost=last.lost.sum())
    found = found.order_by(found.accepted.desc(), found.variant).limit(MAX_ARMS)
    rows = engine.rows(f"{experiment}: accounts by arm", found)
    return {row["variant"]: ArmLedger(row["accepted"], row["lost"]) for row in rows}
