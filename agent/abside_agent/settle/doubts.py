"""What is allowed but rarely meant: the warnings `abside check` adds. Pure; the clock is an argument.

The agent does not look for them: what it publishes must not depend on the time of reading.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from abside.assignment.condition import compile_eligibility
from abside.assignment.unit import parse_unit_id
from abside.snapshot import laid_over
from abside_agent.document.records import known
from abside_agent.document.tree import Sequence
from abside_agent.document.wording import shown_percent, written_percent
from abside_agent.rules import fractions, times, values
from abside_agent.rules.apart import LIVE, gaps
from abside_agent.rules.eligible import can_hold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.snapshot import Attribute, Experiment, Placement
    from abside_agent.settle.check import Checked
    from abside_agent.settle.compile import Candidate

LARGEST_STEP = 3000  # basis points: a fault in a larger step reaches a third of the shoppers at once
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")


def doubt(checked: Checked, now_us: int) -> None:
    """Note every doubt on the trees of `checked`."""
    attributes = _records(checked, "attributes")
    placements = _records(checked, "placements")
    for candidate in checked.candidates:
        if candidate.section == "experiments" and getattr(candidate.record, "status", "ended") != "ended":
            _over(candidate, now_us)
            _steep(candidate)
            _never(candidate, attributes)
            _values(candidate, attributes)
            _times(candidate, now_us)
            _same(candidate, placements)
            _email(candidate)
            _nobody(candidate)
    for candidate in checked.candidates:
        if candidate.section == "placements" and candidate.record is not None:
            _whole(candidate)


def free_slots(checked: Checked, now_us: int) -> dict[str, list[tuple[int, int]]]:
    """Return the free ranges of every layer as half-open basis points.

    Running and paused experiments take their slots until their end.
    """
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in _records(checked, "layers")}
    for experiment in _records(checked, "experiments").values():
        is_over = experiment.end_us is not None and experiment.end_us <= now_us
        if experiment.status in LIVE and not is_over and experiment.layer in taken and experiment.slots:
            taken[experiment.layer].append(tuple(experiment.slots))
    return {name: gaps(ranges) for name, ranges in taken.items()}


def _records(checked: Checked, section: str) -> dict[str, Any]:
    return {one.id: one.record for one in checked.candidates if one.section == section and one.record is not None}


def _over(candidate: Candidate[Experiment], now_us: int) -> None:
    one = candidate.record
    if one.status == "running" and one.end_us is not None and one.end_us <= now_us:
        message = "the end is past: no shopper is in this experiment any more"
        _note(candidate, "END_PAST", ("end",), message, "write status: ended, or a later end")


def _steep(candidate: Candidate[Experiment]) -> None:
    """Warn of large steps; a single `traffic` has no step before it to compare with."""
    if not isinstance(candidate.tree.node((*candidate.path, "steps")), Sequence):
        return
    before = 0
    for index, step in enumerate(candidate.record.steps):
        if not known(step.traffic_bp):
            return
        points = step.traffic_bp - before
        if points > LARGEST_STEP:
            message = f"this step adds {shown_percent(points)} of the shoppers at once"
            remedy = f"add a step in between, of {written_percent(before + LARGEST_STEP)} at most"
            _note(candidate, "STEEP_STEP", ("steps", index, "traffic"), message, remedy)
        before = step.traffic_bp


def _never(candidate: Candidate[Experiment], attributes: Mapping[str, Attribute]) -> None:
    one = candidate.record
    conditions, mistakes = compile_eligibility(list(one.eligibility), attributes)
    if conditions and not mistakes and not can_hold(conditions, one.placements, one.unit):
        message = "these conditions exclude each other: nobody can ever be in"
        _note(candidate, "NEVER_ELIGIBLE", ("eligibility",), message, "change one of them, or join them with any: […]")


def _values(candidate: Candidate[Experiment], attributes: Mapping[str, Attribute]) -> None:
    one = candidate.record
    for code, path, message, remedy in values.doubts(list(one.eligibility), attributes, one.placements):
        _note(candidate, code, ("eligibility", *path), message, remedy)


def _times(candidate: Candidate[Experiment], now_us: int) -> None:
    has_steps = candidate.tree.node((*candidate.path, "steps")) is not None
    for code, path, message, remedy in times.doubts(candidate.record, now_us, has_steps=has_steps):
        _note(candidate, code, path, message, remedy)


def _nobody(candidate: Candidate[Experiment]) -> None:
    """Warn of forced ids that no request can have: the sidecar ignores ids such as guest and 0."""
    for unit, arm in candidate.record.force.items():
        if parse_unit_id(unit) is None or unit != unit.strip():
            message = "no shopper has this id: many share it, or it has blanks at its ends"
            _note(candidate, "FORCE_NOBODY", ("force", arm), message, "write the id your rec service sends", value=unit)


def _same(candidate: Candidate[Experiment], placements: Mapping[str, Any]) -> None:
    """Warn of variants with equal parameters; where no variant sets any it is an A/A test."""
    variants = candidate.record.variants
    if not any(values for variant in variants for values in variant.parameters.values()):
        return
    seen: dict[str, str] = {}
    for variant in variants:
        given = {
            placement: laid_over(
                getattr(placements.get(placement), "parameters", {}), variant.parameters.get(placement, {})
            )
            for placement in {*candidate.record.placements, *(name for one in variants for name in one.parameters)}
        }
        key = repr(sorted((name, sorted(values.items(), key=str)) for name, values in given.items()))
        if key in seen:
            message = f"gives the same parameters as {seen[key]}: there is nothing to compare"
            remedy = "change a parameter of one of them, or drop it"
            _note(
                candidate, "SAME_PARAMETERS", ("variants", variant.id), message, remedy, at_key=True, value=variant.id
            )
        seen.setdefault(key, variant.id)


def _whole(candidate: Candidate[Placement]) -> None:
    """Warn of weights declared as whole numbers: then no variant can set a fraction."""
    for leaf, written in fractions.doubts(candidate.record.parameters):
        message = "this is named as a weight and declared as a whole number: a variant could set no fraction"
        _note(candidate, "WHOLE_NUMBER", ("parameters", *leaf), message, f"write {written}")


def _email(candidate: Candidate[Experiment]) -> None:
    for unit, arm in candidate.record.force.items():
        if _EMAIL.fullmatch(unit):
            node: Any = candidate.tree.node((*candidate.path, "force", arm))
            index = next((at for at, item in enumerate(node.items) if getattr(item, "text", None) == unit), 0)
            message = "this looks like an e-mail address: it would be in the ConfigMap, the snapshot and every event"
            _note(candidate, "EMAIL_ID", ("force", arm, index), message, "write the id your rec service sends")


def _note(
    candidate: Candidate[Any], code: str, path: tuple[str | int, ...], message: str, remedy: str, **more: Any
) -> None:
    candidate.tree.note(code, (*candidate.path, *path), message, remedy, severity="warning", **more)
