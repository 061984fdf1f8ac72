"""The application's own exceptions: they pass through a call as they are, and the connection is not used again."""

from __future__ import annotations

import ctypes
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.client.answering import ANSWER, but, http, read_request

from abside.client import Client

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from tests.client.conftest import Peer


class SoftTimeLimit(Exception):  # noqa: N818 as Celery names its own
    """What a task queue's signal handler raises."""


class LibrarysTimeout(OSError):  # noqa: N818 as requests names its own
    """As the timeout of requests is one."""


RAISED = [
    SoftTimeLimit("soft"),
    TimeoutError("the request's"),
    ConnectionResetError("another socket's"),
    LibrarysTimeout("another library's"),
    ValueError("of a handler"),
    KeyError("of a handler"),
    KeyboardInterrupt(),
    SystemExit(3),
]


@contextmanager
def handler(raised: BaseException, asked: threading.Event) -> Iterator[None]:
    """A signal handler that raises; the signal is sent to this thread once the event is set."""
    main = threading.get_ident()

    def handle(_signal: int, _frame: object) -> None:
        raise raised

    def send() -> None:
        asked.wait(30)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        asked.set()
        sending.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("raised", RAISED, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("call", ["assign", "event"])
def test_what_a_signal_handler_raises_passes_through_and_its_connection_is_dropped(
    peer: Callable[..., Peer], raised: BaseException, call: str
) -> None:
    turns: list[str] = []
    asked = threading.Event()
    late = threading.Event()

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            turns.append("asked")
            if len(turns) == 2:  # over a kept connection: the answer comes when its caller has gone
                asked.set()
                late.wait(30)
                connection.sendall(but(config={"model": "of another shopper"}))
                return
            connection.sendall(http(ANSWER))

    made = peer(behave)
    client = Client(made.address, deadline_seconds=30)
    assert not client.assign("pdp", user_id="u1").fallback
    methods: dict[str, Callable[[], Any]] = {
        "assign": lambda: client.assign("pdp", user_id="u1"),
        "event": lambda: client.event("click", user_id="u1", item_id="i7"),
    }
    with handler(raised, asked), pytest.raises(type(raised)) as caught:
        methods[call]()
    assert caught.value is raised
    late.set()
    assert client.assign("pdp", user_id="u1").config == {"model": "ranker-v1"}
    assert made.connections == 2
    assert (client.stats.fallbacks, client.stats.lost_reports) == ({}, 0)
    client.close()


def test_what_another_thread_puts_into_a_call_passes_through(peer: Callable[..., Peer]) -> None:
    """As the time limits of some task queues, which have no signal in a worker thread."""
    asked = threading.Event()
    gone = threading.Event()

    def drips(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-More: ")
        asked.set()
        while not gone.wait(0.005):
            connection.sendall(b"x")

    client = Client(peer(drips).address, deadline_seconds=30)
    caught: list[BaseException] = []

    def call() -> None:
        try:
            client.assign("pdp", user_id="u1")
        except BaseException as exc:  # noqa: BLE001 which one it is, is what is shown
            caught.append(exc)

    calling = threading.Thread(target=call)
    calling.start()
    assert asked.wait(30)
    assert calling.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(calling.ident), ctypes.py_object(SoftTimeLimit))
    calling.join(30)
    gone.set()
    assert [type(one) for one in caught] == [SoftTimeLimit]
    assert client.stats.fallbacks == {}
