from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from abside.event import MAX_EVENT_BYTES, EventIds, encode
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell
from abside.sidecar.decide import intake
from abside.sidecar.decide.handlers import HandlerContext
from abside.sidecar.decide.request import Rules
from abside.sidecar.record.accounts import Accounts
from abside.sidecar.record.journal import Journal
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.sidecar.conftest import Running

    from abside.event import EventMap

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_424_400_000_000
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
DAY_US = 86_400_000_000
EVENTS: list[dict[str, Any]] = [
    {"type": "impression", "placement": "pdp", "items": ["a", "b"], "exposure_id": None},
    {"type": "click", "item_id": "a", "position": 0},
    {"type": "add_to_cart", "item_id": "a", "value": 19.99, "currency": "EUR"},
    {"type": "purchase", "order_id": "o-1", "value": 19.99, "currency": "EUR"},
    {"type": "page_view", "page_type": "pdp", "page_load_ms": 90},
    {"type": "wishlist", "value": 1, "properties": {"list": "gifts"}},
]


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[HandlerContext]:
    """What the handlers work with, at a time of the test's own."""
    spool = Spool.open(SpoolSettings(tmp_path / "spool"), "b00t", lambda: NOW_US)
    cell = Cell()
    journal = Journal(spool, Accounts("b00t", {}), EventIds("b00t"), lambda: NOW_US)
    yield HandlerContext(cell, journal, Configs(journal, {}), Rules(), lambda: NOW_US)
    await spool.close()


async def test_every_type_is_taken_and_stands_on_disk_before_the_answer(start: Start) -> None:
    running = await start()
    for one in EVENTS:
        reply = await running.post("/v1/events", {**one, "user_id": "u1", "session_id": 7})
        assert (reply.status, reply.json) == (202, {"accepted": 1})
        stored = running.spooled()[-1]
        assert stored["type"] == one["type"]
        assert (stored["user_id"], stored["session_id"]) == ("u1", "7")
        assert {name: stored[name] for name in one if one[name] is not None} == {
            name: value for name, value in one.items() if value is not None
        }
    reply = await running.post("/v1/events", [{**one, "session_id": "s1"} for one in EVENTS])
    assert reply.json == {"accepted": len(EVENTS)}
    assert [one["type"] for one in running.spooled()[-len(EVENTS) :]] == [one["type"] for one in EVENTS]
    ids = [one["event_id"] for one in running.spooled()]
    assert len(set(ids)) == len(ids)


async def test_events_need_no_snapshot_while_assign_says_not_ready(start: Start) -> None:
    running = await start(published=None)
    reply = await running.post("/v1/events", {**EVENTS[2], "user_id": "u1"})
    assert reply.status == 202
    assert [one["type"] for one in running.spooled()] == ["add_to_cart"]
    assert running.spooled()[0]["quantity"] == 1
    reply = await running.post("/v1/assign", {"placement": "pdp", "user_id": "u1"})
    assert (reply.status, reply.json["code"], reply.headers["Retry-After"]) == (503, "NOT_READY", "1")
    reply = await running.post("/v1/assign", {"placement": 7, "user_id": "u1"})
    assert reply.status == 422  # a wrong request is wrong at any time


async def test_one_bad_event_refuses_the_whole_list_and_is_named_by_index(start: Start) -> None:
    running = await start()
    before = running.spooled()
    good = {**EVENTS[1], "user_id": "u1"}
    for bad, code in (
        ({**good, "type": "exposure"}, "INVALID_EVENT"),
        ({**good, "postion": 1}, "UNKNOWN_FIELD"),
        ({**good, "user_id": 1.5}, "INVALID_UNIT"),
        ({**good, "user_id": None}, "NO_UNIT"),
    ):
        for index in (0, 1, 2):
            listed = [good, good]
            listed.insert(index, bad)
            reply = await running.post("/v1/events", listed)
            assert (reply.json["code"], reply.json["index"]) == (code, index)
        alone = await running.post("/v1/events", bad)
        assert alone.json["code"] == code
        assert "index" not in alone.json
    assert running.spooled() == before


