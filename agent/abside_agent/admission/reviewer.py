"""Answers each review with the problems of its change, chosen by the ConfigMap's name."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING

from abside.log import Log
from abside.serve.answer import Refusal, Response
from abside.snapshot import Problem
from abside_agent.admission.exchange import COMMAND, ONE_OF_SEVERAL
from abside_agent.admission.review import ReviewUnreadable, answer, read
from abside_agent.document.reading import EVERY_EXPERIMENT, File, Reading, is_document
from abside_agent.run.child.exchange import Order
from abside_agent.run.child.spawn import ChildError, ChildLateError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from abside_agent.admission.review import Review, ReviewKeys
    from abside_agent.settings import AdmissionSettings

log = Log("abside.admission")


class Reviewer:
    """Reviews by name: documents are checked in a child, pauses only cause warnings, all else is allowed."""

    def __init__(self, settings: AdmissionSettings, clock_us: Callable[[], int]) -> None:
        self._settings = settings
        self._clock_us = clock_us
        self._one = asyncio.Lock()  # one child at a time: two would not fit into the container's memory
        self._stop = Event()

    async def post(self, request: web.BaseRequest, body: bytes) -> Response:  # noqa: ARG002 a route's signature
        """Answer one AdmissionReview."""
        try:
            review = read(body)
        except ReviewUnreadable as exc:
            raise Refusal(400, "MALFORMED", str(exc), path=exc.path or None) from exc
        problems = await self._problems(review)
        log.info(
            "reviewed",
            operation=review.operation,
            namespace=review.namespace,
            name=review.name,
            dry_run=review.is_dry_run,
            allowed=not any(problem.severity == "error" for problem in problems),
            problems=len(problems),
        )
        return Response(200, answer(review, problems))

    def stop(self) -> None:
        """End the running child; its review is allowed with a warning."""
        self._stop.set()

    async def _problems(self, review: Review) -> tuple[Problem, ...]:
        is_documents = review.name in self._settings.configmap
        if not is_documents and review.name != self._settings.paused_configmap:
            return ()
        if review.kind != "ConfigMap" or (review.new is None and review.old is None):
            return ()
        if review.new is None:
            return (_deleted_documents(review) if is_documents else _deleted_pauses(review),)
        return await self._checked(review, review.new) if is_documents else tuple(_pauses(review.name, review.new))

    async def _checked(self, review: Review, new: ReviewKeys) -> tuple[Problem, ...]:
        settings = self._settings
        last = b"" if review.old is None else _reading(review.name, review.old).pack()
        limits = (settings.check_cpu_seconds, settings.check_memory)
        order = Order(_reading(review.name, new).pack(), last, self._clock_us(), *limits)
        try:
            found = await self._in_a_child(order)
        except ChildError as exc:
            log.error("not_checked", namespace=review.namespace, name=review.name, why=exc.reason, then="allowed")
            message = f"NOT CHECKED, allowed as it is: {exc.reason}"
            found = (_warning(review.name, "NOT_CHECKED", message, "run abside check"),)
        return (*found, *_unread(review.name, new))

    async def _in_a_child(self, order: Order) -> tuple[Problem, ...]:
        """Return the problems of an order within `check_seconds`, including the wait for another. Raises ChildError."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.check_seconds
        command = (*COMMAND, ONE_OF_SEVERAL) if len(self._settings.configmap) > 1 else COMMAND
        try:
            async with asyncio.timeout_at(until):
                await self._one.acquire()
        except TimeoutError as exc:
            raise ChildError("other changes were being checked all the time") from exc
        try:
            return (await asyncio.to_thread(run, order, until - loop.time(), self._stop, command)).problems
        except ChildLateError as exc:  # its own limit was what the wait left, a figure that means nothing to a person
            raise ChildLateError(self._settings.check_seconds) from exc
        finally:
            self._one.release()


def _reading(name: str, keys: ReviewKeys) -> Reading:
    return Reading(tuple(File(key, data, name) for key, data in sorted(keys.items()) if is_document(key)))


def _unread(name: str, keys: ReviewKeys) -> Iterator[Problem]:
    for key in sorted(keys):
        if not is_document(key):
            yield _warning(name, "NOT_READ", f"no agent reads {key}", "give the key a name that ends in .yaml")


def _pauses(name: str, keys: ReviewKeys) -> Iterator[Problem]:
    """Warn of common mistakes; without the documents it is unknown which ids exist."""
    if EVERY_EXPERIMENT in keys:
        message = f"the key {EVERY_EXPERIMENT} pauses EVERY experiment"
        yield _warning(name, "ALL_PAUSED", message, "delete the key to resume")


def _deleted_pauses(review: Review) -> Problem:
    lifted = ", ".join(sorted(review.old or {})) or "there is none"
    message = f"WITHOUT THIS CONFIGMAP NOTHING IS PAUSED; the pauses that go with it: {lifted}"
    return _warning(review.name, "PAUSES_DELETED", message, "to resume one experiment delete its key instead")


def _deleted_documents(review: Review) -> Problem:
    message = "WITHOUT THIS CONFIGMAP a new pod starts without any configuration; running agents keep the last good"
    return _warning(review.name, "DOCUMENTS_DELETED", message, "to end experiments write status: ended")


def _warning(name: str, code: str, message: str, remedy: str) -> Problem:
    return Problem("warning", code, name, 0, 0, "", "", message, remedy)
