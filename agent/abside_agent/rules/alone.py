"""The rules that concern one file alone; each mistake is noted on the tree, none hides another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import UNSET

from abside.assignment.condition import BUILT_IN
from abside.snapshot import BASIS_POINTS
from abside_agent.document.reading import EVERY_EXPERIMENT
from abside_agent.document.records import known
from abside_agent.document.tree import Mapping
from abside_agent.document.wording import did_you_mean, shown_percent

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside_agent.document.records import Document, ExperimentEntry
    from abside_agent.document.tree import Path, Tree


def check_alone(tree: Tree, document: Document) -> None:
    """Check a file against every rule that needs no other file."""
    for section in ("attributes", "placements", "layers", "experiments"):
        if getattr(document, section) is UNSET:
            return  # noted by conform as a flaw of the whole file: it is not used
    for name in document.attributes:
        if name in BUILT_IN:
            remedy = "delete it: conditions may use it without a declaration"
            tree.note("BUILT_IN_ATTRIBUTE", ("attributes", name), "this attribute is built in", remedy, at_key=True)
    for name, experiment in document.experiments.items():
        if name == EVERY_EXPERIMENT:
            message = f"in the paused directory, {name} means every experiment"
            tree.note("RESERVED_ID", ("experiments", name), message, "choose another id", at_key=True, value=name)
        if known(experiment):
            for rule in _RULES:
                rule(tree, ("experiments", name), experiment)


def _weights(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    arms = experiment.variants
    if not known(arms) or not arms or not known(*arms.values(), *(getattr(a, "weight", UNSET) for a in arms.values())):
        return
    total = sum(arm.weight for arm in arms.values())
    if total != BASIS_POINTS:
        missing = BASIS_POINTS - total
        remedy = f"add {shown_percent(missing)}" if missing > 0 else f"take away {shown_percent(-missing)}"
        message = f"weights must sum to exactly 100 %, they sum to {shown_percent(total)}"
        tree.note("WEIGHTS", (*path, "variants"), message, remedy, at_key=True)


def _control(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    if not known(experiment.control, experiment.variants):
        return
    arms = list(experiment.variants)
    if experiment.control is None:
        if arms and "control" not in arms:
            message = "no variant is called control, so the document must say which one is"
            tree.note("CONTROL", (*path, "control"), message, f"add for example control: {arms[0]}")
    elif experiment.control not in arms:
        remedy = did_you_mean(experiment.control, arms) or f"write one of {', '.join(arms)}"
        tree.note("CONTROL", (*path, "control"), "there is no such variant", remedy)


def _layer_with_slots(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    if not known(experiment.layer, experiment.slots):
        return
    if experiment.layer is not None and experiment.slots is None:
        tree.note("LAYER_AND_SLOTS", (*path, "layer"), "a layer comes with slots", "add slots: 0%-50%, for example")
    if experiment.slots is not None and experiment.layer is None:
        tree.note("LAYER_AND_SLOTS", (*path, "slots"), "slots come with a layer", "add layer: …, or delete the slots")


def _traffic_or_steps(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    steps = experiment.steps
    if not known(experiment.traffic, steps) or steps is None:
        return
    if experiment.traffic is not None:
        tree.note("TRAFFIC_OR_STEPS", (*path, "steps"), "traffic and steps exclude each other", "keep one of them")
    if not steps:
        tree.note("TRAFFIC_OR_STEPS", (*path, "steps"), "no step is given", "add one, or write traffic: 100%")
    begun = [step.from_ for step in steps if known(step) and known(step.from_)]
    if len(begun) != len(steps):
        return
    for index in range(1, len(begun)):
        if begun[index - 1] >= begun[index]:
            where = (*path, "steps", index, "from")
            tree.note("STEPS_ORDER", where, "steps must ascend in time", "sort them, each later than the one before")


def _start_before_end(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    start, end = experiment.start, experiment.end
    if known(start, end) and start is not None and end is not None and start >= end:
        tree.note("START_END", (*path, "end"), "the end must come after the start", "write a later end, or drop it")


def _placements(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    named = experiment.placements
    if not known(named):
        return
    for index, name in enumerate(named):
        if known(name) and name in named[:index]:
            tree.note("TWICE", (*path, "placements", index), "this placement is listed twice", "keep one")
    for placement, where in _parameters(path, experiment):
        if placement not in named and known(*named) and isinstance(tree.node(where), Mapping):  # else said already
            near = did_you_mean(placement, named)
            under = (
                f"if it is a parameter, put it under {named[0]}: {{{named[0]}: {{{placement}: …}}}}" if named else ""
            )
            remedy = f"add {placement} to placements, or {near or under or 'delete it here'}"
            message = "this placement is not among the experiment's placements"
            tree.note("NOT_ITS_PLACEMENT", where, message, remedy, at_key=True, value=placement)


def _parameters(path: Path, experiment: ExperimentEntry) -> list[tuple[str, Path]]:
    """Return (placement, path) of all parameters that could be read."""
    if not known(experiment.variants):
        return []
    return [
        (placement, (*path, "variants", arm, "parameters", placement))
        for arm, variant in experiment.variants.items()
        if known(variant) and known(variant.parameters)
        for placement in variant.parameters
    ]


def _force(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    if not known(experiment.force):
        return
    first: dict[str, str] = {}
    for arm, units in experiment.force.items():
        if known(experiment.variants) and arm not in experiment.variants:
            remedy = did_you_mean(arm, experiment.variants) or f"write one of {', '.join(experiment.variants)}"
            tree.note("FORCE", (*path, "force", arm), "there is no such variant", remedy, at_key=True, value=arm)
        for index, unit in enumerate(units if known(units) else []):
            if known(unit) and first.setdefault(unit, arm) is not arm:
                message = f"this unit is forced into {first[unit]} already"
                tree.note("FORCE", (*path, "force", arm, index), message, "keep it in one variant")
        for unit, times in Counter(units if known(units) else []).items():
            if known(unit) and times > 1:
                tree.note("FORCE", (*path, "force", arm), f"{unit} is listed {times} times here", "keep it once")


def _guardrails(tree: Tree, path: Path, experiment: ExperimentEntry) -> None:
    if not known(experiment.analysis) or not known(experiment.analysis.guardrails):
        return
    for metric, margin in experiment.analysis.guardrails.items():
        if known(margin) and margin.max_increase is None and margin.max_decrease is None:
            where = (*path, "analysis", "guardrails", metric)
            tree.note("GUARDRAIL", where, "a guardrail needs its margin", "add max_increase: 2% or max_decrease: 2%")


_RULES: tuple[Callable[[Tree, Path, ExperimentEntry], None], ...] = (
    _weights,
    _control,
    _layer_with_slots,
    _traffic_or_steps,
    _start_before_end,
    _placements,
    _force,
    _guardrails,
)
