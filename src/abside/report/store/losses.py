"""`account` events → what sidecars say they lost, and what they accepted that never arrived here."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the last account of every sidecar says, all added up."""

    sidecars: int = 0  # boots that gave an account
    without_end: int = 0  # of them, not (or not yet) ended with a clean drain
    accepted: Counter[str] = field(default_factory=Counter)  # by type
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class ArmLedger:
    """Exposures of one arm as the accounts count them, all phases, forced and bots included."""

    accepted: int
    lost: int


def ledger(engine: Engine, events: Table) -> Ledger:
    """Add up the last account of every boot. Raises EngineFailed."""
    mine = events.filter(events.type == "account", events.detail.notnull())
    boot = mine.detail.cast("json")["boot"].str
    ended = mine.detail.contains('"clean_end":true').any()  # its last words may be several accounts of one moment
    last = mine.group_by(boot=boot).agg(detail=mine.detail.argmax(mine.ts), ended=ended)
    rows = engine.rows("accounts of the sidecars", last)
    accepted: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for account in (json.loads(row["detail"]) for row in rows):
        accepted.update(account.get("accepted") or {})
        lost.update(account.get("lost") or {})
    return Ledger(len(rows), sum(not row["ended"] for row in rows), accepted, lost)


def arm_ledger(engine: Engine, events: Table, experiment: str) -> dict[str, ArmLedger]:
    """Add up the accounts by arm. Counts are cumulative and told when they changed: the largest is the last."""
    mine = events.filter(events.type == "account", events.detail.contains(json.dumps(experiment)))
    account = mine.detail.cast("json")
    each = mine.select(boot=account["boot"].str, told=account["exposures"].array.unnest())
    each = each.filter(each.told["experiment"].str == experiment)
    each = each.select(
        "boot", variant=each.told["variant"].str, accepted=each.told["accepted"].int, lost=each.told["lost"].int
    )
    last = each.group_by("boot", "variant").agg(accepted=each.accepted.max(), lost=each.lost.max())
    found = last.group_by("variant").agg(accepted=last.accepted.sum(), lost=last.lost.sum())
    rows = engine.rows(f"{experiment}: accounts by arm", found)
    return {row["variant"]: ArmLedger(row["accepted"], row["lost"]) for row in rows}
