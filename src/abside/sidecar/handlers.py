"""The decisions: plain functions from (desk, body) to an Answer. They know no socket, so any door can call them.

A request reads the current snapshot once. Exposures are in the spool before the answer leaves; no room for them never
costs the shopper an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import orjson

from abside import event
from abside.assignment.explain import explain as explain_plan
from abside.assignment.unit import Subject
from abside.serve import Answer, Refusal
from abside.sidecar import token
from abside.sidecar.request import MAX_SHOWN_CHARS, parse_assign
from abside.snapshot import ALGO

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.plan import Answer as Assignment
    from abside.assignment.plan import PlacementPlan
    from abside.sidecar.configs import Configs
    from abside.sidecar.current import Cell, Current
    from abside.sidecar.journal import Journal
    from abside.sidecar.request import AssignRequest, Rules

NOT_READY_RETRY_SECONDS = 1  # the agent publishes within a second of its start


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers work with; one per process. `clock` gives µs UTC."""

    cell: Cell
    journal: Journal
    configs: Configs
    rules: Rules
    clock: Callable[[], int]


def assign(desk: Desk, body: bytes) -> Answer:
    """Answer `POST /v1/assign`: configuration and variants at one placement or several. Raises Refusal."""
    request = parse_assign(body, desk.rules)
    current, plans = _plans(desk, request)
    now_us = desk.clock()
    shown: dict[str, dict[str, Any]] = {}
    exposures: list[event.EventMap] = []
    unit = None
    for plan in plans:
        answer = plan.assign(_subject(request, plan))
        unit = unit or _unit(current, plan, answer)
        exposure = _exposure(desk, current, request, plan, answer, now_us) if answer.assignments else None
        shown[plan.placement.id] = _shown(current, request, plan, answer, exposure, unit)
        if exposure is not None and request.expose:
            exposures.append(exposure)
        desk.configs.served(current, plan, answer)
    if exposures:
        desk.journal.expose(exposures)
    return Answer(200, orjson.dumps(_whole(current, request, shown, unit)))


def explain(desk: Desk, body: bytes) -> Answer:
    """Answer `POST /v1/explain`: assign's answer, the steps that led to it, and where each value is from."""
    request = parse_assign(body, desk.rules)
    current, plans = _plans(desk, request)
    shown: dict[str, dict[str, Any]] = {}
    unit = None
    for plan in plans:
        explained = explain_plan(plan, _subject(request, plan))
        unit = unit or _unit(current, plan, explained.answer)
        shown[plan.placement.id] = {
            **_shown(current, request, plan, explained.answer, None, unit),
            "steps": [step.to_map() for step in explained.steps],
            "provenance": explained.provenance,
        }
    return Answer(200, orjson.dumps(_whole(current, request, shown, unit)))


def _plans(desk: Desk, request: AssignRequest) -> tuple[Current, list[PlacementPlan]]:
    """Read what is in force, once, and find the placements asked for. Raises Refusal 503 or 404."""
    current = desk.cell.current
    if current is None:
        detail = "no experiment configuration was published yet; use the placement's own defaults"
        raise Refusal(503, "NOT_READY", detail, retry_after_seconds=NOT_READY_RETRY_SECONDS)
    known = current.plans.placements
    for name in request.placements:
        if name not in known:
            shown = name[:MAX_SHOWN_CHARS]
            close = get_close_matches(shown, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "add it to the documents' placements first"
            path = "placements" if request.several else "placement"
            raise Refusal(404, "UNKNOWN_PLACEMENT", f"there is no placement {shown!r}; {hint}", path=path)
    plans = [known[name] for name in request.placements]
    for experiment, variant in request.force.items():
        _check_force(plans, experiment, variant)
    return current, plans


def _check_force(plans: list[PlacementPlan], experiment: str, variant: str) -> None:
    arms = {one.experiment.id: one.forced_arms for plan in plans for one in plan.evaluators}
    if variant not in arms.get(experiment, {}):
        known = arms.get(experiment)
        hint = f"it has {', '.join(sorted(known))}" if known else f"here run {', '.join(sorted(arms)) or 'none'}"
        named, arm = experiment[:MAX_SHOWN_CHARS], variant[:MAX_SHOWN_CHARS]
        raise Refusal(422, "UNKNOWN_FIELD", f"no variant {arm!r} of {named!r}; {hint}", path=f"force.{named}")


def _subject(request: AssignRequest, plan: PlacementPlan) -> Subject:
    placement = plan.placement.id
    return Subject(request.user_id, request.session_id, request.attributes, placement, request.pinned, request.force)


def _unit(current: Current, plan: PlacementPlan, answer: Assignment) -> dict[str, str] | None:
    """Show the unit where an experiment used it: sent back as pinned_unit it keeps a visit on its variants."""
    if answer.unit is None or plan.placement.id not in current.pinnable:
        return None
    return {"type": answer.unit[0], "id": answer.unit[1]}


def _exposure(
    desk: Desk, current: Current, request: AssignRequest, plan: PlacementPlan, answer: Assignment, now_us: int
) -> event.EventMap:
    return event.exposure(
        event_id=desk.journal.ids.next(),
        now_us=now_us,
        user_id=request.user_id,
        session_id=request.session_id,
        placement=plan.placement.id,
        revision=current.revision,
        config_id=answer.config_id,
        algo=ALGO,
        assignments=[
            event.Exposed(one.experiment, one.phase, one.variant, *one.unit, one.forced, one.traffic_bp)
            for one in answer.assignments
        ],
        attributes=current.attributes_to_log(request.attributes),
        bot=request.bot,
    )


def _shown(
    current: Current,
    request: AssignRequest,
    plan: PlacementPlan,
    answer: Assignment,
    exposure: event.EventMap | None,
    unit: dict[str, str] | None,
) -> dict[str, Any]:
    """Give one placement's part of the answer; a lone one carries revision and unit itself."""
    shown: dict[str, Any] = {"placement": plan.placement.id}
    if not request.several:
        shown["revision"] = current.revision
    shown["config_id"] = answer.config_id
    if request.expose:
        shown["exposure_id"] = exposure["exposure_id"] if exposure is not None else None
    else:
        shown["exposure_token"] = token.seal(exposure) if exposure is not None else None
    if not request.several:
        shown["unit"] = unit
    shown["config"] = answer.config
    shown["assignments"] = [
        {"experiment": one.experiment, "variant": one.variant, "phase": one.phase} for one in answer.assignments
    ]
    return shown


def _whole(
    current: Current, request: AssignRequest, shown: dict[str, dict[str, Any]], unit: dict[str, str] | None
) -> dict[str, Any]:
    if not request.several:
        return shown[request.placements[0]]
    return {"revision": current.revision, "unit": unit, "placements": shown}
