"""Answers the review of a pod, or of a workload: always allowed, with both containers or with why there are none."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson

from abside.log import Log
from abside.serve.answer import Refusal, Response
from abside.snapshot import Problem
from abside_agent.admission.injection.obstacles import is_ours, is_present, obstacles
from abside_agent.admission.injection.patch import patch
from abside_agent.admission.injection.pod import POD, read_pod
from abside_agent.admission.injection.source import TemplateUnreadError
from abside_agent.admission.metrics import INJECTED, LEFT, PRESENT
from abside_agent.admission.review import ReviewUnreadable, respond

if TYPE_CHECKING:
    from aiohttp import web

    from abside_agent.admission.injection.obstacles import Obstacle
    from abside_agent.admission.injection.patch import PatchStep
    from abside_agent.admission.injection.pod import NewPod
    from abside_agent.admission.injection.source import TemplateSource
    from abside_agent.admission.metrics import ReviewCounts

log = Log("abside.admission")


class Injector:
    """Injects what the source has at the moment. A pod that cannot have it is left as it is, with a warning."""

    def __init__(self, source: TemplateSource, counts: ReviewCounts) -> None:
        self._source = source
        self._counts = counts

    async def post(self, request: web.BaseRequest, body: bytes) -> Response:  # noqa: ARG002 a route's signature
        """Answer one AdmissionReview."""
        try:
            pod = read_pod(body)
        except ReviewUnreadable as exc:
            raise Refusal(400, "MALFORMED", str(exc), path=exc.path or None) from exc
        steps, found = await self._change(pod) if pod.is_asked and not is_ours(pod) else ([], [])
        return Response(200, _answer(pod, steps, found))

    async def _change(self, pod: NewPod) -> tuple[list[PatchStep], list[Obstacle]]:
        """Return the steps for a pod, none for a workload, and what is in the way."""
        is_pod = pod.kind == POD
        is_counted = is_pod and not pod.is_dry_run  # a preview creates none, and an alert waits for those that are left
        if is_present(pod):
            self._counts.pods[PRESENT] += is_counted
            log.debug("present", **_who(pod))
            return [], []
        steps: list[PatchStep] = []
        try:
            template = await self._source.current()
        except TemplateUnreadError as exc:
            found = [(str(exc), "see the log of experiment-admission, then create the pod anew")]
        else:
            found = list(obstacles(pod, template))
            steps = [] if found or not is_pod else patch(pod, template)
        self._counts.pods[LEFT if found else INJECTED] += is_counted
        if is_pod:
            _report(pod, found)
        return steps, found


def _report(pod: NewPod, found: list[Obstacle]) -> None:
    if found:
        log.warning("not_injected", **_who(pod), why="; ".join(why for why, _ in found))
    else:
        log.info("injected", **_who(pod))


def _who(pod: NewPod) -> dict[str, str | bool]:
    names = {"namespace": pod.namespace, "pod": pod.name, "owner": pod.owner, "user": pod.user}
    return {**names, "dry_run": pod.is_dry_run}


def _answer(pod: NewPod, steps: list[PatchStep], found: list[Obstacle]) -> bytes:
    response: dict[str, Any] = {"uid": pod.uid, "allowed": True}
    if steps:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(steps)).decode()}
    return respond(response, [_warning(pod, *one) for one in found])


def _warning(pod: NewPod, why: str, remedy: str) -> Problem:
    name = f"{'pod' if pod.kind == POD else pod.kind} {pod.name}"
    return Problem("warning", "NOT_INJECTED", name, 0, 0, "", "", f"NO SIDECAR IS INJECTED: {why}", remedy)
