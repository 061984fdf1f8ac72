"""Whole documents around one field, and what the rules say of them and of their changes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abside_agent.document.parse import parse
from abside_agent.document.reading import File, Reading
from abside_agent.rules.transition import transitions
from abside_agent.settle.settle import Settled, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.snapshot import Problem

HERE = Path(__file__).parent
WORDS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads((HERE / "fields.toml").read_text())
CODES: dict[str, dict[str, list[str]]] = tomllib.loads((HERE / "codes.toml").read_text())
NOW_US = 1_796_860_800_000_000  # 2026-12-10T00:00:00Z: the examples began before, and end after
Fields = dict[str, str]  # by name, as YAML on one line; an empty one is left out

SECTIONS: Fields = {
    "attributes": (
        "{country: {type: string}, app_version: {type: version}, age: {type: number}, premium: {type: boolean}, "
        "signed_up: {type: date}, segments: {type: list}}"
    ),
    "placements": (
        "{pdp: {parameters: {model: ranker-v1, feature_weights: {margin: 0.0, freshness: 1.0}}}, "
        "home: {parameters: {rows: 4}}}"
    ),
    "layers": "{ranking: {}, other: {}}",
}
EXPERIMENT: Fields = {
    "name": "PDP re-ranker v2",
    "hypothesis": "Ranking by margin lifts add-to-cart",
    "status": "running",
    "placements": "[pdp]",
    "variants": "{control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: ranker-v2}}}}",
}


def flow(fields: Fields) -> str:
    """Write fields as one mapping."""
    return "{" + ", ".join(f"{name}: {value}" for name, value in fields.items() if value) + "}"


def world(**sections: str) -> str:
    """Write a document: the sections that are ours, and in place of them those that differ."""
    return "".join(f"{name}: {value}\n" for name, value in {**SECTIONS, **sections}.items() if value)


def experiment(**fields: str) -> str:
    """Write a document with one experiment."""
    return world(experiments=flow({"pdp-reranker": flow({**EXPERIMENT, **fields})}))


def _sections(fields: Fields) -> str:
    return world(**{"experiments": flow({"pdp-reranker": flow(EXPERIMENT)}), **fields})


def _attribute(fields: Fields) -> str:
    attributes = SECTIONS["attributes"].replace("{type: string}", flow({"type": "string", **fields}))
    one = {**EXPERIMENT, "eligibility": "[{attribute: country, op: exists}]"}
    return world(attributes=attributes, experiments=flow({"pdp-reranker": flow(one)}))


def _placement(fields: Fields) -> str:
    return world(placements=flow({"pdp": flow(fields)}), experiments=flow({"pdp-reranker": flow(EXPERIMENT)}))


def _step(fields: Fields) -> str:
    return experiment(steps=f"[{flow({'from': '2026-12-01T09:00:00Z', 'traffic': '10%', **fields})}]")


def _variant(fields: Fields) -> str:
    fields = {"weight": "20%", "parameters": "{pdp: {model: ranker-v2}}", **fields}
    rest = f"{100 - int(fields['weight'].removesuffix('%'))}%"
    return experiment(variants=flow({"control": flow({"weight": rest}), "treatment": flow(fields)}))


def _margin(fields: Fields) -> str:
    fields = fields if any(fields.values()) else {"max_increase": "5%"}
    return experiment(analysis=flow({"guardrails": flow({"bounce_rate": flow(fields)})}))


def _metric(fields: Fields) -> str:
    metrics = flow({"wished": flow({"kind": "proportion", "event": "wishlist_add", **fields})})
    return world(metrics=metrics, experiments=flow({"pdp-reranker": flow(EXPERIMENT)}))


# Around the fields of each record; the keys are those of fields.toml.
AROUND: dict[str, Callable[[Fields], str]] = {
    "sections": _sections,
    "attributes": _attribute,
    "placements": _placement,
    "experiments": lambda fields: experiment(**fields),
    "steps": _step,
    "variants": _variant,
    "analysis": lambda fields: experiment(analysis=flow(fields)),
    "guardrails": _margin,
    "metrics": _metric,
}


def settled(text: str) -> Settled:
    """Settle a document as an agent that starts now."""
    return settle(Reading((File("example.yaml", text.encode()),)), None, NOW_US)


def change(old: str, new: str) -> list[Problem]:
    """Return what `abside diff` reports of a change."""
    before = settled(old).snapshot
    if before is None:
        raise ValueError(f"nothing is in force: {old}")
    after = settle(Reading((File("example.yaml", new.encode()),)), before, NOW_US)
    found = transitions(before, after.snapshot or before, NOW_US, [parse("example.yaml", new.encode())])
    return [*after.problems, *found]
