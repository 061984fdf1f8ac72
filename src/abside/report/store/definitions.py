"""Whether a variant was one thing throughout: its parameters, by what the `config` events say each config_id was.

A merged configuration changes for reasons of its own: other experiments at the placement, the placement's other
parameters. What counts is the part this experiment sets. Figures never pool two definitions of a variant.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from abside.report.store.engine import Engine, Table
    from abside.report.store.exposures import Seen
    from abside.snapshot import Experiment

Keys = dict[str, list[str]]  # placement → the parameters an experiment sets there
Configs = dict[tuple[str, str], str]  # placement, config_id → the merged configuration, JSON


@dataclass(frozen=True, slots=True)
class Definitions:
    """What is known of the variants' definitions within a phase.

    `since`: the last exposure that met an old definition; figures begin after it. None: they never changed.
    """

    since: datetime | None = None
    changed: tuple[str, ...] = ()  # variant at placement, in words
    unknown: int = 0  # exposure rows whose configuration no config event told


def definitions(seen: Iterable[Seen], configs: Configs, keys: Keys) -> Definitions:
    """Compare what each arm was at each placement, over the exposures of one phase."""
    spans: defaultdict[tuple[str, str], dict[str, datetime]] = defaultdict(dict)  # arm → definition → its last exposure
    unknown = 0
    for one in seen:
        placement = one.placement or ""
        if one.variant is None or not keys.get(placement):
            continue
        text = configs.get((placement, one.config_id or ""))
        if text is None:
            unknown += one.rows
            continue
        config = json.loads(text)
        definition = json.dumps([config.get(key) for key in keys[placement]], sort_keys=True)
        last = spans[one.variant, placement]
        last[definition] = max(one.last, last.get(definition, one.last))
    since = None
    changed = []
    for (variant, placement), last in sorted(spans.items()):
        old = sorted(last.values())[:-1]
        if old:
            since = old[-1] if since is None else max(since, old[-1])
            changed.append(f"{variant} at {placement}")
    return Definitions(since, tuple(changed), unknown)


def keys_of(experiment: Experiment) -> Keys:
    """List the parameters an experiment's variants set, by placement."""
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for variant in experiment.variants:
        for placement, parameters in variant.parameters.items():
            keys[placement].update(parameters)
    return {placement: sorted(names) for placement, names in keys.items()}


def read_configs(engine: Engine, events: Table, keys: Mapping[str, object]) -> Configs:
    """Read what each config_id of these placements was. Raises EngineFailed."""
    mine = events.filter(events.type == "config", events.detail.contains('"placements"'))
    each = mine.select(told=mine.detail.cast("json")["placements"].array.unnest())
    each = each.select(
        placement=each.told["placement"].str,
        config_id=each.told["config_id"].str,
        config=each.told["config"].cast("string"),
    )
    each = each.filter(each.placement.isin(list(keys)), each.config.notnull(), each.config != "null")
    found = each.group_by("placement", "config_id").agg(config=each.config.min())
    rows = engine.rows("configurations served", found)
    return {(row["placement"], row["config_id"]): row["config"] for row in rows}
