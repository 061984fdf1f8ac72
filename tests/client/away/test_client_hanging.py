"""A sidecar that hangs: after three timeouts calls do not wait, but for one a second, and then all wait again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.client.answering import ANSWER, http, read_request

from abside.client.away.hanging import FIRST_PROBE_SECONDS, IN_A_ROW, PROBE_EVERY_SECONDS, Hanging
from abside.client.result import CallFailed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.client.conftest import Clients, Peer, Until

    from abside.client.result import Why

TIMEOUT = CallFailed("timeout", "no answer")
DEADLINE_SECONDS = 0.1
EARLY_PROBES = 4  # in the first second


def waits(hanging: Hanging, seconds: float = DEADLINE_SECONDS) -> bool:
    try:
        hanging.check(seconds)
    except CallFailed as failed:
        return (failed.why, failed.code) != ("timeout", "NOT_WAITED")
    return True


def hung(now: list[float]) -> Hanging:
    hanging = Hanging(lambda: now[0])
    for _ in range(IN_A_ROW):
        assert waits(hanging)
        since = now[0]
        now[0] += DEADLINE_SECONDS
        hanging.failed(TIMEOUT, DEADLINE_SECONDS, since)
    return hanging


def test_after_three_timeouts_in_a_row_one_call_waits_now_and_then_at_last_once_a_second() -> None:
    now = [100.0]
    hanging = hung(now)
    assert not any(waits(hanging) for _ in range(50))
    for seconds in (FIRST_PROBE_SECONDS, 0.2, 0.4, 0.8, PROBE_EVERY_SECONDS, PROBE_EVERY_SECONDS):
        now[0] += seconds / 2
        assert not waits(hanging)
        now[0] += seconds / 2 + 1e-6
        assert [waits(hanging) for _ in range(50)] == [True] + [False] * 49
        hanging.failed(TIMEOUT, DEADLINE_SECONDS, now[0])
    now[0] += PROBE_EVERY_SECONDS
    assert waits(hanging)
    hanging.answered()
    assert all(waits(hanging) for _ in range(50))


@pytest.mark.parametrize("why", ["unreachable", "unavailable", "garbage", None])
def test_what_answers_in_between_does_not_hang(why: Why | None) -> None:
    hanging = Hanging(lambda: 100.0)
    for _ in range(10):
        for _ in range(IN_A_ROW - 1):
            hanging.failed(TIMEOUT, DEADLINE_SECONDS, 100.0)
        if why is None:
            hanging.answered()
        else:
            hanging.failed(CallFailed(why, ""), DEADLINE_SECONDS, 100.0)
        assert waits(hanging)


def test_a_pause_that_ends_many_calls_at_once_counts_once() -> None:
    now = [100.0]
    hanging = Hanging(lambda: now[0])
    now[0] += DEADLINE_SECONDS
    for _ in range(50):
        hanging.failed(TIMEOUT, DEADLINE_SECONDS, 100.0)
    assert waits(hanging)


def test_a_longer_deadline_is_waited_for_until_it_too_has_passed() -> None:
    hanging = hung([100.0])
    assert not waits(hanging)
    assert waits(hanging, 2 * DEADLINE_SECONDS)
    hanging.failed(TIMEOUT, 2 * DEADLINE_SECONDS, 200.0)
    assert not waits(hanging, 2 * DEADLINE_SECONDS)


async def test_calls_to_a_hung_sidecar_fall_back_at_once_and_wait_again_when_it_answers(
    client: Clients, peer: Callable[..., Peer], until: Until
) -> None:
    hangs = True

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            if not hangs:
                connection.sendall(http(ANSWER))

    made = peer(behave)
    asked = client(made.address, deadline_seconds=DEADLINE_SECONDS)
    since = time.monotonic()
    answers = [await asked.assign("pdp", user_id=f"u{number}") for number in range(200)]
    probes = (time.monotonic() - since) / PROBE_EVERY_SECONDS
    assert {(answer.fallback, answer.why) for answer in answers} == {(True, "timeout")}
    assert IN_A_ROW <= made.connections <= IN_A_ROW + EARLY_PROBES + probes + 1
    assert asked.stats.not_waited == 200 - made.connections
    assert asked.stats.fallbacks == {"timeout": 200}
    receipt = await asked.event("click", user_id="u1", item_id="i7")
    assert (bool(receipt), receipt.why) == (False, "timeout")
    hangs = False
    deadline = time.monotonic() + 30
    while (await asked.assign("pdp", user_id="u1", deadline_seconds=DEADLINE_SECONDS)).fallback:
        assert time.monotonic() < deadline
    assert not (await asked.assign("pdp", user_id="u1", deadline_seconds=10)).fallback
