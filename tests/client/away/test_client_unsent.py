"""Reports that cannot be sent wait and are sent later, with their ids and times, each counted once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.client.answering import http, read_body

from abside.client import Client
from abside.client.away.unsent import BATCH_BYTES, MAX_WAITING_BYTES, Unsent
from abside.client.message import EventCall

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from tests.client.conftest import Clients, Peer, Process, Until

NOW_US = 1_700_000_000_000_000


def report(number: int, **fields: Any) -> EventCall:
    return EventCall("/v1/events", {"type": "click", "event_id": f"e{number}", **fields})


class Taking:
    """A peer that is away (503), or takes reports; it keeps what it took."""

    def __init__(self) -> None:
        self.away = True
        self.refuses: str | None = None
        self.taken: list[dict[str, Any]] = []

    def __call__(self, connection: socket.socket) -> None:
        while (body := read_body(connection)) is not None:
            connection.sendall(self.answer(json.loads(body)))

    def answer(self, body: Any) -> bytes:
        if self.away:
            return http({"code": "SPOOL_FULL"}, "503 Service Unavailable")
        listed = body if isinstance(body, list) else [body]
        for index, one in enumerate(listed):
            if self.refuses is not None and one.get("event_id") == self.refuses:
                named = {"index": index} if isinstance(body, list) else {}
                return http({"code": "INVALID_EVENT", "detail": "no", "path": "ts", **named}, "422 Unprocessable")
        self.taken += listed
        return http({"accepted": len(listed)}, "202 Accepted")


async def test_what_cannot_be_sent_is_sent_when_the_sidecar_answers(
    client: Clients, peer: Callable[..., Peer], until: Until
) -> None:
    taking = Taking()
    asked = client(peer(taking).address, max_waiting=5, wall=lambda: NOW_US)
    receipts = [await asked.event("click", user_id="u1", event_id=f"e{number}") for number in range(4)]
    receipts.append(await asked.expose("token"))
    assert [(bool(one), one.why, one.waits) for one in receipts] == [(False, "unavailable", True)] * 5
    late = await asked.event("click", user_id="u1", event_id="too many")
    assert (bool(late), late.waits) == (False, False)
    stats = asked.stats
    assert (stats.waiting, stats.dropped, stats.lost_reports, stats.sent_later) == (5, 1, 1, 0)
    taking.away, taking.refuses = False, "e2"
    assert await asked.event("click", user_id="u1", event_id="direct")
    await until(lambda: asked.stats.waiting == 0)
    waited = [one for one in taking.taken if one.get("event_id") != "direct"]
    sent = {"type": "click", "user_id": "u1", "ts": NOW_US}
    assert waited == [{**sent, "event_id": f"e{number}"} for number in (0, 1, 3)] + [{"exposure_token": "token"}]
    stats = asked.stats
    assert (stats.sent_later, stats.lost_reports, stats.dropped) == (4, 2, 1)


async def test_a_time_of_the_callers_stays_and_a_refusal_does_not_wait(
    client: Clients, peer: Callable[..., Peer]
) -> None:
    taking = Taking()
    asked = client(peer(taking).address)
    assert (await asked.event("click", user_id="u1", ts=NOW_US)).waits
    unsendable = await asked.event("click", user_id="u1", item_id=object())
    assert (bool(unsendable), unsendable.why, unsendable.waits) == (False, "refused", False)
    taking.away = False
    await asked.close()
    assert [one["ts"] for one in taking.taken] == [NOW_US]


async def test_nothing_waits_where_it_is_switched_off(client: Clients, peer: Callable[..., Peer]) -> None:
    asked = client(peer(Taking()).address, max_waiting=0)
    receipt = await asked.event("click", user_id="u1")
    assert (bool(receipt), receipt.waits) == (False, False)
    assert (asked.stats.waiting, asked.stats.lost_reports, asked.stats.dropped) == (0, 1, 0)
    with pytest.raises(ValueError, match="max_waiting is -1"):
        client("http://127.0.0.1:7600", max_waiting=-1)


def test_a_forked_child_does_not_send_what_waits_in_its_parent(peer: Callable[..., Peer]) -> None:
    script = """
