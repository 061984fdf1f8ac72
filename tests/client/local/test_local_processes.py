"""Processes that decide and write beside a sidecar, which are killed, fork, fall silent; and what arrives of theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from abside.client.local import Local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.client.conftest import Process

PATIENCE_SECONDS = 30.0
HEAD = """
import os, sys, time
from abside.client.local import Local
folder = sys.argv[1]
client = Local(folder + "/snapshot", folder + "/spool")
def ask(number):
    answer = client.assign("pdp", user_id=f"{os.getpid()}-{number}", attributes={"country": "DE"})
    assert not answer.fallback and answer.exposure_id, answer
def tell(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: lines of several processes stay whole
"""
# Asks without end, and tells of each answer once it has it.
ENDLESS = HEAD + "number = 0\nwhile True:\n    ask(number)\n    number += 1\n    tell(number)\n"
# A server that loads the application and uses it before it forks, as gunicorn with --preload does.
PRELOADED = (
    HEAD
    + """
ask(0)
for child in range(3):
    if os.fork() == 0:
        for number in range(200):
            ask(number)
        tell("child", os.getpid())
        sys.stdin.readline()  # silent until the test ends
        os._exit(0)
tell("parent", os.getpid())
time.sleep(600)
"""
)
SILENT = HEAD + "ask(1)\ntell('asked')\nsys.stdin.readline()\nask(2)\ntell('again')\nsys.stdin.readline()\n"


@dataclass
class Script:
    """A process that runs one of the programs above."""

    process: subprocess.Popen[str]

    def line(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    begun: list[Script] = []

    def start(program: str) -> Script:
        command = [sys.executable, "-c", program, str(tmp_path)]
        begun.append(Script(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)))
        return begun[-1]

    yield start
    for script in begun:
        script.process.kill()
        script.process.communicate()


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def folders(sidecar: Process) -> int:
    local = sidecar.folder / "spool" / "local"
    return sum(path.is_dir() and path.name[0] != "." for path in local.iterdir()) if local.is_dir() else 0


def test_what_was_answered_before_a_kill_arrives_once(sidecar: Process, run: Callable[[str], Script]) -> None:
    told = 0
    for _ in range(3):
        script = run(ENDLESS)
        script.line()
        time.sleep(0.1)  # somewhere in the middle
        script.process.kill()
        rest = script.process.communicate()[0].split()
        told += int(rest[-1]) if rest else 1
    sidecar.await_no_local()
    stored = [event["event_id"] for event in sidecar.spooled("exposure")]
    assert told <= len(stored) <= told + 3  # the last of each may have been on disk before it could be told
    assert len(set(stored)) == len(stored)


def test_a_killed_parents_events_come_although_its_children_live(
    sidecar: Process, run: Callable[[str], Script]
) -> None:
    script = run(PRELOADED)
    lines = [script.line() for _ in range(4)]
    children = [int(pid) for word, pid in lines if word == "child"]
    (parent,) = [int(pid) for word, pid in lines if word == "parent"]
    assert (len(children), parent) == (3, script.process.pid)
    assert folders(sidecar) == 4
    os.kill(parent, signal.SIGKILL)
    script.process.wait()
    wait_for(lambda: folders(sidecar) == 3)
    assert f"{parent}-0" in {event["user_id"] for event in sidecar.spooled("exposure")}
    for pid in children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    sidecar.await_no_local()
    stored = {event["user_id"] for event in sidecar.spooled("exposure")}
    assert stored == {f"{parent}-0"} | {f"{pid}-{number}" for pid in children for number in range(200)}


def test_a_silent_process_does_not_keep_its_events(
    absent: Process, world: object, run: Callable[[str], Script]
) -> None:
    absent.publish(world)  # type: ignore[arg-type]
    absent.options = ("--seal-seconds", "0.2", "--quiet-seconds", "0")
    absent.start()
    script = run(SILENT)
    assert script.line() == ["asked"]
    wait_for(lambda: len(absent.spooled("exposure")) == 1)
    assert folders(absent) == 1  # it lives, and has not been called since
    script.go_on()
    assert script.line() == ["again"]
    wait_for(lambda: len(absent.spooled("exposure")) == 2)
    script.process.kill()
    absent.await_no_local()
    users = [event["user_id"] for event in absent.spooled("exposure")]
    assert users == [f"{script.process.pid}-1", f"{script.process.pid}-2"]


def test_a_process_gets_no_more_than_the_sidecars_quota_has_left(
    absent: Process, world: object, run: Callable[[str], Script]
) -> None:
    absent.publish(world)  # type: ignore[arg-type]
    absent.options = ("--spool-limit", "1MiB")
    absent.start()
    wait_for((absent.folder / "spool" / "local").is_dir)
    script = run(
        HEAD
        + """
ask(0)
until = time.monotonic() + 30
while not (lost := client.lost) and time.monotonic() < until:
    ask(1)
tell("lost", lost)
client.close()
"""
    )
    word, lost = script.line()
    assert word == "lost"
    assert int(lost) > 0
    script.process.communicate()
    absent.await_no_local()
    accounts = absent.spooled("account")
    assert max(one["lost"].get("exposure", 0) for one in accounts) >= int(lost)
    held = sum(path.stat().st_size for path in (absent.folder / "spool" / "q").iterdir())
    assert held < 6 * 2**20  # what it may write before the sidecar has spoken, and the quota


def test_it_works_as_soon_as_the_mounts_do(absent: Process, world: object) -> None:
    spool = absent.folder / "spool"
    with Local(absent.folder / "snapshot", spool) as client:
        first = client.assign("pdp", user_id="u1", fallback={"model": "mine"})
        assert (first.fallback, first.why, first.config) == (True, "unreachable", {"model": "mine"})
        absent.publish(world)  # type: ignore[arg-type]
        absent.start()
        wait_for(lambda: not client.assign("pdp", user_id="u2", attributes={"country": "DE"}).fallback)
        assert client.problem == ""
        assert client.stats.told == client.stats.fallbacks["unreachable"] + client.stats.fallbacks.get("unavailable", 0)


def test_an_outcome_waits_until_there_is_a_spool(absent: Process) -> None:
    spool = absent.folder / "spool"
    now_us = 1_700_000_000_000_000
    with Local(absent.folder / "snapshot", spool, wall=lambda: now_us) as client:
        receipt = client.event("add_to_cart", user_id="u1", item_id="i1", event_id="waits")
        assert (bool(receipt), receipt.why, receipt.waits, client.stats.waiting) == (False, "unreachable", True, 1)
        spool.mkdir()
        now_us += 60_000_000
        assert client.event("add_to_cart", user_id="u1", item_id="i1", event_id="direct")
        assert (client.stats.waiting, client.stats.sent_later, client.stats.lost_reports) == (0, 1, 0)
    written = b"".join(path.read_bytes() for path in (spool / "local").rglob("*.seg"))
    assert b"waits" in written
    assert b"direct" in written
