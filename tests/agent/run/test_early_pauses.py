"""A pause is in force while documents are still read or compiled; a lifted one stays lifted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import Snapshot, SnapshotError, decode
from abside_agent.document.reading import File, Reading
from abside_agent.run.agent import Agent
from abside_agent.run.early_pauses import EarlyPauses
from abside_agent.settings import AgentSettings
from abside_agent.settle.pause import MAX_QUICK_BYTES
from abside_agent.sources.mounted import Mounted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agent.conftest import Doc

PATIENCE_SECONDS = 45.0  # below the 60 s after which a stopped child is given up; a quiet machine takes 0.3 s
ON_COUNT = "{control: {weight: 50%}, b: {weight: 50%, parameters: {pdp: {count: 9}}}}"
FULL = "x" * 900_000  # five such parameters are more than the agent lays pauses over by itself


@dataclass
class Pod:
    """A real agent over plain directories."""

    path: Path
    process: subprocess.Popen[bytes] = field(init=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        options = ("--config", str(self.path / "config"), "--paused", str(self.path / "paused"))
        command = [sys.executable, "-m", "abside", "agent", *options, "--snapshot", str(self.path / "snapshot")]
        self.process = subprocess.Popen(command)
        try:
            yield
        finally:
            self.process.kill()
            self.process.wait()

    def write(self, name: str, text: str) -> None:
        (self.path / "config" / f"{name}.yaml").write_text(text)

    def await_snapshot(self, holds: Callable[[Snapshot], bool]) -> None:
        self.until(lambda: holds(decode((self.path / "snapshot").read_bytes())))

    def child(self) -> int:
        """Wait for a child and stop it where it is: its documents take for ever."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found: list[int] = []

        def is_there() -> bool:  # not before its exec, on which the agent waits
            started = (int(child) for child in children.read_text().split())
            found[:] = [one for one in started if b"child.inside" in Path(f"/proc/{one}/cmdline").read_bytes()]
            return bool(found)

        self.until(is_there)
        os.kill(found[0], signal.SIGSTOP)
        return found[0]

    def until(self, done: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            try:
                if done():
                    return
            except (FileNotFoundError, SnapshotError):
                pass
            time.sleep(0.005)
        raise AssertionError(f"not so after {PATIENCE_SECONDS} s")


@pytest.fixture
def real_pod(tmp_path: Path) -> Pod:
    for name in ("config", "paused"):
        (tmp_path / name).mkdir()
    return Pod(tmp_path)


@pytest.mark.parametrize("key", ["x", "all"])
def test_a_pause_is_in_force_while_a_child_takes_for_ever_and_stays_when_it_answers(
    key: str, real_pod: Pod, doc: type[Doc]
) -> None:
    real_pod.write("g", doc.GROUND + doc.one("x"))
    with real_pod.running():
        real_pod.await_snapshot(lambda found: "x" in found.experiments)
        real_pod.write("y", doc.one("y", variants=doc.setting("count")))
        child = real_pod.child()
        (real_pod.path / "paused" / key).write_text("carts broken")
        real_pod.await_snapshot(lambda found: found.experiments["x"].pause == "carts broken")
        os.kill(child, signal.SIGCONT)
        seen: list[str | None] = []

        def has_both(found: Snapshot) -> bool:
            seen.append(found.experiments["x"].pause)
            return "y" in found.experiments

        real_pod.await_snapshot(has_both)
        assert set(seen) == {"carts broken"}, "what the child made without the pause is never in force without it"
        real_pod.write("y", doc.one("y", variants=doc.setting("tags", "[b]")))
        child = real_pod.child()
        (real_pod.path / "paused" / key).unlink()
        real_pod.await_snapshot(lambda found: found.experiments["x"].pause is None)
        os.kill(child, signal.SIGCONT)
        real_pod.await_snapshot(lambda found: "tags" in found.experiments["y"].variants[1].parameters["pdp"])
        real_pod.await_snapshot(lambda found: found.experiments["y"].pause is None)


def test_over_a_snapshot_that_the_agent_cannot_hold_a_child_of_its_own_lays_it(real_pod: Pod, doc: type[Doc]) -> None:
    real_pod.write("g", doc.GROUND + doc.one("x"))
    for number in range(5):
        real_pod.write(f"full{number}", f"placements:\n  full{number}: {{parameters: {{text: {FULL}}}}}\n")
    with real_pod.running():
        real_pod.await_snapshot(lambda found: "x" in found.experiments)
        assert (real_pod.path / "snapshot").stat().st_size > MAX_QUICK_BYTES
        real_pod.write("y", doc.one("y", variants=doc.setting("count")))
        real_pod.child()
        (real_pod.path / "paused" / "x").write_text("carts broken")
        real_pod.await_snapshot(lambda found: found.experiments["x"].pause == "carts broken")
        real_pod.await_snapshot(lambda found: "y" in found.experiments and found.experiments["x"].pause is not None)


@dataclass
class Restless(Mounted):
    """Directories of which no two readings are alike until `calm`; `pauses` are shown from one reading to another."""

    documents: str = ""
    pauses: Callable[[int], dict[str, str]] = lambda _: {}
    calm: int = 1000
    readings: int = 0
    after: Callable[[int], None] = lambda _: None

    def read(self) -> Reading:
        self.after(self.readings)
        self.readings += 1
        comment = f"# {min(self.readings, self.calm)}\n"
        return Reading((File("g.yaml", (self.documents + comment).encode()),), paused={"p": self.pauses(self.readings)})

    def read_pauses(self) -> Reading:
        return Reading(paused={"p": self.pauses(self.readings)})


def test_a_directory_that_is_written_all_the_time_keeps_no_pause_waiting(tmp_path: Path, doc: type[Doc]) -> None:
    snapshot = tmp_path / "snapshot"
    source = Restless((str(tmp_path),), (str(tmp_path),), documents=doc.GROUND + doc.one("x"), calm=0)
    agent = Agent(AgentSettings((str(tmp_path),), str(snapshot)), source, Event(), lambda: 7)
    agent.turn()
    source.readings, source.calm = 1, 1000
    seen: dict[int, str | None] = {}

    def look(readings: int) -> None:
        seen[readings] = decode(snapshot.read_bytes()).experiments["x"].pause

    source.after = look
    source.pauses = lambda number: {"x": "carts broken"} if number >= 4 else {}
    agent.turn()
    assert seen[3] is None
    assert len(seen) > 10, "it was read again and again"
    assert {pause for number, pause in seen.items() if number >= 4} == {"carts broken"}


def test_what_was_paused_for_a_moment_in_mid_write_does_not_stay_paused(tmp_path: Path, doc: type[Doc]) -> None:
    snapshot = tmp_path / "snapshot"
    source = Restless((str(tmp_path),), (str(tmp_path),), documents=doc.GROUND + doc.one("x"), calm=0)
    agent = Agent(AgentSettings((str(tmp_path),), str(snapshot)), source, Event(), lambda: 7)
    agent.turn()
    source.readings = 0
    source.pauses = lambda number: {"x": "draft of a reason"} if number == 1 else {}
    agent.turn()
    agent.turn()
    assert decode(snapshot.read_bytes()).experiments["x"].pause is None


def test_a_reading_is_due_once_and_an_uncertain_one_resumes_nothing() -> None:
    ahead = EarlyPauses(Reading)
    nothing, paused = Reading(paused={"p": {}}), Reading(paused={"p": {"x": "why"}})
    assert ahead.due(paused, is_certain=True) == paused
    assert ahead.due(paused, is_certain=True) is ahead.due(paused, is_certain=False) is None
    doubted = ahead.due(nothing, is_certain=False)
    assert doubted is not None
    assert doubted.keeps == ("p",)
    assert ahead.due(nothing, is_certain=False) is None
    assert ahead.due(nothing, is_certain=True) == nothing


def test_a_pause_is_in_force_at_once_although_another_directory_is_away(tmp_path: Path, doc: type[Doc]) -> None:
    for name in ("config", "one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "g.yaml").write_text(doc.GROUND + doc.one("x") + doc.experiment("y", variants=ON_COUNT))
    settings = AgentSettings(
        (str(tmp_path / "config"),), str(tmp_path / "s"), (str(tmp_path / "one"), str(tmp_path / "two"))
    )
    (tmp_path / "two" / "x").write_text("kept")
    agent = Agent(settings, Mounted(settings.config, settings.paused), Event(), lambda: 7)
    agent.turn()
    (tmp_path / "two" / "x").unlink()
    (tmp_path / "two").rmdir()
    hurried = AgentSettings(settings.config, settings.snapshot, settings.paused, compile_seconds=0.0)
    later = Agent(hurried, Mounted(settings.config, settings.paused), Event(), lambda: 7)
    (tmp_path / "one" / "all").write_text("stop")
    later.turn()
    after = decode((tmp_path / "s").read_bytes())
    assert after.experiments["y"].pause == "stop"
    assert after.experiments["x"].pause == "kept", "its own reason, from the directory that is away"
    assert after.head.pauses == {"one": {"all": "stop"}, "two": {"x": "kept"}}
