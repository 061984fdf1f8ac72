"""OFREP's evaluation of all flags at once, for the SDKs of web pages and phones. It is never exposure."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import orjson

from abside.assignment.assign import Arm
from abside.assignment.unit import Subject
from abside.serve.answer import Refusal, Response
from abside.sidecar.active.slices import in_slices
from abside.sidecar.decide.handlers import current_of
from abside.sidecar.decide.ofrep import arms_at, error, evaluated, experiment_at, failed, not_in, read_context
from abside.sidecar.decide.visitor import visitor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from typing import Any

    from abside.sidecar.active.current import Current
    from abside.sidecar.active.prepared import AnswerCache, PreparedAnswer
    from abside.sidecar.decide.handlers import HandlerContext

TAG_BYTES = 8  # of a digest: two answers with one tag are a matter of 2^32 answers


async def evaluate_all(context: HandlerContext, body: bytes, if_none_match: Iterable[str]) -> Response:
    """Return the answer to a bulk evaluation: 304 where its tag is one of those that the caller has.

    The body is the same wherever the answer is the same, whatever else the documents contain: it has no revision.
    """
    try:
        sent = read_context(body, context.rules)
        user_id, session_id = visitor(sent, context.rules)
        current = current_of(context)
    except Refusal as refusal:
        return failed("", refusal)
    flags = await in_slices(_flags(context, current, user_id, session_id, sent))
    answer = b'{"flags":[' + b",".join(flags) + b'],"metadata":{}}'
    tag = f'"{hashlib.sha256(answer).hexdigest()[: 2 * TAG_BYTES]}"'
    tagged = (("ETag", tag),)
    return Response(304, b"", headers=tagged) if has_tag(tag, if_none_match) else Response(200, answer, headers=tagged)


def has_tag(tag: str, if_none_match: Iterable[str]) -> bool:
    """Compare as RFC 9110 does for If-None-Match: weakly, with each of a list, and with any for `*`."""
    given = [one.strip().removeprefix("W/") for line in if_none_match for one in line.split(",")]
    return tag in given or "*" in given


def _flags(
    context: HandlerContext,
    current: Current,
    user_id: str | None,
    session_id: str | None,
    sent: Mapping[str, Any],
) -> Generator[None, None, list[bytes]]:
    """Evaluate every placement and experiment, by key, pausing after each."""
    accounts = context.journal.accounts
    found = []
    for key in sorted(current.caches.keys() | current.plans.evaluators.keys()):
        cache = current.caches.get(key)
        if cache is not None:
            subject = Subject(user_id, session_id, sent, key)
            found.append(_among(key, cache, cache.prepared(arms_at(cache, subject), accounts)))
        else:
            try:
                found.append(_experiment(context, current, key, user_id, session_id, sent))
            except Refusal as refusal:
                if refusal.code != "NOT_FOUND":  # its placement is left out: nobody gets it
                    found.append(orjson.dumps(error(key, refusal)))
        yield
    return found


def _experiment(
    context: HandlerContext,
    current: Current,
    key: str,
    user_id: str | None,
    session_id: str | None,
    sent: Mapping[str, Any],
) -> bytes:
    evaluator, cache = experiment_at(current, key)
    verdict = evaluator.verdict(Subject(user_id, session_id, sent, cache.plan.placement.id))
    if not isinstance(verdict, Arm):
        return not_in(evaluator, verdict, {})
    return _among(key, cache, cache.prepared((verdict,), context.journal.accounts))


def _among(key: str, cache: AnswerCache, prepared: PreparedAnswer) -> bytes:
    made = prepared.evaluated.get(key) or evaluated(key, cache, prepared)
    return made.among + made.rest
