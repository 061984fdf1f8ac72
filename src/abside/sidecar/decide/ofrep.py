"""OFREP 0.3: placements and experiments as flags, for every OpenFeature SDK.

A placement is an object flag: its merged configuration. An experiment is a string flag: its variant; who is not in it
gets an answer without a value, which is the caller's own default. Source of the protocol: the OpenFeature Remote
Evaluation Protocol. Where its clients are stricter than it, the answer is what all of them take: a variant and
metadata always, no null anywhere, errors in one shape at every status.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import orjson

from abside.assignment.assign import Arm
from abside.assignment.plan import drawn
from abside.assignment.unit import Subject
from abside.serve.answer import Refusal, Response
from abside.sidecar.active.prepared import Evaluated
from abside.sidecar.decide.handlers import current_of, exposure_token
from abside.sidecar.decide.request import MAX_SHOWN_CHARS, kind_of, parse_json, unknown_field
from abside.sidecar.decide.seen.strays import count_name
from abside.sidecar.decide.visitor import ID_NAMES, visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from abside.assignment.assign import Evaluator
    from abside.sidecar.active.current import Current
    from abside.sidecar.active.prepared import AnswerCache, PreparedAnswer
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.decide.request import Rules
    from abside.sidecar.record.journal import ExposureBatch

FLAGS = "/ofrep/v1/evaluate/flags"
NO_CONTEXT: Mapping[str, Any] = {}  # read, never written
MAX_COMPARED = 500  # keys, to name the one that was meant: a comparison takes microseconds
_BODY = frozenset({"context"})
_CLOSED = frozenset({"PAUSED", "DRAFT", "NOT_STARTED", "ENDED"})
# Our code → status and code of the protocol; every other is GENERAL, at its own status.
_ERRORS = {
    "MALFORMED": (400, "PARSE_ERROR"),
    "UNKNOWN_FIELD": (400, "PARSE_ERROR"),
    "WRONG_TYPE": (400, "INVALID_CONTEXT"),
    "INVALID_UNIT": (400, "INVALID_CONTEXT"),
    "NO_UNIT": (400, "TARGETING_KEY_MISSING"),
    "NOT_FOUND": (404, "FLAG_NOT_FOUND"),
}


def evaluation(
    context: HandlerContext, batch: ExposureBatch, *, expose: bool
) -> Callable[[str, bytes], bytes | Response]:
    """Return the function from (flag's key, body) to the body of its 200, or to a whole answer of another status.

    The owner of `batch` writes its exposures. `expose`: an evaluation is exposure; otherwise it answers with a token.
    """
    rules, sample = context.rules, context.sample
    configs, accounts, clock = context.configs, context.journal.accounts, context.clock
    next_id = context.journal.ids.next_utf8

    def evaluate(key: str, body: bytes) -> bytes | Response:
        try:
            sent = read_context(body, rules)
            user_id, session_id = visitor(sent, rules)
            current = current_of(context)
            cache = current.caches.get(key)
            if cache is None:
                return evaluate_experiment(current, key, user_id, session_id, sent)
        except Refusal as refusal:
            if refusal.code == "NOT_FOUND":
                count_name(context.strays.flags, key)
            return failed(key, refusal)
        subject = Subject(user_id, session_id, sent, key)
        sample.left -= 1
        if sample.left <= 0:
            sample.look(cache.revision, cache.plan, subject)
            sample.look_at_names(subject, current.snapshot.head.attributes, own=ID_NAMES)
        return answered(key, current, cache, arms_at(cache, subject), subject)

    def evaluate_experiment(
        current: Current, key: str, user_id: str | None, session_id: str | None, sent: Mapping[str, Any]
    ) -> bytes:
        evaluator, cache = experiment_at(current, key)
        subject = Subject(user_id, session_id, sent, cache.plan.placement.id)
        verdict = evaluator.verdict(subject)
        if not isinstance(verdict, Arm):
            return not_in(evaluator, verdict, {"revision": current.revision})
        return answered(key, current, cache, (verdict,), subject)

    def answered(key: str, current: Current, cache: AnswerCache, arms: tuple[Arm, ...], subject: Subject) -> bytes:
        prepared = cache.known.get(arms) or cache.prepared(arms, accounts)
        if not prepared.config_logged:
            configs.served(cache, prepared)
        alone, _, rest = prepared.evaluated.get(key) or evaluated(key, cache, prepared)
        if not arms:
            return alone + rest
        event_id = next_id()
        logged = current.attributes_to_log(subject.attributes) if current.logged else None
        if expose:
            batch.add(prepared.exposure(event_id, clock(), subject, logged, bot=False), prepared.counts)
            return b"".join((alone, b',"exposureId":"', event_id, b'"', rest))
        token = exposure_token(prepared, event_id, subject, logged, bot=False)
        return b"".join((alone, b',"exposureToken":"', token, b'"', rest))

    return evaluate


def read_context(body: bytes, rules: Rules) -> Mapping[str, Any]:
    """Read a request's context; an empty body, null and an absent context have nothing in them. Raises Refusal."""
    fields = parse_json(body, rules.max_nesting) if body else None
    if fields is None:
        return NO_CONTEXT
    if type(fields) is not dict:
        raise Refusal(400, "MALFORMED", f"the body must be an object, not {kind_of(fields)}")
    if not fields.keys() <= _BODY:
        raise unknown_field(next(name for name in fields if name not in _BODY), _BODY)
    sent = fields.get("context")
    if sent is None:
        return NO_CONTEXT
    if type(sent) is not dict:
        raise Refusal(422, "WRONG_TYPE", f"context must be an object, not {kind_of(sent)}")
    if len(sent) > rules.max_attributes:
        detail = f"the context has {len(sent):,} entries; at most {rules.max_attributes} are taken"
        raise Refusal(422, "WRONG_TYPE", detail)
    return sent


def arms_at(cache: AnswerCache, subject: Subject) -> tuple[Arm, ...]:
    """Return the arms of a subject, who may have no id: the placement's own parameters are an answer too."""
    draws = cache.plan.draws
    if draws is None or subject.unit is None:
        return cache.plan.arms(subject)
    return drawn(draws, subject.unit_utf8)


def experiment_at(current: Current, key: str) -> tuple[Evaluator, AnswerCache]:
    """Return an experiment and the first placement it runs at, where it is exposed. Raises Refusal 404."""
    evaluator = current.plans.evaluators.get(key)
    if evaluator is not None:
        for placement in evaluator.experiment.placements:
            if placement in current.caches:
                return evaluator, current.caches[placement]
    shown = key[:MAX_SHOWN_CHARS]
    known = {one.casefold(): one for one in islice(chain(current.caches, current.plans.evaluators), MAX_COMPARED)}
    close = [known[one] for one in get_close_matches(shown.casefold(), known, n=1)]
    place, _, parameter = shown.partition(".")
    if parameter and place in current.caches:
        hint = f"evaluate {place}, an object, and read {parameter} in it"
    else:
        hint = f"did you mean {close[0]}?" if close else "flags are the documents' placements and experiments"
    raise Refusal(404, "NOT_FOUND", f"there is no flag {shown!r}; {hint}")


def evaluated(key: str, cache: AnswerCache, prepared: PreparedAnswer) -> Evaluated:
    """Make what is fixed of a flag's answer with these arms, and keep it."""
    arms, placement = prepared.arms, cache.plan.placement.id
    variant = prepared.config_id if key == placement else arms[0].variant.id
    value = prepared.config if key == placement else variant
    head = {"key": key, "reason": _reason(cache, arms), "variant": variant}
    metadata = {f"experiment.{arm.experiment}": arm.variant.id for arm in arms}
    alone = orjson.dumps({**head, "metadata": {**metadata, "revision": cache.revision}})
    among = orjson.dumps({**head, "metadata": metadata})
    made = Evaluated(alone[:-2], among[:-2], b'},"value":' + orjson.dumps(value) + b"}")
    prepared.evaluated[key] = made
    return made


def not_in(evaluator: Evaluator, verdict: str, metadata: Mapping[str, str]) -> bytes:
    """Return the answer of an experiment to whom it does not include: no value. Raises Refusal where an id is missing.

    Not its control: who is outside of an experiment may be in another one.
    """
    experiment = evaluator.experiment
    if verdict == "NO_UNIT":
        wanted = {"user": "a targetingKey", "session": "a session_id"}.get(
            evaluator.kind, "a targetingKey or session_id"
        )
        raise Refusal(400, "NO_UNIT", f"the context has no usable id: {experiment.id} needs {wanted}")
    reason = "DISABLED" if verdict in _CLOSED else "DEFAULT"
    return orjson.dumps({"key": experiment.id, "reason": reason, "variant": "", "metadata": metadata})


def failed(key: str, refusal: Refusal) -> Response:
    """Return a refusal as the protocol has it."""
    status, _ = _ERRORS.get(refusal.code, (refusal.status, ""))
    headers: tuple[tuple[str, str], ...] = ()
    if refusal.retry_after_seconds is not None:
        headers = (("Retry-After", str(refusal.retry_after_seconds)),)
    return Response(status, orjson.dumps(error(key, refusal)), headers=headers)


def error(key: str, refusal: Refusal) -> dict[str, Any]:
    """Return the fields of a refusal."""
    _, code = _ERRORS.get(refusal.code, (0, "GENERAL"))
    return {"key": key, "errorCode": code, "errorDetails": refusal.detail, "metadata": {}}


def _reason(cache: AnswerCache, arms: tuple[Arm, ...]) -> str:
    if arms:
        return "TARGETING_MATCH" if any(arm.forced for arm in arms) else "SPLIT"
    return "DEFAULT" if cache.plan.evaluators else "STATIC"
