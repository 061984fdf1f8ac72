"""What every upstream promises, whatever its transport: a new scheme joins UPSTREAMS, with a far end of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import msgpack
import pytest
from yarl import URL

from abside.upstream.choose import SCHEMES, open_upstream
from abside.upstream.contract import Acked, Batch, Rejected, Retry, Timeouts, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from abside.upstream.contract import Upstream

IMPATIENT = Timeouts(connect_seconds=5.0, answer_seconds=0.5)
PATIENT = Timeouts(connect_seconds=10.0, answer_seconds=20.0)
PATIENCE_SECONDS = 60.0  # of a busy machine
# Name → the fixture of its far end, and what its URL ends in.
UPSTREAMS = {
    "msgpack": ("receiver", ""),
    "json_array": ("receiver", "?format=json_array"),
    "kafka": ("topic", ""),
    "kafka_json": ("topic", "?format=json"),
}
# The far ends that name a time to wait, refuse what they have read, and know a batch again.
ANSWERING = [name for name, (far_end, _) in UPSTREAMS.items() if far_end == "receiver"]


class FarEnd(Protocol):
    """Where batches go in a test. Each method is about the next delivery alone, where `recover` comes behind it."""

    url: str
    nobody: str  # a URL where nothing listens
    stored: dict[str, list[Any]]  # events by batch id

    def be_busy(self, after_seconds: float | None = None) -> None: ...
    def forbid(self) -> None: ...
    def find_too_large(self) -> None: ...
    def reject(self) -> None: ...
    def keep_silent(self) -> None: ...
    def break_off(self) -> None: ...
    def recover(self) -> None: ...


@pytest.fixture(params=UPSTREAMS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def far_end(request: pytest.FixtureRequest, kind: str) -> FarEnd:
    end: FarEnd = request.getfixturevalue(UPSTREAMS[kind][0])
    return end


@pytest.fixture
async def opened(kind: str, far_end: FarEnd, now_us: Any) -> AsyncIterator[Callable[..., Upstream]]:
    """Return a function that opens the upstream under test to its far end, or to another URL."""
    upstreams: list[Upstream] = []

    def make(url: str = "", timeouts: Timeouts = PATIENT) -> Upstream:
        upstreams.append(open_upstream((url or far_end.url) + UPSTREAMS[kind][1], now_us, timeouts=timeouts))
        return upstreams[-1]

    yield make
    for upstream in upstreams:
        await upstream.close()


def test_the_suite_runs_over_every_opener(receiver: Any, topic: Any, request: pytest.FixtureRequest) -> None:
    tried = {URL(request.getfixturevalue(name).url).scheme for name, _ in UPSTREAMS.values()}
    assert {SCHEMES[scheme] for scheme in tried} == set(SCHEMES.values())


async def test_a_stored_batch_is_acked_and_its_events_arrive_whole(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    assert await opened().send(batch) == Acked()
    unpacker = msgpack.Unpacker()
    unpacker.feed(batch.payload)
    assert far_end.stored == {batch.id: list(unpacker)}


async def test_the_same_batch_again_is_stored_once(opened: Any, far_end: FarEnd, kind: str, batch: Batch) -> None:
    upstream = opened()
    await upstream.send(batch)
    first = dict(far_end.stored)
    assert await upstream.send(batch) == Acked(duplicate=kind in ANSWERING)
    assert far_end.stored == first
    assert len(first) == 1


async def test_batches_in_flight_at_once_are_each_answered_by_themselves(
    opened: Any, far_end: FarEnd, batch: Batch
) -> None:
    upstream = opened()
    many = [replace(batch, id=f"pod-1.{number}") for number in range(upstream.in_flight)]
    assert len(many) >= 1
    assert await asyncio.gather(*map(upstream.send, many)) == [Acked()] * len(many)
    assert set(far_end.stored) == {one.id for one in many}


async def test_what_may_pass_by_itself_is_tried_again(opened: Any, far_end: FarEnd, kind: str, batch: Batch) -> None:
    upstream = opened(timeouts=PATIENT if kind in ANSWERING else IMPATIENT)
    far_end.be_busy()
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert (result.after_seconds, result.loud) == (None, False)
    assert result.reason
    far_end.recover()
    assert await arrived(upstream, batch) == Acked()


@pytest.mark.parametrize("kind", ANSWERING)
async def test_the_seconds_that_the_far_end_asks_for_are_passed_on(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    far_end.be_busy(after_seconds=7.0)
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert result.after_seconds == 7.0


async def test_what_only_a_person_can_mend_is_loud(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    far_end.forbid()
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert result.loud


async def test_too_large_asks_for_halves(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    far_end.find_too_large()
    assert await opened().send(batch) == TooLarge()


@pytest.mark.parametrize("kind", ANSWERING)
async def test_a_refusal_is_a_rejection_that_another_try_may_change(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    far_end.reject()
    result = await opened().send(batch)
    assert isinstance(result, Rejected)
    assert not result.final
    assert result.reason


async def test_silence_ends_in_another_try(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    far_end.keep_silent()
    assert await opened(timeouts=IMPATIENT).send(batch) == Retry("no answer within 0.5 s", unheard=True)


async def test_an_answer_that_breaks_off_ends_in_another_try_that_starts_afresh(
    opened: Any, far_end: FarEnd, kind: str, batch: Batch
) -> None:
    upstream = opened(timeouts=PATIENT if kind in ANSWERING else IMPATIENT)
    far_end.break_off()
    assert isinstance(await upstream.send(batch), Retry)
    far_end.recover()
    assert await arrived(upstream, batch) == Acked()


async def test_nobody_listening_ends_in_another_try(opened: Any, far_end: FarEnd, batch: Batch) -> None:
    result = await opened(far_end.nobody).send(batch)
    assert isinstance(result, Retry)
    assert not result.loud


async def test_a_large_batch_arrives(opened: Any, far_end: FarEnd) -> None:
    events = [{"type": "own", "properties": {"n": number, "text": "x" * 900}} for number in range(4000)]
    large = Batch("large", len(events), b"".join(map(msgpack.packb, events)))
    assert await opened().send(large) == Acked()
    assert far_end.stored["large"] == events


async def test_a_closed_upstream_closes_again_quietly(opened: Any, batch: Batch) -> None:
    upstream = opened()
    await upstream.send(batch)
    await upstream.close()
    await upstream.close()


async def arrived(upstream: Upstream, batch: Batch) -> Any:
    """Send until the answer is no Retry, as a shipper does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while isinstance(result := await upstream.send(batch), Retry):  # noqa: ASYNC110 the far end calls nobody
            await asyncio.sleep(0.05)
    return result
