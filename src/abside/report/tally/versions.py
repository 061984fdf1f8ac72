"""Units by the version of the app whose sidecar exposed them first, as the sidecars' own statements name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.store.members import text_of
from abside.report.tally.slices import NO_VALUE, OTHERS, TOP

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice

COUNTER = "-[0-9a-f]+$"  # of an event's id, behind the sidecar's boot
SOURCE = r'"source":\{[^{}]*\}'  # of a statement: pod, app and version


def units_by_version(
    engine: Engine, outcomes: Outcomes, events: Table, choice: Choice, units: Table
) -> dict[str, dict[str, int]]:
    """Return version → variant → units, the most frequent versions and the rest as one. Raises EngineFailed."""
    told = events.filter(events.type.isin(("config", "account")), events.detail.contains('"source"'))
    source = told.detail.re_extract(SOURCE, 0)
    told = told.select(boot=told.event_id.re_replace(COUNTER, ""), version=text_of(source, "version").nullif(""))
    boots = told.group_by(told_boot=told.boot).agg(version=told.version.max())
    mine = events.filter(
        events.type == "exposure", events.experiment == choice.experiment, events.phase == choice.phase, ~events.bot
    )
    mine = outcomes.with_person(mine.select("ts", "event_id", "user_id", "session_id"), choice.unit)
    first = mine.inner_join(units.select("person", "first_ts", "variant"), "person")
    first = first.filter(first.ts == first.first_ts)
    first = first.mutate(boot=first.event_id.re_replace(COUNTER, ""))
    each = first.group_by("person", "variant").agg(boot=first.boot.min())
    named = each.left_join(boots, each.boot == boots.told_boot)
    found = named.group_by("version", "variant").agg(units=named.count())
    by_version: dict[str, dict[str, int]] = {}
    for row in engine.rows(f"{choice.experiment}: units by the app's version", found):
        by_version.setdefault(row["version"] or NO_VALUE, {})[row["variant"]] = row["units"]
    return _most(by_version)


def _most(by_version: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Keep the versions with the most units; arms in order."""
    order = sorted(by_version, key=lambda version: (-sum(by_version[version].values()), version))
    shown = {version: dict(sorted(by_version[version].items())) for version in order[:TOP]}
    for version in order[TOP:]:
        rest = shown.setdefault(OTHERS, {})
        for variant, units in by_version[version].items():
            rest[variant] = rest.get(variant, 0) + units
    return shown
