"""A collector on asyncio's own loop with few descriptors: strangers who take all they can lock nobody out."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_SECONDS = 30.0


def is_alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=DEADLINE_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def collecting(folder: Path, *options: str) -> Iterator[int]:
    """Run a collector with 128 descriptors, which has room for eight connections beyond its bound; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "abside", "collector", "--store", str(folder / "store")]
    command += ["--listen", f"127.0.0.1:{port}", *options]
    with (folder / "log").open("wb") as log:
        limited = ["sh", "-c", 'ulimit -n 128 && exec "$0" "$@"', *command]
        process = subprocess.Popen(limited, stderr=log)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_alive(port):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
    assert "Traceback" not in (folder / "log").read_text()


def sent(port: int, number: int) -> socket.socket:
    """Send a batch that waits for its group, by a connection that stays open."""
    event = msgpack.packb({"event_id": f"e{number}", "type": "click", "ts": 1})
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/msgpack\r\n"
        f"Idempotency-Key: b{number}\r\nX-Batch-Count: 1\r\nContent-Length: {len(event)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
    connection.sendall(head.encode() + event)
    return connection


def test_five_hundred_silent_connections_on_128_descriptors_keep_no_probe_from_its_answer(tmp_path: Path) -> None:
    with collecting(tmp_path) as port:
        held = [socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) for _ in range(500)]
        assert [is_alive(port) for _ in range(10)] == [True] * 10
        for one in held:
            one.close()


def test_senders_beyond_the_bound_and_its_room_keep_no_probe_from_its_answer(tmp_path: Path) -> None:
    options = ("--max-connections", "4", "--group-seconds", "0.01")
    with ExitStack() as ends, collecting(tmp_path, *options) as port:
        for number in range(12):  # each is answered, and stays: a probe is the only one that never was
            assert ends.enter_context(sent(port, number)).recv(2**16).startswith(b"HTTP/1.1 200")
        assert is_alive(port)


def test_senders_that_all_wait_for_their_group_keep_no_probe_from_its_answer(tmp_path: Path) -> None:
    options = ("--max-connections", "4", "--group-seconds", "1")
    with ExitStack() as ends, collecting(tmp_path, *options) as port:
        waiting = [ends.enter_context(sent(port, number)) for number in range(4)]
        assert [is_alive(port) for _ in range(3)] == [True] * 3
        assert [one.recv(2**16).split()[1] for one in waiting] == [b"200"] * 4
