"""One blocking client shared by threads and forked children; one asyncio client for each loop."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from abside.client import AsyncClient, Client
from abside.client.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


def test_an_asyncio_client_works_in_one_event_loop_after_another_and_in_several(sidecar: Process) -> None:
    client = AsyncClient(sidecar.address, deadline_seconds=10)

    async def ask() -> None:
        assert not (await client.assign("pdp", user_id="u1")).fallback

    async def ask_and_close() -> None:
        await ask()
        await client.close()

    for _ in range(2):
        asyncio.run(ask_and_close())
    with asyncio.Runner() as first, asyncio.Runner() as second:
        for runner in (first, second, first, second):
            runner.run(ask())
        second.run(client.close())
        first.run(ask())
        first.run(client.close())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: asyncio.run(ask_and_close()), range(8)))
    assert client.stats.answered == 15
    assert client._process.homes == {}


LOOPS = """
import asyncio, os, sys
from abside.client import AsyncClient

client = AsyncClient(sys.argv[1], deadline_seconds=10)
async def ask():
    answer = await client.assign("home", user_id="u1")
    assert not answer.fallback, answer
asyncio.run(ask())
asyncio.run(ask())     # the first was never closed
assert len(client._process.homes) == 1
async def miss():
    assert (await client.assign("nowhere", user_id="u1")).fallback
asyncio.run(miss())
assert client.stats.untold == 1
if os.fork() == 0:
    stats = client.stats
    asyncio.run(ask())
    os._exit(0 if (stats.untold, stats.answered, client.stats.answered) == (0, 0, 1) else 1)
code = os.waitstatus_to_exitcode(os.wait()[1])
asyncio.run(ask())
asyncio.run(client.close())
sys.exit(code or client.stats.told != 1)
"""


def test_a_loop_that_ended_without_close_and_a_fork_leave_an_asyncio_client_usable(sidecar: Process) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOOPS, sidecar.address], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(sidecar.spooled("client_fallback")) == 1


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301 our own
def test_a_copied_client_has_the_same_settings_and_nothing_else(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    clients: list[Client | AsyncClient | Local] = [
        Client("http://127.0.0.1:1", deadline_seconds=0.5, strict=True, max_waiting=7),
        AsyncClient("unix:/nowhere", deadline_seconds=0.5, strict=True, max_waiting=7),
        Local(tmp_path / "snapshot", tmp_path / "spool", strict=True, max_waiting=7, shared_ids=["bot"], app="shop"),
    ]
    first = clients[0]
    assert isinstance(first, Client)
    first.event("click", user_id="u1")
    for client in clients:
        made = copied(client)
        assert type(made) is type(client)
        assert made._made_with == client._made_with
        assert (made._strict, made._max_waiting, made.stats.waiting) == (True, 7, 0)
    assert copied(first)._address == first._address
    assert first.stats.waiting == 1


async def test_the_callers_own_cancellation_is_not_a_fallback(sidecar: Process) -> None:
    async with AsyncClient(sidecar.address, deadline_seconds=10) as client:
        task = asyncio.get_running_loop().create_task(asyncio.wait_for(client.assign("pdp", user_id="u1"), 10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.stats.fallbacks == {}
        assert not (await client.assign("pdp", user_id="u1")).fallback
