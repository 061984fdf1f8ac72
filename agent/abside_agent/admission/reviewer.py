"""Answers each review with the problems of its change, chosen by the ConfigMap's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.log import Log
from abside.serve.answer import Refusal, Response
from abside.snapshot import Problem
from abside_agent.admission.checks import Checks
from abside_agent.admission.exchange import COMMAND, ONE_OF_SEVERAL
from abside_agent.admission.pauses import PauseWarnings
from abside_agent.admission.review import ReviewUnreadable, answer, read
from abside_agent.document.reading import File, Reading, is_document
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.spawn import ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from abside_agent.admission.neighbours import Neighbours
    from abside_agent.admission.review import Review, ReviewKeys
    from abside_agent.settings import AdmissionSettings

log = Log("abside.admission")


class Reviewer:
    """Reviews by name: documents are checked in a child, pauses only cause warnings, all else is allowed."""

    def __init__(self, settings: AdmissionSettings, clock_us: Callable[[], int], neighbours: Neighbours) -> None:
        self._settings = settings
        self._clock_us = clock_us
        self._checks = Checks(settings.check_seconds)
        self._command = (*COMMAND, ONE_OF_SEVERAL) if len(settings.configmap) > 1 else COMMAND
        self._pauses = PauseWarnings(settings, neighbours, self._checks)

    async def post(self, request: web.BaseRequest, body: bytes) -> Response:  # noqa: ARG002 a route's signature
        """Answer one AdmissionReview."""
        try:
            review = read(body)
        except ReviewUnreadable as exc:
            raise Refusal(400, "MALFORMED", str(exc), path=exc.path or None) from exc
        problems = await self._problems(review)
        log.info(
            "reviewed",
            user=review.user,
            operation=review.operation,
            namespace=review.namespace,
            name=review.name,
            **review.changes(),
            dry_run=review.is_dry_run,
            allowed=not any(problem.severity == "error" for problem in problems),
            problems=len(problems),
        )
        return Response(200, answer(review, problems))

    def stop(self) -> None:
        """End the running child; its review is allowed with a warning."""
        self._checks.stop()

    async def _problems(self, review: Review) -> tuple[Problem, ...]:
        is_documents = review.name in self._settings.configmap
        if not is_documents and review.name != self._settings.paused_configmap:
            return ()
        if review.kind != "ConfigMap" or (review.new is None and review.old is None):
            return ()
        if review.new is None:
            return (_deleted_documents(review) if is_documents else _deleted_pauses(review),)
        return await (self._checked if is_documents else self._pauses.of)(review, review.new)

    async def _checked(self, review: Review, new: ReviewKeys) -> tuple[Problem, ...]:
        settings = self._settings
        last = b"" if review.old is None else _reading(review.name, review.old).pack()
        limits = (settings.check_cpu_seconds, settings.check_memory)
        order = Order(_reading(review.name, new).pack(), last, self._clock_us(), *limits)
        try:
            found = (await self._checks.reply(order, self._command, settings.check_seconds)).problems
        except ChildError as exc:
            log.error("not_checked", namespace=review.namespace, name=review.name, why=exc.reason, then="allowed")
            message = f"NOT CHECKED, allowed as it is: {exc.reason}"
            found = (_warning(review.name, "NOT_CHECKED", message, "run abside check"),)
        return (*found, *_unread(review.name, new))


def _reading(name: str, keys: ReviewKeys) -> Reading:
    return Reading(tuple(File(key, data, name) for key, data in sorted(keys.items()) if is_document(key)))


def _unread(name: str, keys: ReviewKeys) -> Iterator[Problem]:
    for key in sorted(keys):
        if not is_document(key):
            yield _warning(name, "NOT_READ", f"no agent reads {key}", "give the key a name that ends in .yaml")


def _deleted_pauses(review: Review) -> Problem:
    lifted = ", ".join(sorted(review.old or {})) or "there is none"
    message = f"WITHOUT THIS CONFIGMAP NOTHING IS PAUSED; the pauses that go with it: {lifted}"
    return _warning(review.name, "PAUSES_DELETED", message, "to resume one experiment delete its key instead")


def _deleted_documents(review: Review) -> Problem:
    message = "WITHOUT THIS CONFIGMAP a new pod starts without any configuration; running agents keep the last good"
    return _warning(review.name, "DOCUMENTS_DELETED", message, "to end experiments write status: ended")


def _warning(name: str, code: str, message: str, remedy: str) -> Problem:
    return Problem("warning", code, name, 0, 0, "", "", message, remedy)