import os, sys
from abside.client import Client
client = Client(sys.argv[1], deadline_seconds=10)
assert client.event("click", user_id="u1", event_id="parent").waits
if os.fork() == 0:
    waiting = client.stats.waiting
    client.close()
    os._exit(waiting)
code = os.waitstatus_to_exitcode(os.wait()[1])
print(client.stats.waiting, flush=True)
sys.stdin.readline()
client.close()
sys.exit(code)
"""
    taking = Taking()
    command = [sys.executable, "-W", "error", "-c", script, peer(taking).address]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "1\n"
    taking.away = False
    running.communicate("go on\n", timeout=60)
    assert running.returncode == 0
    assert [one["event_id"] for one in taking.taken] == ["parent"]


def test_many_threads_leave_each_event_once_or_counted(peer: Callable[..., Peer]) -> None:
    taking = Taking()
    client = Client(peer(taking).address, deadline_seconds=10, max_waiting=300)

    def send(first: int) -> None:
        for number in range(first, first + 50):
            client.event("click", user_id="u1", event_id=f"e{number}")

    threads = [threading.Thread(target=send, args=(first * 50,)) for first in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert (client.stats.waiting, client.stats.dropped) == (300, 100)
    taking.away = False
    client.close()
    assert client.stats.sent_later == len(taking.taken) == len({one["event_id"] for one in taking.taken}) == 300


def test_a_real_sidecar_stores_what_waited_once_with_its_time(sidecar: Process) -> None:
    with Client(sidecar.address, deadline_seconds=10) as client:
        answer = client.assign("pdp", user_id="qa-treatment", expose=False)
        sidecar.kill()
        assert client.event("click", user_id="u1", item_id="i7").waits
        assert client.track("wishlist", context={"targetingKey": "u1"}, attributes={"shelf": "top"}).waits
        assert answer.exposure_token is not None
        assert client.expose(answer.exposure_token).waits
        sidecar.start()
    assert (client.stats.sent_later, client.stats.lost_reports) == (3, 0)
    [click], [wish], [_] = (sidecar.spooled(kind) for kind in ("click", "wishlist", "exposure"))
    assert click["ts"] < click["seen_ts"]
    assert wish["ts"] < wish["seen_ts"]


def test_requests_are_bounded_and_in_order() -> None:
    unsent = Unsent(1_000, lambda: NOW_US)
    for number in range(100):
        assert unsent.keep(report(number, properties={"text": "x" * 2_000}))
    numbers = []
    while batch := unsent.take():
        assert len(batch.body) <= BATCH_BYTES + 1_000
        numbers += [one["event_id"] for one in json.loads(batch.body)]
        unsent.accepted(batch)
    assert numbers == [f"e{number}" for number in range(100)]
    assert (unsent.sent, unsent.waiting) == (100, 0)


def test_their_bytes_are_bounded_too() -> None:
    unsent = Unsent(10_000, lambda: NOW_US)
    size = 64 * 1024
    kept = sum(unsent.keep(report(number, properties={"text": "x" * size})) for number in range(100))
    assert kept == unsent.waiting == MAX_WAITING_BYTES // (size + 100)
    assert unsent.dropped == 100 - kept


def test_a_refusal_that_names_none_costs_only_what_is_refused_alone() -> None:
    unsent = Unsent(100, lambda: NOW_US)
    for number in range(5):
        unsent.keep(report(number))
    batch = unsent.take()
    assert batch is not None
    unsent.not_accepted(batch, None)
    turns = 0
    while batch := unsent.take():
        turns += 1
        if b'"e3"' in batch.body:
            unsent.not_accepted(batch, None)
        else:
            unsent.accepted(batch)
    assert (turns, unsent.sent, unsent.refused, unsent.waiting) == (5, 4, 1, 0)
