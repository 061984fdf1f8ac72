"""Which path is answered by which function: the decision listener and the admin listener, as two tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import orjson
from aiohttp import hdrs

from abside.serve.answer import Refusal, Response, Route, problem
from abside.sidecar.decide import handlers, intake
from abside.sidecar.decide.batch import SLICED_BYTES
from abside.sidecar.decide.ofrep import FLAGS, evaluation, failed
from abside.sidecar.decide.ofrep_bulk import evaluate_all
from abside.sidecar.decide.plain import plain_assign
from abside.sidecar.decide.track import track
from abside.sidecar.fast.heads import FastRoute, FastRoutes
from abside.sidecar.observe.asking import ask
from abside.sidecar.observe.details import details
from abside.sidecar.observe.page.draw import page
from abside.sidecar.record.journal import RETRY_AFTER_SECONDS
from abside.spool.errors import SpoolFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from abside.scrape.render import Scrape
    from abside.sidecar.decide.handlers import HandlerContext
    from abside.sidecar.observe.health import Health
    from abside.sidecar.observe.splits import Splits
    from abside.sidecar.settings import SidecarSettings

JSON_TYPES = frozenset({"application/json"})
FLAG = FLAGS + "/{key}"
OFREP = "/ofrep/"


class Paths(Mapping[str, Mapping[str, Route]]):
    """Routes by path. A path that ends in a parameter, as `/v1/flags/{key}`, is found for every value of it.

    Only the written paths are in the table (`in`, iteration): answers are counted by these, never by a caller's value.
    """

    def __init__(self, routes: Mapping[str, Mapping[str, Route]]) -> None:
        self._routes = routes
        self._prefixes = {path.partition("{")[0]: path for path in routes if path.endswith("}")}

    def __getitem__(self, path: str) -> Mapping[str, Route]:
        path = without_double_slash(path)
        if path in self._routes:
            return self._routes[path]
        prefix, slash, parameter = path.rpartition("/")
        return self._routes[self._prefixes[prefix + slash] if parameter else path]

    def __contains__(self, path: object) -> bool:
        return path in self._routes

    def __iter__(self) -> Iterator[str]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)


def without_double_slash(path: str) -> str:
    """Return a path of OFREP with one slash before it: its clients put one behind a base URL that may end in one."""
    return path[1:] if path.startswith("/" + OFREP) else path


def written(path: str) -> str:
    """Return the path of the route that a flag's own belongs to; any other as it is."""
    return FLAG if without_double_slash(path).startswith(FLAGS + "/") else path


def refused(path: str, refusal: Refusal) -> Response:
    """Return a refusal as the protocol of its path has it."""
    path = without_double_slash(path)
    if not path.startswith(OFREP):
        return problem(refusal)
    return failed(path.removeprefix(FLAGS + "/") if path.startswith(FLAGS + "/") else "", refusal)


def decisions(
    context: HandlerContext, settings: SidecarSettings, status: Callable[[], Response], splits: Splits
) -> Mapping[str, Mapping[str, Route]]:
    """Return the routes of the localhost API."""

    def assign(_: web.BaseRequest, body: bytes) -> Response:
        return Response(200, handlers.assign(context, body))

    def explain(_: web.BaseRequest, body: bytes) -> Response:
        return Response(200, handlers.explain(context, body))

    async def events(_: web.BaseRequest, body: bytes) -> Response:
        if len(body) > SLICED_BYTES:
            return await _durable(context, Response(202, await intake.large_events(context, body)))
        return await _durable(context, Response(202, intake.events(context, body)))

    async def exposures(_: web.BaseRequest, body: bytes) -> Response:
        if len(body) > SLICED_BYTES:
            return await _durable(context, Response(202, await intake.large_exposures(context, body)))
        return await _durable(context, Response(202, intake.exposures(context, body)))

    async def tracking(_: web.BaseRequest, body: bytes) -> Response:
        return await _durable(context, Response(202, track(context, body)))

    own = context.journal.batch()
    evaluate = evaluation(context, own, expose=settings.ofrep_expose == "on")

    def flag(request: web.BaseRequest, body: bytes) -> Response:
        answer = evaluate(request.path.rpartition("/")[2], body)
        own.write()
        return answer if isinstance(answer, Response) else Response(200, answer)

    async def flags(request: web.BaseRequest, body: bytes) -> Response:
        return await evaluate_all(context, body, request.headers.getall(hdrs.IF_NONE_MATCH, ()))

    def people(request: web.BaseRequest, _: bytes) -> Response:
        query = request.query
        return page(
            orjson.loads(status().body),
            context.clock(),
            find=query.get("find", ""),
            refresh=query.get("refresh") != "off",
            details=partial(details, context, splits),
            asked=ask(context, query),
        )

    routes = {
        "/": {"GET": Route(people)},
        "/v1/assign": {"POST": Route(assign, settings.max_assign_bytes, JSON_TYPES)},
        "/v1/explain": {"POST": Route(explain, settings.max_assign_bytes, JSON_TYPES)},
        "/v1/events": {"POST": Route(events, settings.max_events_bytes, JSON_TYPES)},
        "/v1/exposures": {"POST": Route(exposures, settings.max_events_bytes, JSON_TYPES)},
        "/v1/track": {"POST": Route(tracking, settings.max_assign_bytes, JSON_TYPES)},
        FLAGS: {"POST": Route(flags, settings.max_assign_bytes, JSON_TYPES)},
        FLAG: {"POST": Route(flag, settings.max_assign_bytes, JSON_TYPES)},
        "/v1/status": {"GET": Route(lambda _request, _body: status())},
    }
    return Paths(routes)


def fast(context: HandlerContext, settings: SidecarSettings) -> FastRoutes:
    """Return the hot routes: the same functions. What waits for the disk, or is read in slices, is not among them."""
    batch = context.journal.batch()
    hot = [FastRoute("/v1/assign", plain_assign(context, batch), settings.max_assign_bytes, 200)]
    evaluate = evaluation(context, batch, expose=settings.ofrep_expose == "on")
    hot.append(FastRoute(FLAG, evaluate, settings.max_assign_bytes, 200))
    if settings.fsync != "always":
        at_once = min(settings.max_events_bytes, SLICED_BYTES)
        hot += [
            FastRoute("/v1/events", partial(intake.events, context), at_once, 202),
            FastRoute("/v1/exposures", partial(intake.exposures, context), at_once, 202),
            FastRoute("/v1/track", partial(track, context), settings.max_assign_bytes, 202),
        ]
    return FastRoutes(tuple(hot), batch.write)


def admin(health: Health, metrics: Scrape) -> Mapping[str, Mapping[str, Route]]:
    """Return the routes of the admin listener: health and metrics, nothing of a shopper."""
    return {
        "/livez": {"GET": Route(lambda _request, _body: health.livez(), probe=True)},
        "/startupz": {"GET": Route(lambda _request, _body: health.startupz(), probe=True)},
        "/readyz": {"GET": Route(lambda _request, _body: health.readyz(), probe=True)},
        "/metrics": {"GET": Route(metrics.get)},
    }


async def _durable(context: HandlerContext, answer: Response) -> Response:
    """Return the answer once the events are as durable as the fsync policy promises. Assign never waits for that."""
    try:
        await context.journal.spool.synced()
    except SpoolFailed as exc:
        detail = (
            "the disk could not make the events durable; they may be stored all the same: retry with the same event_id"
        )
        raise Refusal(503, "SPOOL_FULL", detail, retry_after_seconds=RETRY_AFTER_SECONDS) from exc
    return answer
