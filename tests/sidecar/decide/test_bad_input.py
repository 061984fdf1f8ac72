"""One table: each wrong request has one clear answer, the process lives, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.serve.answer import Refusal
from abside.sidecar.decide import handlers, intake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.sidecar.conftest import Running

    Start = Callable[..., Awaitable[Running]]

MARKER = "shopper-4711"  # an id or a value of a shopper: never in an answer, never in a log line
DEADLINE_SECONDS = 20.0
CODES = {
    *("MALFORMED", "NO_UNIT", "UNKNOWN_PLACEMENT", "NOT_FOUND", "METHOD_NOT_ALLOWED", "TOO_LARGE", "TIMEOUT"),
    *("UNSUPPORTED_TYPE", "WRONG_TYPE", "UNKNOWN_FIELD", "INVALID_UNIT", "INVALID_EVENT", "NOT_READY", "SPOOL_FULL"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A wrong request, and what must come back. A body that is not bytes is sent as JSON."""

    body: Any
    status: int
    code: str
    says: dict[str, Any] = field(default_factory=dict)  # path, index
    words: str = ""
    path: str = "/v1/assign"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def nested(levels: int) -> bytes:
    """Return a body whose JSON is so many levels deep."""
    inside = levels - 2
    head = b'{"placement":"pdp","user_id":"u1","attributes":{"a":'
    return head + b"[" * inside + b"1" + b"]" * inside + b"}}"


def shopper(**fields: Any) -> dict[str, Any]:
    return {"placement": "pdp", "user_id": MARKER, "attributes": {"country": MARKER}, **fields}


def at(path: str) -> dict[str, Any]:
    return {"path": path}


