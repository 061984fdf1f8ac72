"""The decisions: plain functions from (context, body) to the answer's body. They know no socket.

A request reads the current snapshot once. Exposures are in the spool before the answer leaves; no room for them never
costs the shopper an answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import orjson

from abside import event
from abside.assignment.explain import explain as explain_plan
from abside.assignment.unit import Subject
from abside.serve.answer import Refusal
from abside.sidecar.active.prepared import NULL, AnswerCache, PreparedAnswer
from abside.sidecar.decide import token
from abside.sidecar.decide.callers import CallersClock
from abside.sidecar.decide.request import MAX_SHOWN_CHARS, parse_assign
from abside.sidecar.decide.seen.sample import Sample
from abside.sidecar.decide.seen.strays import StrayNames, count_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.assignment.plan import PlacementPlan
    from abside.sidecar.active.configs import Configs
    from abside.sidecar.active.current import Cell, Current
    from abside.sidecar.decide.request import AssignRequest, Rules
    from abside.sidecar.record.journal import ExposureBatch, Journal

NEARLY_TOO_LARGE_BYTES = event.MAX_EVENT_BYTES - 1024  # an event has the names of its fields and two times more
NOT_READY_RETRY_SECONDS = 1  # the agent publishes within a second of its start


@dataclass(slots=True)
class Tracked:
    """What is counted of tracking: amounts without a currency, where the documents have none either."""

    without_currency: int = 0


@dataclass(frozen=True, slots=True)
class HandlerContext:
    """What the handlers work with; one per process. `clock` returns µs UTC."""

    cell: Cell
    journal: Journal
    configs: Configs
    rules: Rules
    clock: Callable[[], int]
    sample: Sample = field(default_factory=Sample)
    callers: CallersClock = field(default_factory=CallersClock)
    tracked: Tracked = field(default_factory=Tracked)
    strays: StrayNames = field(default_factory=StrayNames)
    # Large lists are read one after the other: what is built of them is many times their size.
    large: asyncio.Lock = field(default_factory=asyncio.Lock)


def assign(context: HandlerContext, body: bytes) -> bytes:
    """Return the body of `POST /v1/assign`'s 200; its exposures are in the spool. Raises Refusal."""
    with context.journal.batch() as batch:
        return assign_within(context, batch, body)


def assign_within(context: HandlerContext, batch: ExposureBatch, body: bytes) -> bytes:
    """Return the same body; the owner of `batch` writes its exposures, with those of other requests. Raises Refusal."""
    return decide(context, batch, parse_assign(body, context.rules))


def decide(context: HandlerContext, batch: ExposureBatch, request: AssignRequest) -> bytes:
    """Return the same for a request that was read. Raises Refusal."""
    if not request.several:
        return _lone(*decide_one(context, batch, request))
    current = current_of(context)
    caches = _caches_of(context, current, request)
    parts = [_part(context, batch, current, cache, request, request.at(cache.plan.placement.id)) for cache in caches]
    return _several(current, caches, parts)


def decide_one(
    context: HandlerContext, batch: ExposureBatch, request: AssignRequest
) -> tuple[AnswerCache, PreparedAnswer, bytes, Subject]:
    """Decide for one placement, and log it or make its token, which is the bytes: a field of JSON. Raises Refusal."""
    current = current_of(context)
    cache = current.caches.get(request.placement)
    if cache is None or request.force:
        (cache,) = _caches_of(context, current, request)
    return cache, *_part(context, batch, current, cache, request, request)


def explain(context: HandlerContext, body: bytes) -> bytes:
    """Return the body of `POST /v1/explain`'s 200: assign's, the steps that led to it, and where each value is from."""
    request = parse_assign(body, context.rules)
    current = current_of(context)
    caches = _caches_of(context, current, request)
    parts = [_unlogged(context, request, cache) for cache in caches]
    whole = _several(current, caches, parts) if request.several else _lone(caches[0], *parts[0])
    shown = orjson.loads(whole)
    for cache, (_, _, subject) in zip(caches, parts, strict=True):
        explained = explain_plan(cache.plan, subject)
        place = shown["placements"][cache.plan.placement.id] if request.several else shown
        place["steps"] = [step.to_map() for step in explained.steps]
        place["provenance"] = explained.provenance
    return orjson.dumps(shown)


Part = tuple[PreparedAnswer, bytes, Subject]  # what is answered, the exposure's field as JSON, and to whom


def _part(
    context: HandlerContext,
    batch: ExposureBatch,
    current: Current,
    cache: AnswerCache,
    request: AssignRequest,
    subject: Subject,
) -> Part:
    """Decide at one placement, and log it or make its token."""
    journal = context.journal
    sample = context.sample
    sample.left -= 1
    if sample.left <= 0:
        sample.look(cache.revision, cache.plan, subject)
        sample.look_at_names(subject, current.snapshot.head.attributes, bot=request.bot)
    prepared = cache.prepared(cache.plan.arms(subject), journal.accounts)
    if not prepared.config_logged:
        context.configs.served(cache, prepared)
    if not prepared.arms:
        return prepared, NOT_EXPOSED if request.expose else NO_TOKEN, subject
    event_id = journal.ids.next_utf8()
    logged = current.attributes_to_log(subject.attributes) if current.logged else None
    if request.expose:
        batch.add(prepared.exposure(event_id, context.clock(), subject, logged, bot=request.bot), prepared.counts)
        return prepared, b',"exposure_id":"' + event_id + b'"', subject
    sealed = exposure_token(prepared, event_id, subject, logged, bot=request.bot)
    return prepared, b',"exposure_token":"' + sealed + b'"', subject


