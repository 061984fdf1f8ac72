"""The template in force, read through the Kubernetes API as the webhook's service account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import orjson

from abside.log import Log
from abside_agent.admission.injection.template import TemplateUnusableError, template_of
from abside_agent.watch.api import DEPLOYMENTS
from abside_agent.watch.config_map import ExpiredError, GarbageError, RefusedError

if TYPE_CHECKING:
    from abside_agent.admission.injection.template import SidecarTemplate
    from abside_agent.settings import AdmissionSettings
    from abside_agent.watch.api import Access

log = Log("abside.admission")
UNREAD = (aiohttp.ClientError, RefusedError, ExpiredError, GarbageError, TemplateUnusableError, ValueError)


class TemplateUnreadError(Exception):
    """There is no template, and none was there before."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why

    def __str__(self) -> str:
        return f"the Deployment {self.name} cannot be used: {self.why}"


class TemplateSource:
    """Reads the template when it is needed and older than `template_seconds`; without an answer the last good stays."""

    def __init__(self, settings: AdmissionSettings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._one = asyncio.Lock()
        self._last: SidecarTemplate | None = None
        self._why = ""  # of the last attempt, empty if it was good
        self._tried_at = float("-inf")

    async def current(self) -> SidecarTemplate:
        """Return the template for one pod. Raises TemplateUnreadError."""
        loop, settings = asyncio.get_running_loop(), self._settings
        asked_at = loop.time()
        async with self._one:
            # Who waited for an attempt shares its result, good or bad: pods come in hundreds.
            is_fresh = self._last is not None and asked_at < self._tried_at + settings.template_seconds
            if not is_fresh and self._tried_at < asked_at:
                await self._read()
                self._tried_at = loop.time()
        if self._last is None:
            raise TemplateUnreadError(settings.template, self._why)
        return self._last

    async def _read(self) -> None:
        settings = self._settings
        try:
            async with asyncio.timeout(settings.inject_seconds):
                token = self._access.read("token")  # read each time: Kubernetes renews it
                seconds = settings.inject_seconds
                connection = self._access.connect(
                    token, settings.template, answer=seconds, silence=seconds, collection=DEPLOYMENTS
                )
                async with connection as query:
                    template = _listed(await query.list(), settings.template)
        except TimeoutError:
            self._failed(f"the API did not answer within {settings.inject_seconds:g} s")
        except OSError as exc:
            self._failed(exc.strerror or str(exc) or type(exc).__name__)
        except UNREAD as exc:
            self._failed(str(exc) or type(exc).__name__)
        else:
            if template != self._last:
                log.info("template", name=settings.template, image=template.image)
            self._last, self._why = template, ""

    def _failed(self, why: str) -> None:
        then = "the last good stays" if self._last is not None else "pods are left as they are"
        log.error("template_unread", name=self._settings.template, why=why, then=then)
        self._why = why


def _listed(body: bytes, name: str) -> SidecarTemplate:
    """Return the template of the one Deployment in a list. Raises GarbageError, TemplateUnusableError."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise GarbageError(str(exc)) from exc
    items = content.get("items") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise GarbageError("it is no list of Deployments")
    for one in items:
        metadata = one.get("metadata") if isinstance(one, dict) else None
        if isinstance(metadata, dict) and metadata.get("name") == name:
            return template_of(one)
    raise TemplateUnusableError("it does not exist")
