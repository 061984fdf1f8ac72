"""A collector on asyncio's own loop with few descriptors: strangers who take all they can lock nobody out."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_SECONDS = 30.0


def is_alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=DEADLINE_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_five_hundred_silent_connections_on_128_descriptors_keep_no_probe_from_its_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "abside", "collector", "--store", str(tmp_path / "store")]
    command += ["--listen", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("wb") as log:
        limited = ["sh", "-c", 'ulimit -n 128 && exec "$0" "$@"', *command]
        process = subprocess.Popen(limited, stderr=log)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_alive(port):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        held = [socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS) for _ in range(500)]
        assert [is_alive(port) for _ in range(10)] == [True] * 10
        for one in held:
            one.close()
    finally:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
    assert "Traceback" not in (tmp_path / "log").read_text()
