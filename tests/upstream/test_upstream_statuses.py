"""HTTP in particular: what each status, header and broken answer means to both HTTP upstreams."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge
from abside.upstream.http import IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from abside.upstream.contract import Batch, Upstream


@pytest.fixture(params=["", "?format=json_array"], ids=["msgpack", "json_array"])
async def opened(request: pytest.FixtureRequest, receiver: Any, now_us: Any) -> AsyncIterator[Callable[[], Upstream]]:
    """Return a function that opens the upstream under test to the receiver."""
    upstreams: list[Upstream] = []

    def make() -> Upstream:
        upstreams.append(open_upstream(receiver.url + request.param, now_us))
        return upstreams[-1]

    yield make
    for upstream in upstreams:
        await upstream.close()


async def test_the_headers_name_the_batch_and_its_count(opened: Any, receiver: Any, batch: Batch) -> None:
    assert await opened().send(batch) == Acked()
    [delivery] = receiver.deliveries
    assert delivery.headers["Idempotency-Key"] == batch.id
    assert delivery.headers["X-Batch-Count"] == "3"
    assert "Authorization" not in delivery.headers


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
async def test_what_may_pass_by_itself_is_tried_again(opened: Any, receiver: Any, batch: Batch, status: int) -> None:
    receiver.answer(status)
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert (result.after_seconds, result.loud, result.unheard) == (None, False, True)
    assert result.reason.startswith(f"HTTP {status}: ")


@pytest.mark.parametrize("status", [401, 403, 301, 302, 307, 308, 501])
async def test_what_only_a_person_can_mend_is_loud(opened: Any, receiver: Any, batch: Batch, status: int) -> None:
    receiver.answer(status, Location=f"{receiver.url}/elsewhere")
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert result.loud
    assert len(receiver.deliveries) == 1, "a redirect is not followed"


async def test_a_413_asks_for_halves(opened: Any, receiver: Any, batch: Batch) -> None:
    receiver.refuse(413, "TOO_LARGE")
    assert await opened().send(batch) == TooLarge()


@pytest.mark.parametrize(
    ("status", "code"),
    [(422, "UNDECODABLE"), (422, "INVALID_EVENT")],
)
async def test_a_refusal_is_a_rejection(opened: Any, receiver: Any, batch: Batch, status: int, code: str) -> None:
    receiver.refuse(status, code)
    result = await opened().send(batch)
    assert isinstance(result, Rejected)
    assert not result.final
    assert result.reason.startswith(f"HTTP {status}: {code}")


@pytest.mark.parametrize("code", ["BUSY", "STOPPING", "STORE_FAILED"])
async def test_a_wait_that_our_collector_asks_for_is_its_word(
    opened: Any, receiver: Any, batch: Batch, code: str
) -> None:
    receiver.refuse(503, code)
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert (result.loud, result.unheard) == (False, False)


async def test_a_port_where_nobody_listens_and_a_host_that_is_none_are_said_plainly(
    batch: Batch, now_us: Any, unused_port: int
) -> None:
    for url, words in (
        (f"http://127.0.0.1:{unused_port}", f"nobody listens at 127.0.0.1:{unused_port}"),
        ("http://no-such-host.invalid:7700", "there is no host no-such-host.invalid"),
    ):
        upstream = open_upstream(url, now_us)
        result = await upstream.send(batch)
        await upstream.close()
        assert isinstance(result, Retry)
        assert result.unheard
        assert result.reason.startswith(words)


@pytest.mark.parametrize("status", [429, 503, 403])
async def test_a_wish_in_seconds_is_passed_on(opened: Any, receiver: Any, batch: Batch, status: int) -> None:
    receiver.answer(status, Retry_After="7")
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert result.after_seconds == 7.0


async def test_a_wish_as_a_date_is_measured_by_the_receivers_own_clock(
    opened: Any, receiver: Any, batch: Batch
) -> None:
    receiver.answer(503, Retry_After="Wed, 21 Oct 2015 07:28:30 GMT", Date="Wed, 21 Oct 2015 07:28:00 GMT")
    result = await opened().send(batch)
    assert isinstance(result, Retry)
    assert result.after_seconds == 30.0


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff\x16\x03\x01garbage\r\n\r\n",
        b"HTTP/1.1 999999 Huh\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "half a status", "half a header", "another protocol", "binary", "no status", "endless header"],
)
async def test_a_connection_cut_or_garbage_ends_in_another_try(
    opened: Any, receiver: Any, batch: Batch, written: bytes
) -> None:
    upstream = opened()
    receiver.write(written)
    result = await upstream.send(batch)
    assert isinstance(result, Retry)
    assert result.reason
    assert await upstream.send(batch) == Acked(), "the next try starts afresh"


async def test_batches_share_one_connection(opened: Any, receiver: Any, batch: Batch) -> None:
    upstream = opened()
    for number in range(3):
        await upstream.send(replace(batch, id=f"b{number}"))
    assert len(receiver.connections) == 1


async def test_only_our_collector_has_several_batches_at_once(opened: Any, receiver: Any, batch: Batch) -> None:
    upstream = opened()
    most = upstream.in_flight
    assert most == (IN_FLIGHT if upstream.takes_large else 1)
    for _ in range(most + 1):
        receiver.keep_silent()
    sent = asyncio.gather(*(upstream.send(replace(batch, id=f"b{number}")) for number in range(most + 1)))
    for _ in range(most):
        await receiver.arrived.acquire()
    assert len(receiver.connections) == most
    assert not sent.done()
    receiver.released.set()
    await sent
