"""Answers the review of a pod that is created: always allowed, with both containers or with why it has none."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson

from abside.log import Log
from abside.serve.answer import Refusal, Response
from abside.snapshot import Problem
from abside_agent.admission.injection.obstacles import is_ours, is_present, obstacles
from abside_agent.admission.injection.patch import patch
from abside_agent.admission.injection.pod import read_pod
from abside_agent.admission.injection.source import TemplateUnreadError
from abside_agent.admission.review import ReviewUnreadable, respond

if TYPE_CHECKING:
    from aiohttp import web

    from abside_agent.admission.injection.obstacles import Obstacle
    from abside_agent.admission.injection.patch import PatchStep
    from abside_agent.admission.injection.pod import NewPod
    from abside_agent.admission.injection.source import TemplateSource

log = Log("abside.admission")


class Injector:
    """Injects what the source has at the moment. A pod that cannot have it is left as it is, with a warning."""

    def __init__(self, source: TemplateSource) -> None:
        self._source = source

    async def post(self, request: web.BaseRequest, body: bytes) -> Response:  # noqa: ARG002 a route's signature
        """Answer one AdmissionReview."""
        try:
            pod = read_pod(body)
        except ReviewUnreadable as exc:
            raise Refusal(400, "MALFORMED", str(exc), path=exc.path or None) from exc
        steps: list[PatchStep] = []
        found: list[Obstacle] = []
        if pod.is_asked and not is_ours(pod) and not is_present(pod):
            try:
                template = await self._source.current()
            except TemplateUnreadError as exc:
                found = [(str(exc), "see the log of experiment-admission, then create the pod anew")]
            else:
                found = list(obstacles(pod, template))
                steps = [] if found else patch(pod, template)
            _report(pod, found)
        return Response(200, _answer(pod, steps, found))


def _report(pod: NewPod, found: list[Obstacle]) -> None:
    who = {"namespace": pod.namespace, "pod": pod.name, "owner": pod.owner, "user": pod.user, "dry_run": pod.is_dry_run}
    if found:
        log.warning("not_injected", **who, why="; ".join(why for why, _ in found))
    else:
        log.info("injected", **who)


def _answer(pod: NewPod, steps: list[PatchStep], found: list[Obstacle]) -> bytes:
    response: dict[str, Any] = {"uid": pod.uid, "allowed": True}
    if steps:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(steps)).decode()}
    return respond(response, [_warning(pod, *one) for one in found])


def _warning(pod: NewPod, why: str, remedy: str) -> Problem:
    name = f"pod {pod.name}"
    return Problem("warning", "NOT_INJECTED", name, 0, 0, "", "", f"NO SIDECAR IS INJECTED: {why}", remedy)
