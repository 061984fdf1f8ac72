"""A body of megabytes is read in slices: whatever it holds, no turn of the loop waits long for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside.event import EventIds
from abside.serve.answer import Refusal
from abside.sidecar.active.configs import Configs
from abside.sidecar.active.current import Cell
from abside.sidecar.decide import intake
from abside.sidecar.decide.batch import SLICED_BYTES
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

    Start = Callable[..., Awaitable[Running]]

NOW_US = 1_795_424_400_000_000
BYTES = 4 * 2**20
LONGEST_STEP_SECONDS = 0.1  # of this thread's own time, ten times what is measured; all at once took 0.2 to 2 s
CLICK = {"type": "click", "user_id": "u1", "item_id": "a"}
PAGE = orjson.dumps({"type": "impression", "user_id": "u1", "items": [f"i{number}" for number in range(500)]})


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[HandlerContext]:
    """What the handlers work with, at a time of the test's own."""
    spool = Spool.open(SpoolSettings(tmp_path / "spool"), "b00t", lambda: NOW_US)
    journal = Journal(spool, Accounts("b00t", {}), EventIds("b00t"), lambda: NOW_US)
    yield HandlerContext(Cell(), journal, Configs(journal, {}), Rules(), lambda: NOW_US)
    await spool.close()


