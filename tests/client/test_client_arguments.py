"""Arguments of the wrong kind are refused at once, in one sentence, and not on the day when there is no sidecar."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from abside.client import AsyncClient, Client, Local
from abside.testing import AsyncFakeClient, FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOBODY = "http://127.0.0.1:9"  # nothing listens there: an argument must be refused before anybody is asked
KINDS: dict[str, Callable[[Path], Any]] = {
    "blocking": lambda _: Client(NOBODY),
    "asyncio": lambda _: AsyncClient(NOBODY),
    "local": lambda folder: Local(folder / "snapshot", folder),
    "fake": lambda _: FakeClient({"pdp": {"model": "ranker-v1"}}),
    "asyncio fake": lambda _: AsyncFakeClient({"pdp": {"model": "ranker-v1"}}),
}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return KINDS[request.param](tmp_path)


async def done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda c: c.assign("pdp", user_id="u1", fallback="ranker-v1"), "fallback is a str; write a mapping"),
        (lambda c: c.assign("pdp", user_id="u1", fallback=[("model", "m")]), "fallback is a list; write a mapping"),
        (
            lambda c: c.assign_many(["pdp"], user_id="u1", expose=False, fallbacks=[{"model": "m"}]),
            "fallbacks is a list; write a mapping",
        ),
        (
            lambda c: c.assign_many(["pdp"], user_id="u1", expose=False, fallbacks={"pdp": "m"}),
            "the fallback of pdp is a str; write a mapping",
        ),
        (lambda c: c.assign("pdp", visit={"session_id": "s1"}), r"visit is a dict; make one, for example Visit\("),
        (lambda c: c.assign_many(None, user_id="u1", expose=False), "placements is None; write a list"),
        (lambda c: c.expose(7), "token is a int; pass the exposure_token of an answer"),
        (lambda c: c.expose({"exposure_token": "t"}), "token is a dict; pass the exposure_token of an answer"),
        (lambda c: c.evaluate("pdp", context="u1"), "context is a str; write a mapping"),
        (lambda c: c.track("click", context="u1"), "context is a str; write a mapping"),
        (lambda c: c.track("click", context={}, attributes="i1"), "attributes is a str; write a mapping"),
        (lambda c: c.track(7, context={}), "an event is named by a string, not by int"),
        (lambda c: c.event("click", visit="s1", item_id="i1"), r"visit is a str; make one, for example Visit\("),
    ],
)
async def test_an_argument_of_the_wrong_kind_is_told_by_every_client(made: Any, call: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        await done(call(made))


@pytest.mark.parametrize("seconds", ["20ms", True, float("nan"), float("inf")])
async def test_a_deadline_that_is_no_number_of_seconds_is_refused(made: Any, seconds: Any) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda c: c.assign("pdp", user_id="u1", deadline_seconds=seconds),
        lambda c: c.assign_many(["pdp"], user_id="u1", expose=False, deadline_seconds=seconds),
        lambda c: c.event("click", user_id="u1", item_id="i1", deadline_seconds=seconds),
        lambda c: c.expose("token", deadline_seconds=seconds),
        lambda c: c.evaluate("pdp", context={}, deadline_seconds=seconds),
        lambda c: c.track("click", context={}, deadline_seconds=seconds),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match="write seconds, for example"):
            await done(call(made))


@pytest.mark.parametrize("seconds", ["20ms", True, None, 0, -1, float("nan"), float("inf")])
def test_a_client_has_a_deadline_that_lets_a_call_begin(seconds: Any) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises((TypeError, ValueError), match=r"write seconds, for example 0\.02"):
            kind(NOBODY, deadline_seconds=seconds)


def test_a_call_with_no_time_left_is_a_fallback() -> None:
    for left in (0, -0.5):
        assert Client(NOBODY).assign("pdp", user_id="u1", deadline_seconds=left).why == "timeout"


async def test_an_answer_without_a_token_needs_no_question_before_expose(made: Any) -> None:
    for nothing in (None, [], [None, None]):
        receipt = await done(made.expose(nothing))
        assert receipt
        assert not receipt.waits


def test_the_tokens_beside_a_none_are_exposed() -> None:
    fake = FakeClient({"pdp": {"model": "v1"}, "home": {"rows": 1}}, variants={"e": {"t": {"pdp": {"model": "v2"}}}})
    answers = fake.assign_many(["pdp", "home"], user_id="u1", expose=False)
    assert fake.expose(one.exposure_token for one in answers.values())
    assert [one["placement"] for one in fake.exposures] == ["pdp"]


def test_nothing_was_kept_for_later_where_there_was_nothing_to_send() -> None:
    client = Client(NOBODY)
    assert client.expose(None)
    assert client.stats.waiting == 0


def test_a_flag_without_a_context_is_no_error_without_a_sidecar_either() -> None:
    assert Client(NOBODY).evaluate("pdp", context=None).why == "unreachable"
    assert FakeClient({"pdp": {"model": "v1"}}).evaluate("pdp", context=None).value == {"model": "v1"}


def test_what_a_fake_is_made_with_is_told_too() -> None:
    wrong: Any = ["pdp"]
    with pytest.raises(ValueError, match="placements is a list; write a mapping by name"):
        FakeClient(wrong)
    with pytest.raises(ValueError, match="variants is a list; write a mapping by name"):
        FakeClient({"pdp": {}}, variants=wrong)
