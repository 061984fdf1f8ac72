"""The admission process, over TLS: one webhook checks the ConfigMaps of experiments, one injects agent and sidecar."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from abside import log as logging
from abside.environ import now_us
from abside.log import Log
from abside.scrape.render import Scrape
from abside.serve.address import split_address
from abside.serve.answer import Response, Route
from abside.serve.bounds import Bounds
from abside.serve.certificate import Certificate, CertificateUnusable, instant
from abside.serve.listener import Listener
from abside.supervise import Supervisor, stop_on_signal
from abside_agent.admission.injection.injector import Injector
from abside_agent.admission.injection.source import TemplateSource
from abside_agent.admission.metrics import AdmissionMetrics
from abside_agent.admission.neighbours import Neighbours
from abside_agent.admission.reviewer import Reviewer
from abside_agent.watch.api import Access
from abside_agent.watch.begin import in_cluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from abside_agent.settings import AdmissionSettings

log = Log("abside.admission")
CLOSE_SECONDS = 1.0  # added to the check that may still run, to write its response


def main(settings: AdmissionSettings) -> int:
    """Run until SIGTERM or SIGINT: 0; 1 when it cannot start, with the reason in the log."""
    logging.setup("admission", settings.log_level, settings.log_format)
    try:
        asyncio.run(_run(settings))
    except (CertificateUnusable, OSError, ValueError) as exc:
        log.error("cannot_start", reason=str(exc))
        return 1
    log.info("stopped")
    return 0


async def _run(settings: AdmissionSettings) -> None:
    stopping = stop_on_signal()
    async with admission(settings) as address:
        log.info("listening", address=address, configmap=" ".join(settings.configmap))
        await stopping.wait()
        log.info("stopping")
        await asyncio.sleep(settings.linger_seconds)  # until every node's proxy knows that this pod stops


@asynccontextmanager
async def admission(settings: AdmissionSettings) -> AsyncIterator[str]:
    """Run the webhook and yield the address it listens on.

    Raises CertificateUnusable, OSError, and ValueError for no address.
    """
    split_address(settings.listen)
    certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key))
    log.info("certificate", cert=settings.tls_cert, not_after=instant(certificate.not_after))
    access = _access(settings)
    reviewer = Reviewer(settings, now_us, Neighbours(access))
    injector = Injector(TemplateSource(settings, access), reviewer.counts)
    supervisor = Supervisor(on_fatal=lambda name: log.error("task_ended", task=name))
    routes = {"/validate": {"POST": Route(reviewer.post, settings.max_review_bytes)}}
    routes["/inject"] = {"POST": Route(injector.post, settings.max_review_bytes)}
    routes["/livez"] = {"GET": Route(_alive, probe=True)}
    listener = Listener(routes, Bounds.of(settings))
    metrics = Scrape(AdmissionMetrics(reviewer.counts, listener, certificate).collect)
    routes["/metrics"] = {"GET": Route(metrics.get, probe=True)}
    try:
        supervisor.start("certificate", lambda: certificate.follow(settings.tls_poll_seconds))
        yield await listener.open(settings.listen, certificate.context)
        await listener.close(settings.check_seconds + CLOSE_SECONDS)
    finally:
        reviewer.stop()
        await listener.stop_accepting()
        await supervisor.stop()


def _access(settings: AdmissionSettings) -> Access:
    environment = os.environ  # noqa: TID251 this is a root, and the two variables are Kubernetes', not settings of ours
    url = settings.cluster_api or in_cluster(
        environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    )
    return Access(url, Path(settings.cluster_credentials))


def _alive(_request: web.BaseRequest, _body: bytes) -> Response:
    return Response(200, b'{"status":"alive"}')