def exposure_token(
    prepared: PreparedAnswer, event_id: bytes, subject: Subject, logged: Mapping[str, Any] | None, *, bot: bool
) -> bytes:
    """Return the token of an exposure, without its attributes where they make the event too large."""
    carried = prepared.carried(event_id, subject, logged, bot=bot)
    if len(carried) > NEARLY_TOO_LARGE_BYTES and (
        len(prepared.exposure(event_id, 0, subject, logged, bot=bot)) > event.MAX_EVENT_BYTES
    ):
        carried = prepared.carried(event_id, subject, None, bot=bot)
    return token.seal(carried)


def _unlogged(context: HandlerContext, request: AssignRequest, cache: AnswerCache) -> Part:
    subject = request.at(cache.plan.placement.id)
    prepared = cache.prepared(cache.plan.arms(subject), context.journal.accounts)
    return prepared, NOT_EXPOSED if request.expose else NO_TOKEN, subject


def _lone(cache: AnswerCache, prepared: PreparedAnswer, field: bytes, subject: Subject) -> bytes:
    return b"".join((prepared.lone, field, b',"unit":', _unit(cache, subject), prepared.rest))


def _several(current: Current, caches: list[AnswerCache], parts: list[Part]) -> bytes:
    units = [_unit(cache, subject) for cache, (_, _, subject) in zip(caches, parts, strict=True)]
    unit = next((one for one in units if one is not NULL), NULL)
    places = [
        orjson.dumps(cache.plan.placement.id) + b":" + prepared.part + field + prepared.rest
        for cache, (prepared, field, _) in zip(caches, parts, strict=True)
    ]
    return b'{"revision":"%b","unit":%b,"placements":{%b}}' % (current.revision.encode(), unit, b",".join(places))


def _unit(cache: AnswerCache, subject: Subject) -> bytes:
    """Show the unit where an experiment used it: sent back as pinned_unit it keeps a visit on its variants."""
    if subject.unit is None or not cache.pinnable:
        return NULL
    return UNIT_OF[subject.unit[0]] + orjson.dumps(subject.unit[1]) + b"}"


def current_of(context: HandlerContext) -> Current:
    """Return what is in force. Raises Refusal 503 before the first snapshot."""
    current = context.cell.current
    if current is None:
        detail = "no experiment configuration was published yet; use the placement's own defaults"
        raise Refusal(503, "NOT_READY", detail, retry_after_seconds=NOT_READY_RETRY_SECONDS)
    return current


def _caches_of(context: HandlerContext, current: Current, request: AssignRequest) -> list[AnswerCache]:
    """Find the placements asked for. Raises Refusal 404, or 422 for a force that names nothing here."""
    known = current.caches
    for name in request.placements:
        if name not in known:
            count_name(context.strays.placements, name)
            path = "placements" if request.several else "placement"
            detail = f"there is no placement {name[:MAX_SHOWN_CHARS]!r}; {_meant_place(current, name)}"
            raise Refusal(404, "UNKNOWN_PLACEMENT", detail, path=path)
    found = [known[name] for name in request.placements]
    for experiment, variant in request.force.items():
        _check_force([cache.plan for cache in found], experiment, variant)
    return found


def _meant_place(current: Current, name: str) -> str:
    """Return what was perhaps meant by a placement that is none."""
    evaluator = current.plans.evaluators.get(name)
    if evaluator is not None:
        return f"it is an experiment: ask for its placement, {', '.join(evaluator.experiment.placements)}"
    folded = {one.casefold(): one for one in current.caches}
    close = [folded[one] for one in get_close_matches(name[:MAX_SHOWN_CHARS].casefold(), folded, n=1)]
    return f"did you mean {close[0]}?" if close else "add it to the documents' placements first"


def _check_force(plans: list[PlacementPlan], experiment: str, variant: str) -> None:
    arms = {one.experiment.id: one.forced_arms for plan in plans for one in plan.evaluators}
    if variant not in arms.get(experiment, {}):
        known = arms.get(experiment)
        hint = f"it has {', '.join(sorted(known))}" if known else f"here run {', '.join(sorted(arms)) or 'none'}"
        named, arm = experiment[:MAX_SHOWN_CHARS], variant[:MAX_SHOWN_CHARS]
        raise Refusal(422, "UNKNOWN_FIELD", f"no variant {arm!r} of {named!r}; {hint}", path=f"force.{named}")


NOT_EXPOSED = b',"exposure_id":null'
NO_TOKEN = b',"exposure_token":null'
UNIT_OF = {kind: b'{"type":"%b","id":' % kind.encode() for kind in ("user", "session")}