async def test_the_callers_event_id_is_kept_so_that_its_retry_is_harmless(start: Start) -> None:
    running = await start()
    for _ in range(2):
        await running.post("/v1/events", {**EVENTS[1], "user_id": "u1", "event_id": "mine-1"})
    assert [one["event_id"] for one in running.spooled("click")] == ["mine-1", "mine-1"]


@pytest.mark.parametrize(
    ("given", "stored_us"),
    [
        (NOW_US - 1, NOW_US - 1),
        (NOW_US + 3_600_000_000, NOW_US),
        ("2026-11-23T09:59:59.5+01:00", NOW_US - 500_000),
        ("2027-01-01T00:00:00Z", NOW_US),
        (NOW_US - 7 * DAY_US, NOW_US - 7 * DAY_US),
        (None, NOW_US),
    ],
)
async def test_the_time_is_the_callers_and_the_clock_says_when_it_was_seen(
    context: HandlerContext, tmp_path: Path, read_spool: Callable[[Path], list[EventMap]], given: Any, stored_us: int
) -> None:
    body = orjson.dumps({**EVENTS[1], "user_id": "u1", "ts": given})
    assert orjson.loads(intake.events(context, body)) == {"accepted": 1}
    (stored,) = read_spool(tmp_path / "spool")
    assert (stored["ts"], stored["seen_ts"]) == (stored_us, NOW_US)


async def test_older_than_seven_days_is_refused(context: HandlerContext) -> None:
    for given in (NOW_US - 7 * DAY_US - 1, (NOW - timedelta(days=7, seconds=1)).isoformat()):
        with pytest.raises(Refusal) as refused:
            intake.events(context, orjson.dumps({**EVENTS[1], "user_id": "u1", "ts": given}))
        assert (refused.value.status, refused.value.code, refused.value.path) == (422, "INVALID_EVENT", "ts")


async def test_made_up_types_are_counted_together_beyond_a_bound(start: Start) -> None:
    running = await start()
    listed = [{"type": f"made_up_{number}", "user_id": "u1"} for number in range(900)]
    assert (await running.post("/v1/events", listed)).status == 202
    accepted = (await running.status())["events"]["accepted"]
    assert len(accepted) <= 101
    assert sum(accepted.values()) == 901  # with the config event
    assert accepted["other_types"] > 700
    await running.post("/v1/events", {**EVENTS[1], "user_id": "u1"})
    assert (await running.status())["events"]["accepted"]["click"] == 1  # those with a name of their own always count


async def test_with_fsync_always_an_event_is_durable_before_its_answer(start: Start) -> None:
    running = await start(fsync="always")
    reply = await running.post("/v1/events", {**EVENTS[1], "user_id": "u1"})
    spool = running.sidecar.spool
    assert (reply.status, spool._durable) == (202, spool.stats.appended_bytes)


async def test_with_fsync_always_and_a_disk_that_fails_the_refusal_says_that_it_may_be_stored(start: Start) -> None:
    running = await start(fsync="always")
    spool = running.sidecar.spool
    event = {**EVENTS[1], "user_id": "u1", "event_id": "mine"}
    await running.post("/v1/events", {**EVENTS[1], "user_id": "u1"})
    assert spool._open is not None
    handle = spool._open.handle
    kept, (pipe, far) = os.dup(handle), os.pipe()
    os.dup2(far, handle)  # a pipe cannot be synced
    reply = await running.post("/v1/events", event)
    os.dup2(kept, handle)
    for one in (kept, pipe, far):
        os.close(one)
    assert (reply.status, reply.json["code"]) == (503, "SPOOL_FULL")
    assert "may be stored all the same: retry with the same event_id" in reply.json["detail"]


async def test_an_event_as_large_as_is_allowed_is_taken_and_one_byte_more_is_not(start: Start) -> None:
    running = await start()
    event: dict[str, Any] = {"type": "wishlist", "user_id": "u1", "event_id": "e", "properties": {"a": ""}}
    await running.post("/v1/events", event)
    room = MAX_EVENT_BYTES - len(encode(running.spooled("wishlist")[0])) - 2  # the longer string's own header
    for size, status in ((room, 202), (room + 1, 422)):
        reply = await running.post("/v1/events", {**event, "properties": {"a": "x" * size}})
        assert reply.status == status, reply.text
    assert len(encode(running.spooled("wishlist")[1])) == MAX_EVENT_BYTES
