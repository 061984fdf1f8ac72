from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import Snapshot, decode
from abside_agent.run.agent import Agent
from abside_agent.settings import AgentSettings
from abside_agent.sources.mounted import Mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc


@dataclass
class World:
    """A config and a paused directory, a snapshot file, and agents that read them when a test asks for it."""

    path: Path
    settings: AgentSettings = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("config", "paused"):
            (self.path / name).mkdir()
        snapshot = str(self.path / "out" / "snapshot")
        self.settings = AgentSettings((str(self.path / "config"),), snapshot, (str(self.path / "paused"),))

    def agent(self) -> Agent:
        source = Mounted(self.settings.config, self.settings.paused)
        return Agent(self.settings, source, Event(), lambda: 7, lambda: self.seconds)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / "config" / f"{name}.yaml").write_text(text)

    @property
    def file(self) -> Path:
        return self.path / "out" / "snapshot"

    @property
    def published(self) -> Snapshot:
        return decode(self.file.read_bytes())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_turn_publishes_and_the_next_one_leaves_the_file_alone(world: World, doc: type[Doc]) -> None:
    world.write(g=doc.GROUND, x=doc.one("x"))
    agent = world.agent()
    agent.turn()
    assert agent.is_clean
    first = world.file.stat()
    world.write(g=doc.GROUND + "# a comment\n")
    agent.turn()
    assert world.file.stat().st_ino == first.st_ino
    world.write(x=doc.one("x", traffic="5%"))
    agent.turn()
    assert world.published.experiments["x"].steps[0].traffic_bp == 500


def test_a_missing_directory_is_waited_for_and_nothing_is_published_meanwhile(
    world: World, doc: type[Doc], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (world.path / "config").rmdir()
    agent = world.agent()
    agent.turn()
    agent.turn()
    assert not world.file.exists()
    content = [record.message.split()[0] for record in caplog.records]
    assert content == ["problem", "problem", "nothing_published"]
    (world.path / "config").mkdir()
    world.write(g=doc.GROUND)
    agent.turn()
    assert list(world.published.placements) == ["home", "pdp"]


def test_a_restarted_agent_has_the_last_good_of_the_one_before(world: World, doc: type[Doc]) -> None:
    world.write(g=doc.GROUND, x=doc.one("x"), y=doc.one("y", status="draft"))
    world.agent().turn()
    revision = world.published.head.revision
    world.write(x="\tbroken", y=doc.one("y", status="draft", traffic="5"))
    world.agent().turn()
    assert world.published.head.revision == revision
    assert world.published.head.degraded
    assert {problem.code for problem in world.published.head.problems} == {"TAB", "PERCENT"}


def test_an_old_and_a_fresh_agent_publish_the_same_bytes(world: World, doc: type[Doc]) -> None:
    agent = world.agent()
    for traffic in ("5%", "7", "9%"):
        world.write(g=doc.GROUND, x=doc.one("x", traffic=traffic))
        agent.turn()
    old = world.file.read_bytes()
    world.file.unlink()
    world.agent().turn()
    assert world.file.read_bytes() == old


@pytest.mark.parametrize("content", [b"", b"junk", b"abside\x00S\x09\x00\x00\x00" + bytes(60)])
def test_a_snapshot_nobody_can_read_is_said_and_replaced(
    content: bytes, world: World, doc: type[Doc], caplog: pytest.LogCaptureFixture
) -> None:
    world.file.parent.mkdir()
    world.file.write_bytes(content)
    world.write(g=doc.GROUND)
    world.agent().turn()
    assert list(world.published.placements) == ["home", "pdp"]
    assert ("last_snapshot_unreadable" in caplog.text) == bool(content)


def test_a_snapshot_that_vanishes_is_written_again(world: World, doc: type[Doc]) -> None:
    world.write(g=doc.GROUND)
    agent = world.agent()
    agent.turn()
    before = world.file.read_bytes()
    world.file.unlink()
    agent.turn()
    assert world.file.read_bytes() == before


def test_a_disk_that_refuses_is_tried_again_at_every_turn_and_said_once(
    world: World, doc: type[Doc], caplog: pytest.LogCaptureFixture
) -> None:
    (world.path / "out").write_text("a file where a directory should be")
    world.write(g=doc.GROUND)
    agent = world.agent()
    for _ in range(3):
        agent.turn()
    assert not agent.is_clean
    assert caplog.text.count("not_published") == 1
    (world.path / "out").unlink()
    agent.turn()
    assert list(world.published.placements) == ["home", "pdp"]


def test_documents_past_the_limits_change_nothing_but_the_pauses_and_are_tried_again_later(
    world: World, doc: type[Doc]
) -> None:
    world.write(g=doc.GROUND, x=doc.one("x"))
    world.agent().turn()
    before = world.published
    world.settings = replace(world.settings, compile_seconds=0.0)
    world.write(x=doc.one("x", traffic="5%"))
    hurried = world.agent()
    hurried.turn()
    assert world.published == before, "no child can answer in no time, so nothing changed at all"
    world.settings = replace(world.settings, compile_seconds=60.0, compile_cpu_seconds=1)
    for part in "hij":
        lines = [doc.experiment(f"{part}{number}") for number in range(3000)]
        world.write(**{part: doc.experiments(*lines)})
    (world.path / "paused" / "x").write_text("carts broken")
    agent = world.agent()
    agent.turn()
    after = world.published
    assert after.experiments["x"].pause == "carts broken"
    assert [problem.code for problem in after.head.problems] == ["NOT_COMPILED"]
    assert "1 s of CPU" in after.head.problems[0].message
    for part in "hij":
        (world.path / "config" / f"{part}.yaml").unlink()
    agent.turn()
    assert world.published.head.problems == ()


def test_a_child_that_failed_for_no_fault_of_the_documents_is_asked_again(world: World, doc: type[Doc]) -> None:
    world.write(g=doc.GROUND)
    world.settings = replace(world.settings, compile_seconds=0.0)
    agent = world.agent()
    agent.turn()
    assert not world.file.exists()
    agent.settings = replace(world.settings, compile_seconds=60.0)
    world.seconds += 10.0
    agent.turn()
    assert list(world.published.placements) == ["home", "pdp"]


def test_each_problem_is_logged_once(world: World, doc: type[Doc], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.write(g=doc.GROUND, x=doc.one("x", traffic="5"))
    agent = world.agent()
    agent.turn()
    (world.path / "paused" / "nobody").write_text("why")
    agent.turn()
    content = [record.message.split()[0] for record in caplog.records]
    assert content == ["problem", "held_back", "published", "problem", "published"]
    assert "x.yaml:2:" in caplog.records[0].message
    assert "degraded=true placements=2 layers=1 experiments=0 problems=1" in caplog.records[2].message


def test_an_agent_that_looks_touches_the_snapshot_every_ten_seconds_and_no_more(world: World, doc: type[Doc]) -> None:
    world.write(g=doc.GROUND)
    agent = world.agent()
    agent.turn()
    before = world.file.read_bytes()
    for seconds, is_touched in ((9.0, False), (10.0, True), (19.0, False), (20.0, True)):
        os.utime(world.file, (0, 0))
        world.seconds = seconds
        agent.turn()
        assert (world.file.stat().st_mtime > 0) == is_touched, seconds
    assert world.file.read_bytes() == before
