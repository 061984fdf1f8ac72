"""Whatever answers in the sidecar's place: a fallback within the deadline, the right reason, nothing raised."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from typing import TYPE_CHECKING

import pytest
from tests.client.answering import ANSWER, but, http, read_request, says

from abside.client.message import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.conftest import Clients, Peer

DEADLINE_SECONDS = 0.3
PATIENCE_SECONDS = 10.0  # far beyond the deadline: only a call that hangs reaches it


def hangs(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def closes(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def drips(connection: socket.socket) -> None:
    """Send a good answer, a byte at a time."""
    read_request(connection)
    for byte in http(ANSWER):
        connection.sendall(bytes([byte]))
        time.sleep(0.01)


def floods(line: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(line * 100)

    return behave


def informs(connection: socket.socket) -> None:
    """Promise an answer, for ever."""
    read_request(connection)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.001)


PEERS: dict[str, tuple[Callable[[socket.socket], None], set[str]]] = {
    "hangs": (hangs, {"timeout"}),
    "drips a good answer byte by byte": (drips, {"timeout"}),
    "says continue for ever": (informs, {"timeout", "garbage"}),
    "closes at once": (closes, {"unreachable"}),
    "cuts in the head": (says(http(ANSWER)[:30], then_close=True), {"unreachable", "garbage"}),
    "cuts in the body": (says(http(ANSWER)[:-30], then_close=True), {"unreachable"}),
    "half an answer, then silence": (says(http(ANSWER)[:-30]), {"timeout"}),
    "endless headers": (floods(b"X-More: of the same\r\n"), {"garbage", "timeout"}),
    "an endless header": (floods(b"x" * 100), {"garbage", "timeout"}),
    "random bytes": (says(random.Random(1).randbytes(4096), then_close=True), {"garbage", "unreachable"}),
    "a TLS alert": (says(b"\x15\x03\x03\x00\x02\x02\x28", then_close=True), {"garbage", "unreachable"}),
    "an impossible status": (says(b"HTTP/1.1 9999 Oh\r\n\r\n", then_close=True), {"garbage"}),
    "a terabyte announced": (says(http(b"{", length=10**12)), {"garbage"}),
    "a negative length": (says(http(b"{}", length=-5), then_close=True), {"garbage"}),
    "too long": (says(http(b" " * (MAX_ANSWER_BYTES + 1))), {"garbage"}),
    "endless chunks": (
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b"x" * 65535 + b"\r\n"),
        {"garbage"},
    ),
    "no length": (says(b"HTTP/1.0 200 OK\r\n\r\n{}", then_close=True), {"garbage"}),
    "an empty body": (says(http(b"")), {"garbage"}),
    "not JSON": (says(http(b"<html>ok</html>")), {"garbage"}),
    "not UTF-8": (says(http(b'{"config": "\xff"}')), {"garbage"}),
    "NaN": (says(http(b'{"config": NaN}')), {"garbage"}),
    "deep JSON": (says(http(b"[" * 500_000)), {"garbage"}),
    "a list": (says(http([])), {"garbage"}),
    "null": (says(http(None)), {"garbage"}),
    "no fields": (says(http({})), {"garbage"}),
    "another placement": (says(but(placement="home")), {"garbage"}),
    "config a list": (says(but(config=[])), {"garbage"}),
    "config_id a number": (says(but(config_id=1)), {"garbage"}),
    "revision null": (says(but(revision=None)), {"garbage"}),
    "assignments null": (says(but(assignments=None)), {"garbage"}),
    "assignments of text": (says(but(assignments=["treatment"])), {"garbage"}),
    "a variant that is a number": (
        says(but(assignments=[{"experiment": "e", "variant": 1, "phase": 1}])),
        {"garbage"},
    ),
    "a unit of another kind": (says(but(unit={"type": "device", "id": "d1"})), {"garbage"}),
    "a unit without an id": (says(but(unit={"type": "user"})), {"garbage"}),
    "exposure_id a number": (says(but(exposure_id=7)), {"garbage"}),
    "a redirect": (says(http(b"", "302 Found")), {"garbage"}),
    "no content": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), {"garbage"}),
    "accepted": (says(http({"accepted": 1}, "202 Accepted")), {"garbage"}),
    "another server's 404": (says(http(b"<html>404</html>", "404 Not Found")), {"garbage"}),
    "another API's 404": (says(http({"error": "not found"}, "404 Not Found")), {"garbage"}),
    "an internal error": (says(http({"code": "INTERNAL"}, "500 Internal Server Error")), {"unavailable"}),
    "a gateway's page": (says(http(b"<html>", "502 Bad Gateway")), {"unavailable"}),
    "too many requests": (says(http(b"", "429 Too Many Requests")), {"unavailable"}),
}


@pytest.mark.parametrize("name", PEERS)
async def test_a_bad_answer_is_a_fallback_within_the_deadline(
    client: Clients, peer: Callable[..., Peer], name: str
) -> None:
    behave, reasons = PEERS[name]
    # Where something is answered, a machine that stalls must not make a timeout of it.
    asked = client(
        peer(behave).address, deadline_seconds=DEADLINE_SECONDS if "timeout" in reasons else PATIENCE_SECONDS
    )
    for _ in range(2):  # the second call must not be answered by what the first one left behind
        since = time.monotonic()
        answer = await asked.assign("pdp", user_id="u1", fallback={"model": "mine"})
        assert time.monotonic() - since < PATIENCE_SECONDS
        assert (answer.fallback, answer.config) == (True, {"model": "mine"})
        assert answer.why in reasons
    assert not await asked.event("click", user_id="u1", item_id="i7") or name == "accepted"


async def test_the_good_answer_these_are_made_of_is_good(client: Clients, peer: Callable[..., Peer]) -> None:
    made = peer(says(http(ANSWER)))
    asked = client(made.address)
    for _ in range(3):
        answer = await asked.assign("pdp", user_id="u1")
        assert (answer.fallback, answer.config) == (False, {"model": "ranker-v1"})
    assert made.connections == 1


async def test_a_peer_that_never_accepts_is_a_timeout(client: Clients, peer: Callable[..., Peer]) -> None:
    asked = client(peer(hangs, accept=False).address, deadline_seconds=DEADLINE_SECONDS)
    assert (await asked.assign("pdp", user_id="u1")).why == "timeout"


async def test_nobody_listens(client: Clients, tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}", f"unix:{tmp_path_factory.mktemp('s')}/none"):
        assert (await client(address).assign("pdp", user_id="u1")).why == "unreachable"


async def test_many_calls_to_a_hung_sidecar_all_end_as_fallbacks(client: Clients, peer: Callable[..., Peer]) -> None:
    asked = client(peer(hangs).address, deadline_seconds=0.02)
    since = time.monotonic()
    answers = await asyncio.gather(*(asked.assign("pdp", user_id=f"u{number}") for number in range(200)))
    assert {answer.why for answer in answers} == {"timeout"}
    assert time.monotonic() - since < PATIENCE_SECONDS  # 4 s one after the other
    assert asked.stats.fallbacks == {"timeout": 200}
    assert asked.stats.untold == 200


async def test_bytes_behind_an_answer_never_answer_the_next_shopper(client: Clients, peer: Callable[..., Peer]) -> None:
    """Two answers for one request: the second, which is somebody else's, must not be taken by the next call."""
    wrong = but(config={"model": "of another shopper"})
    asked = client(peer(says(http(ANSWER) + wrong)).address)
    for _ in range(5):
        assert (await asked.assign("pdp", user_id="u1")).config == {"model": "ranker-v1"}


