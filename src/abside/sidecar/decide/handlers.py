"""The decisions: plain functions from (desk, body) to the answer's body. They know no socket: any door can call them.

A request reads the current snapshot once. Exposures are in the spool before the answer leaves; no room for them never
costs the shopper an answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

import orjson

from abside import event
from abside.assignment.explain import explain as explain_plan
from abside.assignment.unit import Subject
from abside.serve import Refusal
from abside.sidecar.active.prepared import NULL, Outcome, Shelf
from abside.sidecar.decide import token
from abside.sidecar.decide.callers import CallersClock
from abside.sidecar.decide.request import MAX_SHOWN_CHARS, parse_assign
from abside.sidecar.decide.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.assignment.plan import PlacementPlan
    from abside.sidecar.active.configs import Configs
    from abside.sidecar.active.current import Cell, Current
    from abside.sidecar.decide.request import AssignRequest, Rules
    from abside.sidecar.record.journal import Journal

NOT_READY_RETRY_SECONDS = 1  # the agent publishes within a second of its start


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers work with; one per process. `clock` gives µs UTC."""

    cell: Cell
    journal: Journal
    configs: Configs
    rules: Rules
    clock: Callable[[], int]
    sample: Sample = field(default_factory=Sample)
    callers: CallersClock = field(default_factory=CallersClock)
    # Large lists are read one after the other: what is built of them is many times their size.
    large: asyncio.Lock = field(default_factory=asyncio.Lock)


def assign(desk: Desk, body: bytes) -> bytes:
    """Give the body of `POST /v1/assign`'s 200: configuration and variants at one placement or several. Raises Refusal.

    Whoever calls this calls `desk.journal.flush()` before the answer leaves.
    """
    request = parse_assign(body, desk.rules)
    current = desk.cell.current
    if current is None:
        raise _not_ready()
    if not request.several:
        shelf = current.shelves.get(request.placement)
        if shelf is None or request.force:
            (shelf,) = _shelves(current, request)
        return _lone(shelf, *_part(desk, current, request, shelf, request))
    shelves = _shelves(current, request)
    parts = [_part(desk, current, request, shelf, request.at(shelf.plan.placement.id)) for shelf in shelves]
    return _several(current, shelves, parts)


def explain(desk: Desk, body: bytes) -> bytes:
    """Give the body of `POST /v1/explain`'s 200: assign's, the steps that led to it, and where each value is from."""
    request = parse_assign(body, desk.rules)
    current = desk.cell.current
    if current is None:
        raise _not_ready()
    shelves = _shelves(current, request)
    parts = [_unlogged(desk, request, shelf) for shelf in shelves]
    whole = _several(current, shelves, parts) if request.several else _lone(shelves[0], *parts[0])
    shown = orjson.loads(whole)
    for shelf, (_, _, subject) in zip(shelves, parts, strict=True):
        explained = explain_plan(shelf.plan, subject)
        place = shown["placements"][shelf.plan.placement.id] if request.several else shown
        place["steps"] = [step.to_map() for step in explained.steps]
        place["provenance"] = explained.provenance
    return orjson.dumps(shown)


Part = tuple[Outcome, bytes, Subject]  # what was given, the exposure's field as JSON, and to whom


def _part(desk: Desk, current: Current, request: AssignRequest, shelf: Shelf, subject: Subject) -> Part:
    """Decide at one placement, and log it or make its token."""
    journal = desk.journal
    sample = desk.sample
    sample.left -= 1
    if sample.left <= 0:
        sample.look(shelf.revision, shelf.plan, subject)
    outcome = shelf.outcome(shelf.plan.arms(subject), journal.accounts)
    if not outcome.told:
        desk.configs.served(shelf, outcome)
    if not outcome.arms:
        return outcome, NOT_EXPOSED if request.expose else NO_TOKEN, subject
    event_id = journal.ids.next().encode()
    logged = current.attributes_to_log(subject.attributes) if current.logged else None
    exposure = outcome.exposure(event_id, desk.clock(), subject, logged, bot=request.bot)
    if request.expose:
        journal.expose(exposure, outcome.counts)
        return outcome, b',"exposure_id":"' + event_id + b'"', subject
    return outcome, b',"exposure_token":"%b"' % token.seal(event.decode(exposure)).encode(), subject


