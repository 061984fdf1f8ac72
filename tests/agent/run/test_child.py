from __future__ import annotations

import sys
from threading import Event, Timer
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import Problem, decode
from abside_agent.document.reading import File, Reading
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.run.child.inside import answer
from abside_agent.run.child.spawn import ChildError, run

if TYPE_CHECKING:
    from tests.agent.conftest import Doc

MIB = 2**20


def order(text: str, last: bytes = b"", cpu_seconds: int = 20, memory_bytes: int = 192 * MIB) -> Order:
    reading = Reading((File("f.yaml", text.encode()),))
    return Order(reading.pack(), last, 5, cpu_seconds, memory_bytes)


def test_an_order_and_an_outcome_cross_the_pipe_unchanged() -> None:
    problem = Problem("error", "X", "f", 1, 2, "p", "v", "m", "r")
    one = Order(b"reading", b"last", 5, 20, 1000, problem)
    assert Order.unpack(one.pack()) == one
    other = ChildReply(b"snapshot", "abc", {"placements": 1}, (problem,), {"a": "none"}, "why")
    assert ChildReply.unpack(other.pack()) == other
    assert other.is_degraded


def test_a_child_answers_with_the_snapshot_and_with_nothing_when_nothing_changed(doc: type[Doc]) -> None:
    outcome = run(order(doc.GROUND + doc.one("x")), 60, Event())
    assert list(decode(outcome.snapshot).experiments) == ["x"]
    assert (outcome.counts, outcome.problems) == ({"placements": 2, "layers": 1, "experiments": 1}, ())
    again = answer(order(doc.GROUND + doc.one("x"), outcome.snapshot))
    assert (again.snapshot, again.revision) == (b"", outcome.revision)


@pytest.mark.parametrize("last", [b"abside", b"x" * 100, b"abside\x00S" + bytes(100)])
def test_a_snapshot_that_cannot_be_read_is_said_and_gone_on_without(last: bytes, doc: type[Doc]) -> None:
    outcome = answer(order(doc.GROUND, last))
    assert outcome.snapshot
    assert "snapshot refused" in outcome.last_refused


def test_the_documents_are_not_looked_at_when_they_must_not_be(doc: type[Doc]) -> None:
    before = answer(order(doc.GROUND + doc.one("x"))).snapshot
    problem = Problem("error", "NOT_COMPILED", "documents", 0, 0, "", "", "m", "r")
    reading = Reading((File("f.yaml", b"\t"),), paused={"paused": {"x": "stop"}})
    outcome = answer(Order(reading.pack(), before, 5, 1, 1, problem))
    after = decode(outcome.snapshot)
    assert after.experiments["x"].pause == "stop"
    assert after.head.problems == (problem,)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("raise SystemExit(3)", "more than 192 MiB of memory"),
        ("raise SystemExit(7)", "ended with 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "for want of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "20 s of CPU"),
        ("print('hello')", "answer cannot be read"),
        ("pass", "answer cannot be read"),
        ("import time; time.sleep(600)", "longer than 0.5 s"),
    ],
)
def test_a_child_that_dies_or_hangs_is_one_error(program: str, why: str) -> None:
    with pytest.raises(ChildError, match=why):
        run(order("a: b"), 0.5 if "sleep" in program else 60, Event(), [sys.executable, "-c", program])


def test_a_command_that_is_not_there_is_the_same_error() -> None:
    with pytest.raises(ChildError, match="no process could be started"):
        run(order("a: b"), 60, Event(), ["/nowhere/python"])


def test_a_stop_ends_a_child_at_once() -> None:
    stop = Event()
    Timer(0.3, stop.set).start()
    begun = monotonic()
    with pytest.raises(ChildError, match="stopped"):
        run(order("a: b"), 600, stop, [sys.executable, "-c", "import time; time.sleep(600)"])
    assert monotonic() - begun < 60


def test_a_document_past_the_limits_costs_the_child_only(doc: type[Doc]) -> None:
    lines = [doc.experiment(f"e{number}") for number in range(4000)]  # well past both limits
    text = doc.GROUND + doc.experiments(*lines)
    with pytest.raises(ChildError, match="42 MiB of memory"):
        run(order(text, memory_bytes=42 * MIB), 60, Event())
    with pytest.raises(ChildError, match="1 s of CPU"):
        run(order(text, cpu_seconds=1), 60, Event())