# A click in camelCase, an event of Segment, a request of Google Analytics 4.
SHAPES = """
[{"type": "click", "userId": "u1", "item_id": "i"},
 {"type": "track", "event": "Product Added", "userId": "u1", "anonymousId": "a1", "messageId": "m1",
  "timestamp": "2026-11-29T01:00:00Z", "properties": {"product_id": "p1", "price": 9.5, "quantity": 1}},
 {"client_id": "1.2", "events": [{"name": "add_to_cart", "params": {"currency": "EUR", "value": 9.5,
  "items": [{"item_id": "SKU"}]}}]}]
"""
EVENT = {"type": "click", "user_id": MARKER, "item_id": "a"}
ASSIGN: list[Case] = [
    Case(b"", 400, "MALFORMED", words="the body is empty"),
    Case(b"{", 400, "MALFORMED", words="line 1 column"),
    Case(b'{"placement":"pdp","user_id":"' + MARKER.encode(), 400, "MALFORMED"),
    Case(b'{"placement":"pdp",}', 400, "MALFORMED"),
    Case(b"{'placement':'pdp'}", 400, "MALFORMED"),
    Case(b"placement=pdp&user_id=" + MARKER.encode(), 400, "MALFORMED"),
    Case(b"<html></html>", 400, "MALFORMED"),
    Case(b"\xff\xfe{\x00}\x00", 400, "MALFORMED", words="UTF-16 or UTF-32; send UTF-8"),
    Case('{"placement":"pdp"}'.encode("utf-16-be"), 400, "MALFORMED", words="UTF-16 or UTF-32; send UTF-8"),
    Case('{"placement":"pdp"}'.encode("utf-32"), 400, "MALFORMED", words="UTF-16 or UTF-32; send UTF-8"),
    Case(
        '{"placement":"Möbel"}'.encode("latin-1"), 400, "MALFORMED", words="byte 15 is not UTF-8, the text is perhaps"
    ),
    Case(b'\xef\xbb\xbf{"placement":"pdp"}', 400, "MALFORMED", words="a byte order mark; send UTF-8 without one"),
    Case(b'{"placement":"pdp","user_id":"\xed\xa0\x80"}', 400, "MALFORMED"),
    Case(b'{"placement":"pdp","user_id":"u1","attributes":{"a":NaN}}', 400, "MALFORMED", words="must be finite"),
    Case(b'{"placement":"pdp","user_id":"u1","attributes":{"a":Infinity}}', 400, "MALFORMED", words="no JSON"),
    Case(b'{"placement":"pdp","user_id":"u1","attributes":{"a":-Infinity}}', 400, "MALFORMED", words="no JSON"),
    Case(b'{"placement":"pdp","user_id":"u1","attributes":{"a":1e999}}', 400, "MALFORMED", words="must be finite"),
    Case(b'{"placement":"pdp","user_id":"\\ud800x"}', 422, "INVALID_UNIT", at("user_id"), words="lone surrogate"),
    Case(b'{"placement":"pdp","session_id":"\\udfff"}', 422, "INVALID_UNIT", at("session_id")),
    Case(b'{"placement":"pdp","user_id":"u1","attributes":{"a":"\\ud800"}}', 400, "MALFORMED", words="lone surrogate"),
    Case(b'{"placement":"\\ud800","user_id":"u1"}', 400, "MALFORMED", words="lone surrogate"),
    Case(b'{"\\ud800":1}', 400, "MALFORMED"),
    Case(nested(33), 400, "MALFORMED", words="deeper than 32"),
    Case(nested(1000), 400, "MALFORMED"),
    Case(nested(10_000), 400, "MALFORMED"),
    Case(b'{"a":"\\u0041",' + nested(10_000)[1:], 400, "MALFORMED"),
    Case([], 422, "WRONG_TYPE", words="must be an object, not a list"),
    Case(None, 422, "WRONG_TYPE", words="not null"),
    Case("pdp", 422, "WRONG_TYPE"),
    Case(7, 422, "WRONG_TYPE"),
    Case({"user_id": MARKER}, 422, "WRONG_TYPE", at("placement"), words="is required"),
    Case(shopper(placement=None), 422, "WRONG_TYPE", at("placement")),
    Case(shopper(placement=7), 422, "WRONG_TYPE", at("placement"), words="must be a string, not a number"),
    Case(shopper(placement=["pdp"]), 422, "WRONG_TYPE", at("placement")),
    Case(shopper(placement=""), 404, "UNKNOWN_PLACEMENT", at("placement")),
    Case(shopper(placement="pdb"), 404, "UNKNOWN_PLACEMENT", at("placement"), words="did you mean pdp?"),
    Case(shopper(placement="feed-ramp"), 404, "UNKNOWN_PLACEMENT", at("placement"), words="an experiment: ask for its"),
    Case(shopper(placement="checkout"), 404, "UNKNOWN_PLACEMENT", at("placement"), words="add it to the documents"),
    Case(shopper(placement="p" * 60_000), 404, "UNKNOWN_PLACEMENT", at("placement")),
    Case(shopper(placements=["pdp"]), 422, "WRONG_TYPE", at("placements"), words="not both"),
    Case({"placements": [], "user_id": MARKER, "expose": True}, 422, "WRONG_TYPE", at("placements")),
    Case({"placements": "pdp", "user_id": MARKER, "expose": True}, 422, "WRONG_TYPE", at("placements")),
    Case({"placements": None, "user_id": MARKER, "expose": True}, 422, "WRONG_TYPE", at("placement")),
    Case({"placements": ["pdp"], "user_id": MARKER, "expose": None}, 422, "WRONG_TYPE", at("expose")),
    Case({"placements": ["pdp", 7], "user_id": MARKER, "expose": True}, 422, "WRONG_TYPE", at("placements[1]")),
    Case({"placements": ["pdp"] * 33, "user_id": MARKER, "expose": True}, 413, "TOO_LARGE", at("placements")),
    Case({"placements": ["pdp", "pdb"], "user_id": MARKER, "expose": True}, 404, "UNKNOWN_PLACEMENT", at("placements")),
    Case({"placement": "pdp"}, 400, "NO_UNIT", words="user_id nor session_id"),
    Case({"placement": "pdp", "user_id": None, "session_id": ""}, 400, "NO_UNIT"),
    Case({"placement": "pdp", "user_id": "guest"}, 400, "NO_UNIT"),
    Case({"placement": "pdp", "user_id": "0", "session_id": "undefined"}, 400, "NO_UNIT"),
    Case({"placement": "pdp", "user_id": 0}, 400, "NO_UNIT"),
    Case(shopper(user_id=MARKER * 25), 422, "INVALID_UNIT", at("user_id"), words="300 bytes"),
    Case(shopper(session_id="é" * 129), 422, "INVALID_UNIT", at("session_id"), words="258 bytes"),
    Case(shopper(user_id=True), 422, "INVALID_UNIT", at("user_id"), words="got a boolean"),
    Case(shopper(user_id=1.5), 422, "INVALID_UNIT", at("user_id"), words="got a float"),
    Case(shopper(user_id=[MARKER]), 422, "INVALID_UNIT", at("user_id"), words="got a list"),
    Case(shopper(session_id={"id": MARKER}), 422, "INVALID_UNIT", at("session_id"), words="got an object"),
    Case(b'{"placement":"pdp","user_id":18446744073709551616}', 422, "INVALID_UNIT", at("user_id"), words="64 bits"),
    Case(b'{"placement":"pdp","user_id":-9223372036854775809}', 422, "INVALID_UNIT", at("user_id"), words="64 bits"),
    Case(b'{"placement":"pdp","user_id":1' + b"0" * 5000 + b"}", 400, "MALFORMED", words="send a long id as a string"),
    Case(shopper(attributes=[MARKER]), 422, "WRONG_TYPE", at("attributes"), words="must be an object, not a list"),
    Case(shopper(attributes=MARKER), 422, "WRONG_TYPE", at("attributes")),
    Case(
        shopper(attributes={f"a{n}": MARKER for n in range(65)}), 413, "TOO_LARGE", at("attributes"), words="at most 64"
    ),
    Case(shopper(expose=1), 422, "WRONG_TYPE", at("expose"), words="true or false"),
    Case(shopper(expose="yes"), 422, "WRONG_TYPE", at("expose")),
    Case(shopper(bot="true"), 422, "WRONG_TYPE", at("bot")),
    Case(shopper(force={"pdp-rank-2026-11": "treatment"}), 422, "UNKNOWN_FIELD", at("force")),
    Case(shopper(userid=MARKER), 422, "UNKNOWN_FIELD", at("userid"), words="did you mean user_id?"),
    Case({"placement": "pdp", "userId": MARKER}, 422, "UNKNOWN_FIELD", at("userId"), words="did you mean user_id?"),
    Case(
        {"placement": "pdp", "anonymousId": MARKER, "context": {"country": MARKER}},
        *(422, "UNKNOWN_FIELD", at("anonymousId"), "did you mean session_id? Also context → attributes"),
    ),
    Case(shopper(colour="red"), 422, "UNKNOWN_FIELD", at("colour"), words="there is attributes, bot"),
    Case(shopper(**{"n" * 60_000: 1}), 422, "UNKNOWN_FIELD", at("n" * 64)),
    Case(shopper(note="x" * 70_000), 413, "TOO_LARGE", words="65,536 bytes"),
    Case(shopper(), 415, "UNSUPPORTED_TYPE", words="application/json", headers={"Content-Type": "text/plain"}),
    Case(
        shopper(),
        415,
        "UNSUPPORTED_TYPE",
        words="it came as application/x-www-form-urlencoded; add the header Content-Type: application/json",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    Case(shopper(), 415, "UNSUPPORTED_TYPE", words="as another type;", headers={"Content-Type": "a/" + "b" * 100}),
    Case(shopper(), 415, "UNSUPPORTED_TYPE", headers={"Content-Type": "application/jsonp"}),
    Case(shopper(), 415, "UNSUPPORTED_TYPE", headers={"Content-Type": "no type at all"}),
    Case(b"\x1f\x8bgarbage", 400, "MALFORMED", headers={"Content-Encoding": "gzip"}),
    Case(shopper(), 405, "METHOD_NOT_ALLOWED", words="takes POST", method="PUT"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", method="GET"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", method="DELETE"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", method="PROPFIND"),
    Case(b"", 400, "MALFORMED", method="BREW"),
]
EXPLAIN = [
    Case(shopper(placement="pdb"), 404, "UNKNOWN_PLACEMENT", at("placement"), path="/v1/explain"),
    Case(shopper(user_id=MARKER * 25), 422, "INVALID_UNIT", at("user_id"), path="/v1/explain"),
    Case(shopper(note="x" * 70_000), 413, "TOO_LARGE", path="/v1/explain"),
]
EVENTS: list[Case] = [
    Case(body, status, code, says, words, path="/v1/events")
    for body, status, code, says, words in [
        (b"", 400, "MALFORMED", {}, "empty"),
        (b"[", 400, "MALFORMED", {}, ""),
        (7, 422, "WRONG_TYPE", {}, "an event must be an object"),
        ([EVENT, 7], 422, "WRONG_TYPE", {"index": 1}, ""),
        ([EVENT, [EVENT]], 422, "WRONG_TYPE", {"index": 1}, "not a list"),
        ({}, 400, "NO_UNIT", {}, ""),
        ({"type": "click"}, 400, "NO_UNIT", {}, ""),
        ({"type": "click", "userId": MARKER}, 422, "UNKNOWN_FIELD", at("userId"), "did you mean user_id?"),
        ([EVENT, {"type": "click", "anonymousId": MARKER}], 422, "UNKNOWN_FIELD", {"index": 1}, "mean session_id?"),
        ({"type": "click", "user_id": "guest", "userId": "x"}, 400, "NO_UNIT", {}, ""),
        *(
            (shape, 422, "UNKNOWN_FIELD", at(path), words)
            for shape, (path, words) in zip(
                orjson.loads(SHAPES),
                [("userId", "user_id?"), ("userId", "Also event → type"), ("events", "[{…}, …]")],
                strict=True,
            )
        ),
        ({"batch": [EVENT]}, 422, "UNKNOWN_FIELD", at("batch"), "send the list itself"),
        ({**EVENT, "type": "add_to_cart", "quantity": 0}, 422, "INVALID_EVENT", at("quantity"), "1 or more"),
        (
            {**EVENT, "type": "purchase", "value": -9.5, "currency": "EUR"},
            *(422, "INVALID_EVENT", at("value"), "for example refund"),
        ),
        ({**EVENT, "ts": 1_795_424_400}, 422, "INVALID_EVENT", at("ts"), "looks like seconds"),
        ({**EVENT, "ts": 1_795_424_400_000}, 422, "INVALID_EVENT", at("ts"), "looks like milliseconds"),
        ({**EVENT, "ts": 1_795_424_400_000_000_000}, 422, "INVALID_EVENT", at("ts"), "looks like nanoseconds"),
        (b"\xef\xbb\xbf[]", 400, "MALFORMED", {}, "byte order mark"),
        ([EVENT, {"type": "click", "user_id": "guest"}], 400, "NO_UNIT", {"index": 1}, ""),
        ({"user_id": MARKER}, 422, "INVALID_EVENT", at("type"), ""),
        (
            [EVENT, EVENT, {**EVENT, "type": "Product Added"}],
            *(422, "INVALID_EVENT", {"path": "type", "index": 2}, "'Product Added' must be a name"),
        ),
        ({**EVENT, "type": "Product Added"}, 422, "INVALID_EVENT", at("type"), "digits and _; write product_added"),
        ({**EVENT, "type": "addToCart"}, 422, "INVALID_EVENT", at("type"), "write add_to_cart"),
        ({**EVENT, "type": "!"}, 422, "INVALID_EVENT", at("type"), "for example add_to_cart"),
        ({**EVENT, "type": 5}, 422, "INVALID_EVENT", at("type"), "not a number"),
        (
            {"event": "click", "user_id": MARKER, "sku": MARKER},
            *(422, "INVALID_EVENT", at("type"), "is missing; event is not a field here, did you mean type?"),
        ),
        ({"user_id": "u1", "eventName": "click"}, 422, "INVALID_EVENT", at("type"), "eventName is not a field here"),
        (
            {"client_id": MARKER, "user_id": MARKER, "events": [{"name": "purchase"}]},
            *(422, "UNKNOWN_FIELD", at("events"), "send the list itself"),
        ),
        ({**EVENT, "type": "add_to_cart", "quantity": 1.5}, 422, "WRONG_TYPE", at("quantity"), "not a fraction"),
        ({**EVENT, "type": "add_to_cart", "quantity": 2.0}, 422, "WRONG_TYPE", at("quantity"), "decimal point"),
        ('{“type”: "click"}'.encode(), 400, "MALFORMED", {}, "column 2: a curly quote (U+201C)"),
        ('{"é": “click”}'.encode(), 400, "MALFORMED", {}, "a curly quote (U+201C)"),
        (b"{'type': 'click'}", 400, "MALFORMED", {}, "a single quote"),
        (b'{"type": "click", }', 400, "MALFORMED", {}, "a comma before the closing bracket"),
        (b'[{"type": "click"},\n]', 400, "MALFORMED", {}, "a comma before the closing bracket"),
        (b'{"type": "click"}\n{"type": "click"}', 400, "MALFORMED", {}, "send one, of several events a list"),
        ({**EVENT, "type": "exposure"}, 422, "INVALID_EVENT", at("type"), "written by the sidecar itself"),
        ({**EVENT, "user_id": 1.5}, 422, "INVALID_UNIT", at("user_id"), ""),
        ([EVENT, {**EVENT, "session_id": MARKER * 25}], 422, "INVALID_UNIT", {"path": "session_id", "index": 1}, ""),
        ({**EVENT, "postion": 1}, 422, "UNKNOWN_FIELD", at("postion"), "did you mean position?"),
        ([EVENT, {**EVENT, "variant": MARKER}], 422, "UNKNOWN_FIELD", {"path": "variant", "index": 1}, ""),
        ({**EVENT, "item_id": [MARKER]}, 422, "WRONG_TYPE", at("item_id"), ""),
        ({**EVENT, "item_id": MARKER * 25}, 422, "INVALID_EVENT", at("item_id"), "not 300"),
        ({**EVENT, "type": "purchase", "value": 1, "item_id": MARKER}, 422, "INVALID_EVENT", at("currency"), ""),
        ({**EVENT, "ts": 1}, 422, "INVALID_EVENT", at("ts"), "older than 7 days"),
        ([EVENT, {**EVENT, "ts": MARKER}], 422, "INVALID_EVENT", {"path": "ts", "index": 1}, "RFC 3339"),
        (b'{"type":"click","user_id":"\\ud800"}', 422, "INVALID_UNIT", at("user_id"), ""),
        (
            b'[{"type":"click","user_id":"u"},{"type":"click","session_id":"\\ud800"}]',
            422,
            "INVALID_UNIT",
            {"index": 1},
            "",
        ),
        (b'{"type":"click","user_id":"u1","item_id":"\\ud800"}', 400, "MALFORMED", {}, "lone surrogate"),
        (b'{"type":"click","user_id":"u1","position":NaN}', 400, "MALFORMED", {}, ""),
        (b'{"type":"view","user_id":"u1","value":1e400}', 400, "MALFORMED", {}, ""),
        (b'{"type":"click","user_id":18446744073709551616}', 422, "INVALID_UNIT", at("user_id"), ""),
        (
            b'{"type":"click","user_id":"u1","item_id":18446744073709551616}',
            422,
            "WRONG_TYPE",
            at("item_id"),
            "64 bits",
        ),
        (b'{"type":"view","user_id":"u1","properties":' + b"[" * 9 + b"]" * 9 + b"}", 400, "MALFORMED", {}, "deeper"),
        (
            [{**EVENT, "event_id": f"e{n}"} for n in range(1001)],
            413,
            "TOO_LARGE",
            {},
            "1,001 events; a request takes at most 1,000",
        ),
        (b'[{"type":"click","user_id":"u1","item_id":"' + b"x" * 4_200_000 + b'"}]', 413, "TOO_LARGE", {}, "4,194,304"),
        (
            [EVENT, {"type": "view", "user_id": MARKER, "properties": {str(n): "x" * 2000 for n in range(40)}}],
            *(422, "INVALID_EVENT", {"index": 1}, "at most 65,536"),
        ),
        (
            {"type": "view", "user_id": MARKER, "properties": {"a": "x" * 70_000}},
            422,
            "INVALID_EVENT",
            {},
            "at most 65,536",
        ),
        ({**EVENT, "n" * 3_000_000: 1}, 422, "UNKNOWN_FIELD", at("n" * 64), ""),
    ]
]
EXPOSURES: list[Case] = [
    Case(body, status, code, says, words, path="/v1/exposures")
    for body, status, code, says, words in [
        (b"", 400, "MALFORMED", {}, ""),
        ({}, 422, "WRONG_TYPE", {}, "exposure_token"),
        ("token", 422, "WRONG_TYPE", {}, ""),
        ([{"exposure_token": "x"}, 7], 422, "WRONG_TYPE", {"index": 1}, ""),
        ({"exposure_token": None}, 422, "WRONG_TYPE", at("exposure_token"), "without assignments has none to post"),
        ({"exposure_token": 7}, 422, "WRONG_TYPE", at("exposure_token"), ""),
        ({"exposureToken": "x"}, 422, "UNKNOWN_FIELD", at("exposureToken"), "did you mean exposure_token?"),
        ({"events": [{"exposure_token": "x"}]}, 422, "UNKNOWN_FIELD", at("events"), "send the list itself"),
        ({"exposure_token": "x", "bot": True}, 422, "UNKNOWN_FIELD", at("bot"), ""),
        ({"exposure_token": "x", "n" * 3_000_000: 1}, 422, "UNKNOWN_FIELD", at("n" * 64), ""),
        ({"exposure_token": MARKER}, 422, "INVALID_EVENT", at("exposure_token"), "as it came"),
        ({"exposure_token": ""}, 422, "INVALID_EVENT", at("exposure_token"), ""),
        ({"exposure_token": "é"}, 422, "INVALID_EVENT", at("exposure_token"), ""),
        ({"exposure_token": "A" * 200_000}, 422, "INVALID_EVENT", at("exposure_token"), "at most"),
        ({"exposure_token": ["A"] * 1001}, 413, "TOO_LARGE", {}, ""),
        ([{"exposure_token": "A"}] * 1001, 413, "TOO_LARGE", {}, ""),
    ]
]
ROUTES: list[Case] = [
    Case(b"", 404, "NOT_FOUND", path="/v1", method="GET", words="/v1/assign"),
    Case(shopper(), 404, "NOT_FOUND", path="/v1/assing"),
    Case(shopper(), 404, "NOT_FOUND", path="/v2/assign"),
    Case(shopper(), 404, "NOT_FOUND", path="/v1/assign/"),
    Case(b"", 404, "NOT_FOUND", path=f"/users/{MARKER}", method="GET"),
    Case(b"", 404, "NOT_FOUND", path="/metrics", method="GET"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", path="/v1/status", method="POST", words="takes GET"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", path="/", method="POST", words="takes GET"),
    Case(b"", 405, "METHOD_NOT_ALLOWED", path="/v1/events", method="GET", words="takes POST"),
]


def check_problem(status: int, headers: Any, body: bytes, case: Case) -> None:
    """Check the shape of a problem document, and that it does not contain what it must not."""
    assert status == case.status, body
    assert headers["Content-Type"] == "application/problem+json"
    problem = orjson.loads(body)
    assert list(problem)[:5] == ["type", "title", "status", "detail", "code"]
    assert problem["status"] == status
    assert problem["code"] == case.code in CODES
    assert {name: problem.get(name) for name in case.says} == case.says, problem
    assert problem.keys() - {"type", "title", "status", "detail", "code"} <= {"path", "index"}
    assert case.words in problem["detail"], problem
    text = body.decode()
    assert MARKER not in text
    assert "Traceback" not in text
    assert "<" not in text
    assert len(text) < 1000
    assert ("Allow" in headers) == (status == 405)


@pytest.mark.parametrize("name", ["ASSIGN", "EXPLAIN", "EVENTS", "EXPOSURES", "ROUTES"])
async def test_each_wrong_request_has_one_clear_answer_and_leaves_no_trace(
    start: Start, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.DEBUG)
    running = await start()
    await running.assign(placement="pdp", user_id="u1")
    before, status = running.spooled(), await running.status()
    for case in globals()[name]:
        data = case.body if isinstance(case.body, bytes) else orjson.dumps(case.body)
        sending = running.http.request(
            case.method,
            running.url + case.path,
            data=BytesIO(data),
            headers={"Content-Length": str(len(data)), **case.headers},
            skip_auto_headers=["Content-Type"],
        )
        async with sending as response:
            check_problem(response.status, response.headers, await response.read(), case)
    after = await running.status()
    assert running.spooled() == before
    assert (after["events"], after["spool"]) == (status["events"], status["spool"])
    assert after["degraded_tasks"] == {}
    assert (await running.assign(placement="pdp", user_id="u1"))["assignments"]
    assert MARKER not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []


async def test_the_bounds_themselves_are_taken(start: Start) -> None:
    running = await start()
    attributes = {f"a{number}": number for number in range(64)}
    assert (
        await running.post("/v1/assign", {"placement": "pdp", "user_id": "u1", "attributes": attributes})
    ).status == 200
    assert (await running.post("/v1/assign", nested(32))).status == 200
    names = ["pdp", "home", "search", "newsfeed"] * 8
    assert (await running.post("/v1/assign", {"placements": names, "user_id": "u1", "expose": True})).status == 200
    listed = [{"type": "click", "user_id": "u1"}] * 1000
    assert (await running.post("/v1/events", listed)).json == {"accepted": 1000}
    assert (await running.post("/v1/events", [])).json == {"accepted": 0}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
    ],
)
async def test_json_is_assumed_when_no_type_is_given(start: Start, headers: dict[str, str]) -> None:
    running = await start()
    body = b'{"placement":"pdp","user_id":"u1"}'
    sending = running.http.post(
        running.url + "/v1/assign", data=body, headers=headers, skip_auto_headers=["Content-Type"]
    )
    async with sending as response:
        assert response.status == 200


