"""One blocking client shared by threads and forked children; one asyncio client for each loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from abside.client import AsyncClient, Client

if TYPE_CHECKING:
    from tests.client.conftest import Process

# Run apart: a test runner is no place to fork. Threads ask without pause while children are forked, and ask there too.
FORKING = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
from abside.client import Client

client = Client(sys.argv[1], deadline_seconds=10)

def ask(number):
    answer = client.assign("pdp", user_id=f"u{number}", attributes={"country": "DE"})
    if answer.fallback or answer.unit["id"] != f"u{number}":
        raise SystemExit(f"asked for u{number}: {answer}")

def crowd(first):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(first, first + 100)))

client.assign("pdp", user_id="before")
busy = threading.Thread(target=crowd, args=(0,))
busy.start()
children = []
for child in range(1, 6):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            crowd(child * 1000)
            code = 0 if client.stats.answered == 100 else 2
        finally:
            os._exit(code)
    children.append(pid)
busy.join()
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
ask("after")
client.close()
print("codes", codes, "answered", client.stats.answered)
sys.exit(any(codes))
"""


def test_threads_share_a_client_and_each_gets_its_own_answers(sidecar: Process) -> None:
    with Client(sidecar.address, deadline_seconds=10) as client, ThreadPoolExecutor(16) as threads:

        def ask(number: int) -> bool:
            answer = client.assign("pdp", user_id=f"u{number}", attributes={"country": "DE"})
            return answer.unit == {"type": "user", "id": f"u{number}"}

        assert all(threads.map(ask, range(1000)))
        assert client.stats.answered == 1000
    assert {one["user_id"] for one in sidecar.spooled("exposure")} == {f"u{number}" for number in range(1000)}


@pytest.mark.parametrize("where", ["address", "unix"])
def test_forked_children_share_a_client_with_busy_threads(sidecar: Process, where: str) -> None:
    # -W error: a socket left unclosed, in parent or child, would be reported on stderr.
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", FORKING]
    ended = subprocess.run([*command, getattr(sidecar, where)], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "codes [0, 0, 0, 0, 0] answered 102" in ended.stdout


def test_a_forked_child_does_not_tell_its_parents_fallbacks(sidecar: Process) -> None:
    script = """
import os, sys
from abside.client import Client

client = Client(sys.argv[1], deadline_seconds=10)
client.assign("home", user_id="u1")
client.assign("nowhere", user_id="u1")
assert client.stats.untold == 1
if os.fork() == 0:
    stats = client.stats
    client.close()
    os._exit(0 if (stats.untold, stats.answered) == (0, 0) and client._here().fallbacks.bases else 1)
code = os.waitstatus_to_exitcode(os.wait()[1])
client.close()
sys.exit(code or client.stats.told != 1)
"""
    command = [sys.executable, "-W", "error", "-c", script, sidecar.address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "fallback reason=refused" + ended.stderr[23:])
    assert len(sidecar.spooled("client_fallback")) == 1


def test_an_asyncio_client_says_that_it_belongs_to_another_loop(sidecar: Process) -> None:
    client = AsyncClient(sidecar.address, deadline_seconds=10)

    async def ask() -> None:
        assert not (await client.assign("pdp", user_id="u1")).fallback

    async def ask_and_close() -> None:
        await ask()
        await client.close()

    asyncio.run(ask_and_close())
    with asyncio.Runner() as first:
        first.run(ask())  # closed, it may be used in another loop
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="make one in each"):
            second.run(ask())
        first.run(client.close())


async def test_the_callers_own_cancellation_is_not_a_fallback(sidecar: Process) -> None:
    async with AsyncClient(sidecar.address, deadline_seconds=10) as client:
        task = asyncio.get_running_loop().create_task(asyncio.wait_for(client.assign("pdp", user_id="u1"), 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.stats.fallbacks == {}
        assert not (await client.assign("pdp", user_id="u1")).fallback
