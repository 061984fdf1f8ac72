"""Units by what the sidecar that exposed them first was told of itself: the app's version, namespace, cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.report.store.members import text_of
from abside.report.tally.slices import NO_VALUE, OTHERS, TOP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.report.store.engine import Engine, Table
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice

COUNTER = "-[0-9a-f]+$"  # of an event's id, behind the sidecar's boot
SOURCE = r'"source":\{[^{}]*\}'  # of a statement: pod, app, version, namespace and cluster
VERSION = "app version"
CUTS = {VERSION: "version", "namespace": "namespace", "cluster": "cluster"}  # a cut's name: the source's member


def units_by_writer(
    engine: Engine, outcomes: Outcomes, events: Table, choice: Choice, units: Table
) -> dict[str, dict[str, dict[str, int]]]:
    """Return cut → value → variant → units: the most frequent values and the rest as one; variants in order.

    A cut in which no sidecar has a value is left out, that by version never. Raises EngineFailed.
    """
    told = events.filter(events.type.isin(("config", "account")), events.detail.contains('"source"'))
    source = told.detail.re_extract(SOURCE, 0)
    members = {member: text_of(source, member).nullif("") for member in CUTS.values()}
    told = told.select(boot=told.event_id.re_replace(COUNTER, ""), **members)
    boots = told.group_by(told_boot=told.boot).agg(**{member: told[member].max() for member in members})
    mine = events.filter(
        events.type == "exposure", events.experiment == choice.experiment, events.phase == choice.phase, ~events.bot
    )
    mine = outcomes.with_person(mine.select("ts", "event_id", "user_id", "session_id"), choice.unit)
    first = mine.inner_join(units.select("person", "first_ts", "variant"), "person")
    first = first.filter(first.ts == first.first_ts)
    first = first.mutate(boot=first.event_id.re_replace(COUNTER, ""))
    each = first.group_by("person", "variant").agg(boot=first.boot.min())
    named = each.left_join(boots, each.boot == boots.told_boot)
    found = engine.rows(
        f"{choice.experiment}: units by the sidecar that exposed them",
        named.group_by(*members, "variant").agg(units=named.count()),
    )
    cuts: dict[str, dict[str, dict[str, int]]] = {}
    for cut, member in CUTS.items():
        by_value = cuts.setdefault(cut, {})
        for row in found:
            arms = by_value.setdefault(row[member] or NO_VALUE, {})
            arms[row["variant"]] = arms.get(row["variant"], 0) + row["units"]
    return {cut: _most(by_value) for cut, by_value in cuts.items() if cut == VERSION or by_value.keys() - {NO_VALUE}}


def _most(by_value: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Keep the values with the most units; arms in order."""
    order = sorted(by_value, key=lambda value: (-sum(by_value[value].values()), value))
    shown = {value: dict(sorted(by_value[value].items())) for value in order[:TOP]}
    for value in order[TOP:]:
        rest = shown.setdefault(OTHERS, {})
        for variant, units in by_value[value].items():
            rest[variant] = rest.get(variant, 0) + units
    return shown