async def test_a_late_answer_is_never_given_to_the_next_shopper(client: Clients, peer: Callable[..., Peer]) -> None:
    turns = iter(range(100))

    def late_once(connection: socket.socket) -> None:
        while read_request(connection):
            if next(turns) == 0:
                time.sleep(0.5)
                connection.sendall(but(config={"model": "late"}))
            else:
                connection.sendall(http(ANSWER))

    asked = client(peer(late_once).address)
    assert (await asked.assign("pdp", user_id="u1", deadline_seconds=0.1)).why == "timeout"
    for _ in range(5):
        await asyncio.sleep(0.15)
        assert (await asked.assign("pdp", user_id="u2")).config == {"model": "ranker-v1"}


async def test_a_kept_connection_found_dead_is_replaced_once(client: Clients, peer: Callable[..., Peer]) -> None:
    """As after a restart of the sidecar: each connection answers once, then ends without an answer."""

    def once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(http(ANSWER))
        read_request(connection)
        connection.shutdown(socket.SHUT_RDWR)

    made = peer(once)
    asked = client(made.address)
    for _ in range(3):
        assert not (await asked.assign("pdp", user_id="u1")).fallback
    assert made.connections == 3


async def test_a_request_is_never_sent_twice_to_a_peer_that_only_cuts(
    client: Clients, peer: Callable[..., Peer]
) -> None:
    made = peer(says(then_close=True))
    assert (await client(made.address).assign("pdp", user_id="u1")).why == "unreachable"
    assert made.connections == 1