def listed(element: bytes) -> bytes:
    return b"[" + b",".join([element] * (BYTES // (len(element) + 1))) + b"]"


def one_with(field: str, value: bytes) -> bytes:
    return b'{"type":"click","user_id":"u1","%b":[' % field.encode() + b",".join([value] * (BYTES // 4)) + b"]}"


HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "empty events": (listed(b"{}"), 413, "TOO_LARGE"),
    "small events": (listed(b'{"a":0}'), 413, "TOO_LARGE"),
    "events with parts": (listed(b'{"a":[],"b":{}}'), 413, "TOO_LARGE"),
    "lists": (listed(b"[]"), 422, "WRONG_TYPE"),
    "numbers": (listed(b"0"), 422, "WRONG_TYPE"),
    "texts": (listed(b'""'), 422, "WRONG_TYPE"),
    "deep ones": (listed(b'{"a":{"b":{"c":[]}}}'), 422, "WRONG_TYPE"),
    "brackets": (b"[" * BYTES, 400, "MALFORMED"),
    "braces": (b'[{"a":' * (BYTES // 6), 400, "MALFORMED"),
    "an endless text": (b'[{"a":"' + b"x" * BYTES, 422, "WRONG_TYPE"),
    "backslashes": (b'[{"a":"' + b"\\" * BYTES, 422, "WRONG_TYPE"),
    "one event of many values": (one_with("items", b"{}"), 413, "TOO_LARGE"),
    "one in a list": (b"[" + one_with("items", b"0") + b"]", 413, "TOO_LARGE"),
    "one of many keys": (
        b'{"type":"view","user_id":"u1","properties":{'
        + b",".join(b'"%d":0' % number for number in range(400_000))
        + b"}}",
        *(413, "TOO_LARGE"),
    ),
    "blanks": (b"[" + b" " * BYTES + b"{]", 400, "MALFORMED"),
    "too many at its end": (b"[" + b",".join([b"{}"] * 1001) + b"]" + b" " * BYTES, 413, "TOO_LARGE"),
}


def stepped(work: Any) -> tuple[Any, float]:
    """Run sliced work to its end; return what came of it, and the longest time that one step took this thread."""
    longest = 0.0
    while True:
        begun = time.thread_time()
        try:
            next(work)
        except StopIteration as done:
            return done.value, max(longest, time.thread_time() - begun)
        except Refusal as refusal:
            return refusal, max(longest, time.thread_time() - begun)
        longest = max(longest, time.thread_time() - begun)


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_body_of_four_megabytes_holds_the_loop(context: HandlerContext, name: str) -> None:
    body, status, code = HOSTILE[name]
    refusal, longest = stepped(intake._large_events(context, body))
    assert isinstance(refusal, Refusal), refusal
    assert (refusal.status, refusal.code) == (status, code), refusal
    assert longest < LONGEST_STEP_SECONDS
    assert len(refusal.detail) < 300
    assert context.journal.spool.stats.appended_events == 0


async def test_a_thousand_pages_of_impressions_are_taken_in_slices_all_of_them_or_none(context: HandlerContext) -> None:
    answer, longest = stepped(intake._large_events(context, b"[" + b",".join([PAGE] * 1000) + b"]"))
    assert orjson.loads(answer) == {"accepted": 1000}
    assert longest < LONGEST_STEP_SECONDS
    assert context.journal.spool.stats.appended_events == context.journal.accounts.accepted["impression"] == 1000
    bad = b"[" + b",".join([PAGE] * 999) + b',{"type":"click","userId":"u1"}]'
    refusal, _ = stepped(intake._large_events(context, bad))
    assert (refusal.code, refusal.index, refusal.path) == ("UNKNOWN_FIELD", 999, "userId")
    assert context.journal.spool.stats.appended_events == 1000


async def test_tokens_are_counted_before_they_are_read(context: HandlerContext) -> None:
    for body in (listed(b'{"exposure_token":"A"}'), b'{"exposure_token":[' + b",".join([b'""'] * (BYTES // 3)) + b"]}"):
        begun = time.thread_time()
        with pytest.raises(Refusal) as refused:
            await intake.large_exposures(context, body)
        assert (refused.value.status, refused.value.code) == (413, "TOO_LARGE")
        assert time.thread_time() - begun < LONGEST_STEP_SECONDS


async def test_a_large_list_is_answered_as_a_small_one_over_both_doors(start: Start) -> None:
    running = await start()
    many = [{**CLICK, "event_id": f"e{number}", "item_id": "x" * 100} for number in range(1000)]
    assert len(orjson.dumps(many)) > SLICED_BYTES
    reply = await running.post("/v1/events", many)
    assert (reply.status, reply.json) == (202, {"accepted": 1000})
    assert len({one["event_id"] for one in running.spooled("click")}) == 1000
    reply = await running.post("/v1/events", [*many[:999], {**CLICK, "position": "1"}])
    assert (reply.status, reply.json["code"], reply.json["index"]) == (422, "WRONG_TYPE", 999)
    reply = await running.post("/v1/events", [*many, CLICK])
    assert (reply.status, reply.json["detail"]) == (413, "1,001 events; a request takes at most 1,000")
    assert len(running.spooled("click")) == 1000


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text('ab,:"\\{}[]é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)
fields = st.dictionaries(st.sampled_from(["type", "user_id", "item_id", "properties", "items", "userId"]), values)
events = st.one_of(
    st.just(CLICK), st.just({"type": "view", "user_id": "u", "properties": {"a": '{"[,\\'}}), fields, values
)


async def test_the_division_reads_what_one_reading_of_the_whole_reads(context: HandlerContext) -> None:
    @settings(deadline=None, max_examples=cases(150), suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(events, max_size=4) | events, st.sampled_from([0, 2]), st.data())
    def compare(body: Any, indent: int, data: st.DataObject) -> None:
        raw = orjson.dumps(body, option=orjson.OPT_INDENT_2 if indent else 0)
        if data.draw(st.booleans()):  # damaged somewhere
            at = data.draw(st.integers(0, len(raw)))
            raw = (
                raw[:at]
                + data.draw(st.sampled_from([b"", b"{", b"]", b",", b'"', b"\\", b"\x0b", b"\xff"]))
                + raw[at + 1 :]
            )
        try:
            small: Any = intake.events(context, raw)
        except Refusal as refusal:
            small = refusal
        large, _ = stepped(intake._large_events(context, raw))
        if isinstance(small, bytes):
            assert large == small
        else:
            assert isinstance(large, Refusal), (raw, small, large)
            assert large.status in {400, 422}

    compare()