HEAD = b"POST /v1/assign HTTP/1.1\r\nHost: x\r\n"
WIRE: list[tuple[str, bytes, int | None, str]] = [  # None: closed without an answer
    (
        "a TLS greeting",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" + bytes(range(128, 255)) + b"\r\n\r\n",
        400,
        "MALFORMED",
    ),
    ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n", 400, "MALFORMED"),
    ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "MALFORMED"),
    ("no version", b"POST /v1/assign\r\n\r\n", 400, "MALFORMED"),
    ("two lengths", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}", 400, "MALFORMED"),
    ("a negative length", HEAD + b"Content-Length: -5\r\n\r\n", 400, "MALFORMED"),
    (
        "a length and chunks",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "MALFORMED",
    ),
    ("chunks that are none", HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n", 400, "MALFORMED"),
    ("a header without a colon", HEAD + MARKER.encode() + b"\r\n\r\n", 400, "MALFORMED"),
    ("too many headers", HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n", 400, "MALFORMED"),
    ("a huge header", HEAD + b"X: " + b"a" * 100_000 + b"\r\n\r\n", 400, "MALFORMED"),
    ("a huge path", b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "MALFORMED"),
    ("a body too large", HEAD + b"Content-Length: 5000000\r\n\r\n" + b"x" * 5_000_000, 413, "TOO_LARGE"),
    (
        "chunks too large",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 99,
        413,
        "TOO_LARGE",
    ),
    ("half a head", b"POST /v1/assign HTTP/1.1\r\nHost: " + MARKER.encode(), None, ""),
    ("nothing", b"", None, ""),
    (
        "half a body",
        HEAD + b'Content-Length: 99\r\n\r\n{"placement":"pdp","user_id":"' + MARKER.encode(),
        408,
        "TIMEOUT",
    ),
    ("half a chunk", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1F\r\n{", 408, "TIMEOUT"),
    (
        "half a body nobody wants",
        b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
        404,
        "NOT_FOUND",
    ),
]


@pytest.mark.parametrize(("sent", "status", "code"), [row[1:] for row in WIRE], ids=[row[0] for row in WIRE])
async def test_what_is_not_a_whole_request_is_answered_or_closed_within_its_bound(
    start: Start, caplog: pytest.LogCaptureFixture, sent: bytes, status: int | None, code: str
) -> None:
    caplog.set_level(logging.DEBUG)
    running = await start(body_seconds=0.1, header_seconds=0.1)
    before = running.spooled()
    reader, writer = await asyncio.open_connection(*running.address)
    async with asyncio.timeout(DEADLINE_SECONDS):
        writer.write(sent)
        answer = await reader.read()  # to its end: the sidecar closes
    writer.close()
    await writer.wait_closed()
    if status is None:
        assert answer == b""
    else:
        head, _, body = answer.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        assert line.split()[1] == str(status)
        headers = dict(one.split(": ", 1) for one in lines)
        assert int(headers["Content-Length"]) == len(body)
        check_problem(status, headers, body, Case(None, status, code))
    assert running.spooled() == before
    assert (await running.assign(placement="pdp", user_id="u1"))["assignments"]
    assert MARKER not in caplog.text
    assert [record for record in caplog.records if record.levelno > logging.WARNING or record.exc_info] == []


async def test_one_connection_too_many_is_served_and_who_said_nothing_gives_way(
    start: Start, until: Callable[..., Awaitable[None]]
) -> None:
    running = await start(max_connections=2)
    held = [await asyncio.open_connection(*running.address) for _ in range(2)]
    await until(lambda: running.sidecar.decisions.open_connections == 2)
    assert (await running.assign(placement="pdp", user_id="u1"))["assignments"]
    await until(lambda: running.sidecar.decisions.crowd.gave_way == 1)
    await until(lambda: any(reader.at_eof() for reader, _ in held))
    assert not all(reader.at_eof() for reader, _ in held)
    for _, holding in held:
        holding.close()
    assert (await running.assign(placement="pdp", user_id="u1"))["assignments"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("placement", "placements", "user_id", "session_id", "attributes", "expose", "pinned_unit", "force", "bot")
bodies = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FIELDS, json_values),
        **dict.fromkeys(("type", "item_id", "properties", "ts", "exposure_token", "event_id"), json_values),
    },
)


async def test_no_json_makes_a_handler_raise_anything_but_a_refusal(start: Start) -> None:
    running = await start(allow_force=True)
    context = running.sidecar.context

    @settings(deadline=None, max_examples=cases(75), suppress_health_check=[HealthCheck.too_slow])
    @given(bodies | json_values | st.lists(bodies, max_size=3))
    def holds(body: Any) -> None:
        data = orjson.dumps(body)
        for handle in (handlers.assign, handlers.explain, intake.events, intake.exposures):
            try:
                assert isinstance(orjson.loads(handle(context, data)), dict)
            except Refusal as refusal:
                assert refusal.code in CODES  # noqa: PT017 either outcome is right, another code is not

    holds()


async def test_no_bytes_make_a_handler_raise_anything_but_a_refusal(start: Start) -> None:
    running = await start()
    context = running.sidecar.context

    @settings(deadline=None, max_examples=cases(100))
    @given(
        st.binary(max_size=64)
        | st.text(st.characters(), max_size=16).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    def holds(body: bytes) -> None:
        for handle in (handlers.assign, intake.events, intake.exposures):
            try:
                handle(context, body)
            except Refusal as refusal:
                assert refusal.code in CODES  # noqa: PT017 as above

    holds()
