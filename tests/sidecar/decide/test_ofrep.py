"""OFREP: one flag over both paths, what is logged of it, and one shape for every error at every status."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running, World

    Start = Callable[..., Awaitable[Running]]

FLAGS = "/ofrep/v1/evaluate/flags"
RERANKER = "pdp-rank-2026-11"
TREATED = {"targetingKey": "u5382", "session_id": "s1", "country": "DE"}
BASE = {"model": "ranker-v1", "feature_weights": {"margin": 0.0, "freshness": 1.0}, "item_count": 12}
RANKED = {"model": "ranker-v2", "feature_weights": {"margin": 0.3, "freshness": 1.0}, "item_count": 12}


async def evaluated(running: Running, key: str, context: Any) -> Any:
    reply = await running.post(f"{FLAGS}/{key}", {"context": context})
    assert (reply.status, reply.headers["Content-Type"].partition(";")[0]) == (200, "application/json"), reply.text
    return reply.json


def strings_only(metadata: Any) -> bool:
    return type(metadata) is dict and all(type(one) is str for one in metadata.values())


async def test_a_placement_is_an_object_and_its_evaluation_is_the_exposure_that_assign_would_log(start: Start) -> None:
    running = await start()
    shown = await evaluated(running, "pdp", TREATED)
    asked = await running.assign(placement="pdp", user_id="u5382", session_id="s1", attributes={"country": "DE"})
    metadata = shown.pop("metadata")
    assert shown == {"key": "pdp", "reason": "SPLIT", "variant": asked["config_id"], "value": RANKED}
    own = {f"experiment.{RERANKER}": "treatment", "revision": asked["revision"]}
    first, second = running.spooled("exposure")
    assert metadata == {**own, "exposureId": first["exposure_id"]}
    changing = {"event_id", "exposure_id", "ts", "seen_ts"}
    assert {name: first[name] for name in first.keys() - changing} == {
        name: second[name] for name in second.keys() - changing
    }
    assert first["attributes"] == {"country": "DE"}


async def test_an_experiment_is_a_string_and_only_it_is_exposed(start: Start) -> None:
    running = await start()
    shown = await evaluated(running, RERANKER, TREATED)
    assert (shown["value"], shown["variant"], shown["reason"]) == ("treatment", "treatment", "SPLIT")
    (logged,) = running.spooled("exposure")
    assert [one["experiment"] for one in logged["assignments"]] == [RERANKER]
    assert (logged["placement"], shown["metadata"]["exposureId"]) == ("pdp", logged["exposure_id"])
    forced = await evaluated(running, "pdp-badge", {"targetingKey": "qa-user-2"})
    assert (forced["value"], forced["reason"]) == ("badge", "TARGETING_MATCH")


@pytest.mark.parametrize(
    ("key", "context", "reason"),
    [("pdp-badge", TREATED, "DISABLED"), ("search-de", {"targetingKey": "u1"}, "DEFAULT")],
)
async def test_who_is_not_in_an_experiment_gets_no_value(start: Start, key: str, context: Any, reason: str) -> None:
    running = await start()
    shown = await evaluated(running, key, context)
    revision = running.sidecar.context.cell.current.revision  # type: ignore[union-attr]
    assert shown == {"key": key, "reason": reason, "variant": "", "metadata": {"revision": revision}}
    assert running.spooled("exposure") == []


@pytest.mark.parametrize(
    "body", [b"", b"null", b"{}", b'{"context":null}', b'{"context":{}}', b'{"context":{"targetingKey":""}}']
)
async def test_without_an_id_a_placement_has_its_own_parameters(start: Start, body: bytes) -> None:
    running = await start()
    reply = await running.post(f"{FLAGS}/pdp", body)
    assert (reply.status, reply.json["value"], reply.json["reason"]) == (200, BASE, "DEFAULT")
    assert b'"margin":0.0' in reply.body  # a float keeps its point, and 12 has none
    assert (await evaluated(running, "home", None))["reason"] == "STATIC"
    assert running.spooled("exposure") == []
    reply = await running.post(f"{FLAGS}/{RERANKER}", body)
    assert (reply.status, reply.json["errorCode"]) == (400, "TARGETING_KEY_MISSING")


@pytest.mark.parametrize(
    ("context", "unit"),
    [
        ({"targetingKey": "u5382"}, ("user", "u5382")),
        ({"user_id": "u5382", "targetingKey": "u7603"}, ("user", "u5382")),
        ({"user_id": "guest", "targetingKey": "u5382"}, ("user", "u5382")),
        ({"userId": "u5382", "sessionId": "s"}, ("user", "u5382")),
        ({"session_id": "u5382", "targetingKey": None}, ("session", "u5382")),
        ({"targetingKey": 5382}, ("user", "5382")),
    ],
)
async def test_who_it_is_about(start: Start, context: Any, unit: tuple[str, str]) -> None:
    running = await start()
    await evaluated(running, "pdp", context)
    (logged,) = running.spooled("exposure")
    assert {(one["unit_type"], one["unit_id"]) for one in logged["assignments"]} == {unit}


WRONG: list[tuple[str, Any, int, str, str, str]] = [
    ("pdp", b"{", 400, "PARSE_ERROR", "pdp", "not JSON"),
    ("pdp", b"[]", 400, "PARSE_ERROR", "pdp", "an object"),
    ("pdp", b'{"context":{"a":NaN}}', 400, "PARSE_ERROR", "pdp", "finite"),
    ("pdp", b'{"context":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400, "PARSE_ERROR", "pdp", "deeper"),
    ("pdp", {"context": {}, "user_id": "u1"}, 400, "PARSE_ERROR", "pdp", "user_id"),
    ("pdp", {"context": "u1"}, 400, "INVALID_CONTEXT", "pdp", "an object"),
    ("pdp", {"context": {"targetingKey": True}}, 400, "INVALID_CONTEXT", "pdp", "context.targetingKey"),
    ("pdp", {"context": {"targetingKey": 1.5}}, 400, "INVALID_CONTEXT", "pdp", "context.targetingKey"),
    ("pdp", {"context": {"user_id": "u1", "targetingKey": []}}, 400, "INVALID_CONTEXT", "pdp", "context.targetingKey"),
    ("pdp", {"context": {str(n): n for n in range(65)}}, 400, "INVALID_CONTEXT", "pdp", "at most 64"),
    ("pdp", {"context": {"targetingKey": "u1", "a": "x" * 1_000_000}}, 413, "GENERAL", "pdp", "bytes"),
    ("pdpp", {}, 404, "FLAG_NOT_FOUND", "pdpp", "did you mean pdp?"),
    ("pdp.model", {}, 404, "FLAG_NOT_FOUND", "pdp.model", "evaluate pdp, an object, and read model in it"),
    ("", {}, 404, "FLAG_NOT_FOUND", "", "nothing"),
    ("a/b", {}, 404, "FLAG_NOT_FOUND", "a/b", "nothing"),
    ("x/pdp", {}, 404, "FLAG_NOT_FOUND", "x/pdp", "nothing"),
    ("a%2Fb", {}, 404, "FLAG_NOT_FOUND", "a/b", "nothing"),
    ("100%25", {}, 404, "FLAG_NOT_FOUND", "100%", "no flag"),
]


async def test_every_error_has_the_protocols_shape(start: Start) -> None:
    running = await start()
    for key, body, status, code, named, word in WRONG:
        reply = await running.post(f"{FLAGS}/{key}", body)
        shown = reply.json
        assert (reply.status, shown["key"], shown["errorCode"]) == (status, named, code), (key, reply.text)
        assert (word in shown["errorDetails"], shown["metadata"]) == (True, {}), reply.text
        assert shown.keys() == {"key", "errorCode", "errorDetails", "metadata"}
    assert running.spooled("exposure") == []


async def test_so_have_those_of_the_door(start: Start) -> None:
    running = await start()
    for method, path, headers, status, code in (
        ("GET", f"{FLAGS}/pdp", {}, 405, "GENERAL"),
        ("POST", "/ofrep/v1/configuration", {}, 404, "FLAG_NOT_FOUND"),
        ("POST", f"{FLAGS}/pdp", {"Content-Type": "text/plain"}, 415, "GENERAL"),
        ("POST", f"{FLAGS}/pdp", {"Origin": "https://shop.example"}, 403, "GENERAL"),
    ):
        async with running.http.request(method, running.url + path, data=b"{}", headers=headers) as response:
            shown = orjson.loads(await response.read())
            assert (response.status, shown["errorCode"], shown["metadata"]) == (status, code, {})
            assert response.content_type == "application/json"


async def test_before_the_first_snapshot_it_says_when_to_ask_again(start: Start) -> None:
    running = await start(published=None)
    for path in (FLAGS, f"{FLAGS}/pdp"):
        reply = await running.post(path, {"context": TREATED})
        assert (reply.status, reply.json["errorCode"], reply.headers["Retry-After"]) == (503, "GENERAL", "1")


def raw(running: Running, target: str, head: str = "") -> tuple[int, Any]:
    """Send a request line as it stands: client libraries tidy paths up."""
    with socket.create_connection(running.address, timeout=20) as wire:
        wire.sendall(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}".encode())
        wire.sendall(b"" if head else b"Content-Length: 2\r\n\r\n{}")
        answer = b""
        while more := wire.recv(65536):
            answer += more
    top, _, body = answer.partition(b"\r\n\r\n")
    return int(top.split()[1]), orjson.loads(body)


@pytest.mark.parametrize(
    ("target", "status", "key"),
    [
        ("//ofrep/v1/evaluate/flags/pdp", 200, "pdp"),
        (f"{FLAGS}/%70dp", 200, "pdp"),
        (f"{FLAGS}/pdp?a=b", 200, "pdp"),
        (f"{FLAGS}/home/../pdp", 404, None),
        (f"{FLAGS}/home%2F..%2Fpdp", 404, None),
        (f"{FLAGS}/..%2Fflags%2Fpdp", 404, None),
        (f"{FLAGS}//pdp", 404, "/pdp"),
        (f"{FLAGS}/pdp/", 404, "pdp/"),
        (f"{FLAGS}/pdp%00", 404, "pdp\0"),
    ],
)
async def test_a_key_is_decoded_and_no_trick_of_a_path_reaches_another_flag(
    start: Start, target: str, status: int, key: str | None
) -> None:
    running = await start()
    got, shown = await asyncio.to_thread(raw, running, target)
    assert got == status
    assert key is None or shown["key"] == key
    counted = f'abside_requests_total{{route="{FLAGS}/{{key}}",status="{status}"}}'
    assert (await running.metrics())[counted] == 1
    chunked = "Transfer-Encoding: chunked\r\nUpgrade: h2c\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert await asyncio.to_thread(raw, running, target, chunked) == (got, shown)


async def test_evaluation_may_be_no_exposure_until_it_is_used(start: Start) -> None:
    running = await start(ofrep_expose="off")
    metadata = (await evaluated(running, "pdp", TREATED))["metadata"]
    assert strings_only(metadata)
    assert running.spooled("exposure") == []
    body = {"event": "$exposure", "attributes": {"exposureToken": metadata["exposureToken"]}}
    for _ in range(2):
        assert (await running.post("/v1/track", body)).json == {"accepted": 1}
    assert len({one["event_id"] for one in running.spooled("exposure")}) == 1
    for attributes in ({}, {"exposureToken": "x"}, {"exposureToken": 7}, {**body["attributes"], "a": 1}):  # type: ignore[dict-item]
        reply = await running.post("/v1/track", {"event": "$exposure", "attributes": attributes})
        assert (reply.status, reply.json["path"].partition(".")[0]) == (422, "attributes")


async def test_all_flags_at_once_are_no_exposure_and_have_a_tag(start: Start, world: World) -> None:
    running = await start()
    reply = await running.post(FLAGS, {"context": TREATED})
    flags = {one["key"]: one for one in reply.json["flags"]}
    assert list(flags) == sorted(flags) == sorted(record.id for record in world.records)
    assert flags["pdp"]["value"] == RANKED
    assert flags["pdp"]["metadata"] == {f"experiment.{RERANKER}": "treatment"}
    assert (flags[RERANKER]["value"], "value" in flags["pdp-badge"]) == ("treatment", False)
    assert running.spooled("exposure") == []
    tag = reply.headers["ETag"]
    for given, status in (
        (tag, 304),
        (f"W/{tag}", 304),
        (f'"x", {tag}', 304),
        ("*", 304),
        ('"x"', 200),
        (tag.strip('"'), 200),
        ("", 200),
    ):
        again = await running.post(FLAGS, {"context": TREATED}, If_None_Match=given)
        assert (again.status, again.headers["ETag"]) == (status, tag)
        assert again.body == (reply.body if status == 200 else b"")
    other = await running.post(FLAGS, {"context": {"targetingKey": "u7603", "session_id": "s1", "country": "DE"}})
    assert other.headers["ETag"] != tag
    nobody = {one["key"]: one for one in (await running.post(FLAGS, b"")).json["flags"]}
    assert nobody[RERANKER].keys() == {"key", "errorCode", "errorDetails", "metadata"}
    assert nobody["pdp"]["value"] == BASE
    assert (await running.post(FLAGS, b"{")).json["errorCode"] == "PARSE_ERROR"
    assert (await running.post(FLAGS, {"context": {"targetingKey": True}})).json["errorCode"] == "INVALID_CONTEXT"


async def test_an_edit_that_changes_nothing_for_a_shopper_keeps_the_tag(
    start: Start, world: World, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start()
    before = (await running.post(FLAGS, {"context": TREATED})).headers["ETag"]
    old = running.sidecar.context.cell.current
    running.publish(world.snapshot(search_de={"owner": "somebody"}))
    await until(lambda: running.sidecar.context.cell.current is not old)
    assert (await running.post(FLAGS, {"context": TREATED})).headers["ETag"] == before