def _unlogged(desk: Desk, request: AssignRequest, shelf: Shelf) -> Part:
    subject = request.at(shelf.plan.placement.id)
    outcome = shelf.outcome(shelf.plan.arms(subject), desk.journal.accounts)
    return outcome, NOT_EXPOSED if request.expose else NO_TOKEN, subject


def _lone(shelf: Shelf, outcome: Outcome, field: bytes, subject: Subject) -> bytes:
    return b"".join((outcome.lone, field, b',"unit":', _unit(shelf, subject), outcome.rest))


def _several(current: Current, shelves: list[Shelf], parts: list[Part]) -> bytes:
    units = [_unit(shelf, subject) for shelf, (_, _, subject) in zip(shelves, parts, strict=True)]
    unit = next((one for one in units if one is not NULL), NULL)
    places = [
        orjson.dumps(shelf.plan.placement.id) + b":" + outcome.part + field + outcome.rest
        for shelf, (outcome, field, _) in zip(shelves, parts, strict=True)
    ]
    return b'{"revision":"%b","unit":%b,"placements":{%b}}' % (current.revision.encode(), unit, b",".join(places))


def _unit(shelf: Shelf, subject: Subject) -> bytes:
    """Show the unit where an experiment used it: sent back as pinned_unit it keeps a visit on its variants."""
    if subject.unit is None or not shelf.pinnable:
        return NULL
    return _UNIT_OF[subject.unit[0]] + orjson.dumps(subject.unit[1]) + b"}"


def _not_ready() -> Refusal:
    detail = "no experiment configuration was published yet; use the placement's own defaults"
    return Refusal(503, "NOT_READY", detail, retry_after_seconds=NOT_READY_RETRY_SECONDS)


def _shelves(current: Current, request: AssignRequest) -> list[Shelf]:
    """Find the placements asked for. Raises Refusal 404, or 422 for a force that names nothing here."""
    known = current.shelves
    for name in request.placements:
        if name not in known:
            shown = name[:MAX_SHOWN_CHARS]
            folded = {one.casefold(): one for one in known}
            close = [folded[one] for one in get_close_matches(shown.casefold(), folded, n=1)]
            hint = f"did you mean {close[0]}?" if close else "add it to the documents' placements first"
            path = "placements" if request.several else "placement"
            raise Refusal(404, "UNKNOWN_PLACEMENT", f"there is no placement {shown!r}; {hint}", path=path)
    found = [known[name] for name in request.placements]
    for experiment, variant in request.force.items():
        _check_force([shelf.plan for shelf in found], experiment, variant)
    return found


def _check_force(plans: list[PlacementPlan], experiment: str, variant: str) -> None:
    arms = {one.experiment.id: one.forced_arms for plan in plans for one in plan.evaluators}
    if variant not in arms.get(experiment, {}):
        known = arms.get(experiment)
        hint = f"it has {', '.join(sorted(known))}" if known else f"here run {', '.join(sorted(arms)) or 'none'}"
        named, arm = experiment[:MAX_SHOWN_CHARS], variant[:MAX_SHOWN_CHARS]
        raise Refusal(422, "UNKNOWN_FIELD", f"no variant {arm!r} of {named!r}; {hint}", path=f"force.{named}")


NOT_EXPOSED = b',"exposure_id":null'
NO_TOKEN = b',"exposure_token":null'
_UNIT_OF = {kind: b'{"type":"%b","id":' % kind.encode() for kind in ("user", "session")}
