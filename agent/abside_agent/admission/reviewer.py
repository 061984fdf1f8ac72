"""Answers each review with the problems of its change, chosen by the ConfigMap's name."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from abside.log import Log
from abside.serve.answer import Refusal, Response
from abside.snapshot import Problem
from abside_agent.admission.checks import Checks
from abside_agent.admission.exchange import COMMAND, ONE_OF_SEVERAL
from abside_agent.admission.metrics import ReviewCounts
from abside_agent.admission.neighbours import UnreadError
from abside_agent.admission.pauses import PauseWarnings
from abside_agent.admission.review import ReviewUnreadable, answer, read
from abside_agent.document.reading import File, Reading, is_document
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.spawn import ChildError, ChildLateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from abside_agent.admission.neighbours import Neighbours
    from abside_agent.admission.review import Review, ReviewKeys
    from abside_agent.settings import AdmissionSettings

log = Log("abside.admission")
OTHERS_SECONDS = 1.0  # to read the other ConfigMaps: the API is in the same cluster, and the check must have its time


class Reviewer:
    """Reviews by name: documents are checked in a child, pauses only cause warnings, all else is allowed."""

    def __init__(self, settings: AdmissionSettings, clock_us: Callable[[], int], neighbours: Neighbours) -> None:
        self._settings = settings
        self._clock_us = clock_us
        self._checks = Checks(settings.check_seconds)
        self._neighbours = neighbours
        self.counts = ReviewCounts()
        self._pauses = PauseWarnings(settings, neighbours, self._checks)

    async def post(self, request: web.BaseRequest, body: bytes) -> Response:  # noqa: ARG002 a route's signature
        """Answer one AdmissionReview."""
        try:
            review = read(body)
        except ReviewUnreadable as exc:
            raise Refusal(400, "MALFORMED", str(exc), path=exc.path or None) from exc
        began = time.monotonic()
        problems = await self._problems(review)
        self.counts.add(problems, time.monotonic() - began)
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
        until = asyncio.get_running_loop().time() + settings.check_seconds
        others, found = await self._others(review, new)
        last = b"" if review.old is None and not others else self._reading(review.name, review.old or {}, others).pack()
        limits = (settings.check_cpu_seconds, settings.check_memory)
        order = Order(self._reading(review.name, new, others).pack(), last, self._clock_us(), *limits)
        is_alone = others is None and len(settings.configmap) > 1
        command = (*COMMAND, ONE_OF_SEVERAL) if is_alone else COMMAND
        try:
            left = max(until - asyncio.get_running_loop().time(), 0.0)
            found = (*(await self._checks.reply(order, command, left)).problems, *found)
        except ChildError as exc:
            # Its own limit was what the others left, a figure that means nothing to a person.
            why = ChildLateError(settings.check_seconds).reason if isinstance(exc, ChildLateError) else exc.reason
            log.error("not_checked", namespace=review.namespace, name=review.name, why=why, then="allowed")
            message = f"NOT CHECKED, allowed as it is: {why}"
            found = (_warning(review.name, "NOT_CHECKED", message, "run abside check"),)
        return (*found, *_unread(review.name, new))

    async def _others(
        self, review: Review, new: ReviewKeys
    ) -> tuple[dict[str, ReviewKeys] | None, tuple[Problem, ...]]:
        """Return the other ConfigMaps of the document, None where they are not used, and a warning of that."""
        names = [name for name in self._settings.configmap if name != review.name]
        if not names or not any(data.strip() for key, data in new.items() if is_document(key)):
            return None, ()  # emptied: the others are no consolation for its directory
        try:
            parts = await self._neighbours.read(review.namespace, names, OTHERS_SECONDS)
        except UnreadError as exc:
            log.warning("others_not_read", namespace=review.namespace, name=review.name, why=str(exc), then="alone")
            message = f"checked alone, conflicts with the other ConfigMaps are not looked for: {exc}"
            return None, (_warning(review.name, "OTHERS_NOT_READ", message, "run abside check on all files"),)
        return dict(zip(names, parts, strict=True)), ()

    def _reading(self, name: str, keys: ReviewKeys, others: dict[str, ReviewKeys] | None) -> Reading:
        """Return the documents as agents read them: of several ConfigMaps each in a directory of its own."""
        if others is None:
            return _reading(name, keys)
        parts = {**others, name: keys}
        ordered = [one for one in self._settings.configmap if one in parts]
        files = [
            replace(file, name=f"{one}/{file.name}") for one in ordered for file in _reading(one, parts[one]).files
        ]
        return Reading(tuple(files), order=tuple(f"{one}/" for one in ordered))


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
