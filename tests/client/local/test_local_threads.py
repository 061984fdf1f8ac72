"""Who shares one client: threads through a close and in a forked child, and a signal handler within a call."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from abside import event
from abside.client.local import Local
from abside.event import EventIds
from abside.snapshot import Experiment, Placement, Variant, assemble, encode
from abside.spool.frame import good_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ARMS = (Variant("control", 0, 5_000), Variant("treatment", 5_000, 10_000, {"pdp": {"model": "v2"}}))
ONLY = Experiment("only", "n", "h", "running", ("pdp",), ARMS, "control")
THREADS = 8


@pytest.fixture
def client(tmp_path: Path) -> Local:
    (tmp_path / "spool").mkdir()
    (tmp_path / "snapshot").write_bytes(
        encode(assemble({}, [Placement("pdp", {"model": "v1"}), ONLY], written_at_us=1))
    )
    return Local(tmp_path / "snapshot", tmp_path / "spool")


@pytest.fixture
def often() -> Iterator[None]:
    """Threads that take turns at any place."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(work: Callable[[], None]) -> None:
    ready = threading.Barrier(THREADS)

    def run() -> None:
        ready.wait()
        work()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stored(tmp_path: Path, kind: str) -> list[event.EventMap]:
    files = [path for path in (tmp_path / "spool").rglob("*") if path.suffix in {".seg", ".open"}]
    events = [event.decode(one) for path in files for one in good_frames(path.read_bytes()).payloads]
    return [one for one in events if one["type"] == kind]


@pytest.mark.usefixtures("often")
def test_a_close_in_the_middle_of_calls_loses_none(client: Local, tmp_path: Path) -> None:
    answers = []

    def work() -> None:
        for number in range(60):
            answers.append(client.assign("pdp", user_id=f"u{number}"))
            if number % 10 == 9:
                client.close()

    together(work)
    client.close()
    client.close()
    found = Counter(one["event_id"] for one in stored(tmp_path, "exposure"))
    assert found == Counter(answer.exposure_id for answer in answers)
    last = [one["accepted"]["exposure"] for one in stored(tmp_path, "account") if one.get("clean_end")]
    assert sum(last) == len(answers)


@pytest.mark.usefixtures("often")
def test_the_first_calls_of_a_child_may_come_at_once(client: Local, tmp_path: Path) -> None:
    children = 30
    client.assign("pdp", user_id="parent")
    for _ in range(children):
        child = os.fork()
        if child == 0:
            raised: list[BaseException] = []

            def work() -> None:
                try:
                    client.assign("pdp", user_id="child")
                except BaseException as exc:  # noqa: BLE001 whatever it is fails the test
                    raised.append(exc)  # noqa: B023 it is this child's

            together(work)
            os._exit(len(raised))
        assert os.waitpid(child, 0)[1] == 0
    assert len(stored(tmp_path, "exposure")) == 1 + children * THREADS


def test_an_id_may_be_asked_for_while_one_is_made() -> None:
    ids, made = EventIds("boot"), []

    def meanwhile(*_: object) -> None:  # as a signal handler, at each place where one can run
        made.append(ids.next_utf8())

    sys.setprofile(meanwhile)
    try:
        for _ in range(600):
            made.append(ids.next_utf8())  # noqa: PERF401 a list being extended is in no state to be appended to
    finally:
        sys.setprofile(None)
    assert len(set(made)) == len(made) > 600


def test_a_signal_handler_may_ask_within_a_call(client: Local, tmp_path: Path) -> None:
    given: list[str | None] = []

    def ask(number: int) -> None:
        answer = client.assign("pdp", user_id=f"u{number}")
        assert not answer.fallback
        given.append(answer.exposure_id)

    def meanwhile(*_: object) -> None:  # at each place where a handler can run, one call deep
        sys.setprofile(None)
        ask(1)
        sys.setprofile(meanwhile)

    for number in range(3):
        sys.setprofile(meanwhile)
        try:
            client.assign("pdp", user_id=f"v{number}")
        finally:
            sys.setprofile(None)
    client.close()
    ids = [event["event_id"] for event in stored(tmp_path, "exposure")]
    assert len(given) > 50
    assert len(ids) == len(set(ids)) == len(given) + 3


def test_what_a_signal_handler_raises_within_a_write_comes_out_and_nothing_is_written_twice(
    client: Local, tmp_path: Path
) -> None:
    client.assign("pdp", user_id="first")
    asked = 3

    def meanwhile(_frame: object, kind: str, called: object) -> None:  # as a handler, just behind a write
        if kind == "c_return" and called is os.write:
            raise TimeoutError("the application's own")

    for number in range(asked):
        sys.setprofile(meanwhile)
        try:
            with pytest.raises(TimeoutError, match="own"):
                client.assign("pdp", user_id=f"u{number}")
        finally:
            sys.setprofile(None)
    opened = client._process.deciding.spool._open
    assert opened is not None
    assert opened.length == opened.path.stat().st_size  # what a full disk takes of the next write is cut off behind it
    client.close()
    ids = [event["event_id"] for event in stored(tmp_path, "exposure")]
    assert len(ids) == len(set(ids)) == asked + 1
