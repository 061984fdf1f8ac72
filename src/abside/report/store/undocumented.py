"""An experiment that is in no document any more, from what its events say: config events, and its exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.store.members import objects_opening
from abside.snapshot import Experiment, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from abside.report.store.engine import Engine, Table
    from abside.report.store.timeline import TimelineChange
    from abside.snapshot import UnitKind

MAX_KINDS = 1_000  # of its exposures, the most frequent: more is garbage
CONTROL = "control"  # where no config event names the control, an arm of this name is it


def told_experiments(engine: Engine, events: Table, names: Sequence[str]) -> list[str]:
    """Return those of these names that a sidecar ever told to be in force: others are nobody's experiment."""
    mine = events.filter(events.type == "config", events.detail.contains('"experiments"'))
    told = mine.select(told=objects_opening(mine.detail, "experiment").unnest())
    found = told.select(name=told.told.re_extract('^"([^"]+)"', 1)).distinct()
    rows = engine.rows("experiments told", found.filter(found.name.isin(list(names))))
    return sorted(row["name"] for row in rows)


def undocumented(engine: Engine, events: Table, name: str, history: Sequence[TimelineChange]) -> Experiment | None:
    """Return an experiment as its events describe it; None where nothing says which arm is its control."""
    exposed = events.filter(events.type == "exposure", events.experiment == name)
    found = exposed.group_by("phase", "variant", "placement", "unit_type").agg(
        known=exposed.user_id.notnull().any(), rows=exposed.count()
    )
    found = found.order_by(found.rows.desc(), found.phase, found.variant, found.placement).limit(MAX_KINDS)
    rows = engine.rows(f"{name}: what its exposures say", found)
    phase = max((row["phase"] for row in rows if row["phase"] is not None), default=1)
    states = [change.state for change in history if change.state.phase == phase] or [one.state for one in history]
    variants = {str(row["variant"]) for row in rows if row["variant"] is not None and row["phase"] == phase}
    weights = states[-1].weights_bp if states else dict.fromkeys(sorted(variants), 0)
    control = states[-1].control if states else CONTROL
    if control not in weights:
        return None
    return Experiment(
        id=name,
        name=name,
        hypothesis="",
        status="ended",
        placements=tuple(sorted({row["placement"] for row in rows if row["placement"] is not None})),
        variants=_variants(weights),
        control=control,
        unit=_unit(rows),
        phase=phase,
    )


def _variants(weights_bp: Mapping[str, int]) -> tuple[Variant, ...]:
    variants = []
    start = 0
    for name, weight in weights_bp.items():
        variants.append(Variant(name, start, start + weight))
        start += weight
    return tuple(variants)


def _unit(rows: Sequence[Mapping[str, object]]) -> UnitKind:
    """Return the unit: sessions where people who are logged in are known by their session, and never by their user."""
    kinds = {row["unit_type"] for row in rows}
    logged_in = any(row["known"] for row in rows)
    return "session" if kinds == {"session"} and logged_in else "user_or_session"
