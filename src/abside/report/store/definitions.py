"""Whether a variant was one thing throughout: its parameters, by what the `config` events say each config_id was.

A merged configuration changes for reasons of its own: other experiments at the placement, the placement's other
parameters. What counts is the part this experiment sets. Figures never pool two definitions of a variant: they begin
when the last sidecar had swapped to the latest one, and what met an old one later (a token, a robot) is a stray.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from abside.report.store.members import mentions
from abside.snapshot import Leaf, leaves, value_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Seen
    from abside.report.store.timeline import Spell
    from abside.snapshot import Experiment

OPENING = '"placements":'
MAX_TOLD = 100_000  # texts; what is served beyond them is not known, which the page says

ParameterKeys = dict[str, list[Leaf]]  # placement → the leaves of its parameters that an experiment sets
ArmAt = tuple[str, str]  # variant, placement


@dataclass(frozen=True, slots=True)
class Served:
    """One merged configuration, JSON, and when a sidecar first said that it served it."""

    config: str
    first: datetime


ServedConfigs = dict[tuple[str, str], Served]  # placement, config_id


@dataclass(frozen=True, slots=True)
class Definitions:
    """What is known of the variants' definitions within a phase.

    `since`: when every sidecar had swapped to the latest ones; figures begin there. None: they never changed.
    """

    since: datetime | None = None
    changed: tuple[str, ...] = ()  # variant at placement, in words
    unknown: int = 0  # exposure rows whose configuration no config event told
    latest: dict[ArmAt, str] = field(default_factory=dict)  # of the arms that changed


def definitions(
    seen: Iterable[Seen], configs: ServedConfigs, keys: ParameterKeys, revisions: Sequence[Spell] = ()
) -> Definitions:
    """Compare what each arm was at each placement, over the exposures of one phase."""
    arms: defaultdict[ArmAt, list[tuple[Seen, str, datetime]]] = defaultdict(list)
    unknown = 0
    for one in seen:
        placement = one.placement or ""
        if one.variant is None or not keys.get(placement):
            continue
        served = configs.get((placement, one.config_id or ""))
        if served is None or not _is_map(served.config):
            unknown += one.rows
            continue
        arms[one.variant, placement].append((one, _definition(served.config, keys[placement]), served.first))
    since = None
    latest: dict[ArmAt, str] = {}
    for arm, met in sorted(arms.items()):
        if len({definition for _, definition, _ in met}) > 1:
            begun, latest[arm] = _latest(met, revisions)
            since = begun if since is None else max(since, begun)
    return Definitions(since, tuple(f"{variant} at {placement}" for variant, placement in latest), unknown, latest)


def strays(seen: Iterable[Seen], configs: ServedConfigs, keys: ParameterKeys, defined: Definitions) -> int:
    """Count the exposure rows that met an old definition, of those seen after the change."""
    rows = 0
    for one in seen:
        placement = one.placement or ""
        latest = defined.latest.get((one.variant or "", placement))
        served = configs.get((placement, one.config_id or ""))
        if (
            latest is not None
            and served is not None
            and _is_map(served.config)
            and _definition(served.config, keys[placement]) != latest
        ):
            rows += one.rows
    return rows


def _latest(met: Sequence[tuple[Seen, str, datetime]], revisions: Sequence[Spell]) -> tuple[datetime, str]:
    """Return when an arm's latest definition was in force everywhere, and the definition.

    A revision is one definition of each arm, so that the sidecars' swaps date it. Where they do not tell (no config
    event of these revisions is in the store), a definition begins when it was first said to be served.
    """
    of_revision: defaultdict[str, set[str]] = defaultdict(set)
    for one, definition, _ in met:
        of_revision[one.revision or ""].add(definition)
    is_one_each = all(len(found) == 1 for found in of_revision.values())
    runs = [(one.settled, min(of_revision[one.state])) for one in revisions if one.state in of_revision]
    if is_one_each and runs:
        definition = runs[-1][1]
        begun = runs[-1][0]
        for settled, other in reversed(runs):
            if other != definition:
                break
            begun = settled
        return begun, definition
    first = {definition: min(at for _, other, at in met if other == definition) for _, definition, _ in met}
    definition = max(first, key=lambda one: (first[one], one))
    return first[definition], definition


def _is_map(config: str) -> bool:
    """Whether a configuration has the shape that a sidecar of ours serves."""
    return isinstance(json.loads(config), dict)


def _definition(config: str, keys: Sequence[Leaf]) -> str:
    told = json.loads(config)
    return json.dumps([value_at(told, leaf) for leaf in keys], sort_keys=True)


def keys_of(experiment: Experiment) -> ParameterKeys:
    """List the leaves that an experiment's variants set, by placement."""
    keys: defaultdict[str, set[Leaf]] = defaultdict(set)
    for variant in experiment.variants:
        for placement, parameters in variant.parameters.items():
            keys[placement].update(leaf for leaf, _ in leaves(parameters))
    return {placement: sorted(names) for placement, names in keys.items()}


def read_configs(engine: Engine, events: Table, keys: Mapping[str, object]) -> ServedConfigs:
    """Read what each config_id of these placements was, from the first MAX_TOLD words on them. Raises EngineFailed."""
    is_here = reduce(or_, (mentions(events.detail, placement) for placement in keys))
    mine = events.filter(events.type == "config", events.detail.contains(OPENING), is_here)
    each = mine.select("ts", told=mine.detail.substr(mine.detail.find(OPENING)))  # without the pod that says so
    found = each.group_by("told").agg(first=each.ts.min())
    rows = engine.rows("configurations served", found.order_by("first", "told").limit(MAX_TOLD))
    served: ServedConfigs = {}
    for row in rows:
        for told in _placements(row["told"]):
            placement, config_id = told.get("placement"), told.get("config_id")
            if not isinstance(placement, str) or not isinstance(config_id, str) or told.get("config") is None:
                continue
            if placement in keys:
                served.setdefault((placement, config_id), Served(json.dumps(told["config"]), row["first"]))
    return served


def _placements(told: str) -> list[dict[str, Any]]:
    """Read what a config event says is served where; nothing where it has another shape than a sidecar's."""
    try:
        found = json.loads("{" + told)["placements"]
    except (ValueError, KeyError):
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
