"""What stays paused while a paused directory cannot be read: for an agent that restarts as for one that goes on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import Snapshot, decode, encode
from abside_agent.run.agent import Agent
from abside_agent.settings import AgentSettings
from abside_agent.sources.mounted import Mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc, Pod


@dataclass
class Node:
    """One set of directories, which several agents look at, each with a snapshot file of its own."""

    path: Path
    names: tuple[str, ...] = ("one", "two")
    agents: dict[str, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("config", *self.names):
            (self.path / name).mkdir()

    def start(self, name: str, after: str = "") -> None:
        """Start an agent, with the snapshot file that another one has published."""
        if after:
            shutil.copy(self.path / f"{after}.snapshot", self.path / f"{name}.snapshot")
        paused = tuple(str(self.path / one) for one in self.names)
        settings = AgentSettings((str(self.path / "config"),), str(self.path / f"{name}.snapshot"), paused)
        self.agents[name] = Agent(settings, Mounted(settings.config, settings.paused), Event(), lambda: 7)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / "config" / f"{name}.yaml").write_text(text)

    def turn(self) -> dict[str, str | None]:
        """Let every agent read; return what is paused, on which all of them must agree."""
        for agent in self.agents.values():
            agent.turn()
        first, *others = [self.published(name) for name in self.agents]
        assert all(other == first for other in others), "same files and pauses, same snapshot"
        return {name: one.pause for name, one in first.experiments.items()}

    def published(self, name: str) -> Snapshot:
        return decode((self.path / f"{name}.snapshot").read_bytes())


def test_a_key_deleted_where_one_can_read_resumes_although_another_directory_is_away(
    tmp_path: Path, doc: type[Doc]
) -> None:
    node = Node(tmp_path)
    node.write(g=doc.GROUND, x=doc.one("x"), y=doc.one("y", variants=doc.setting("count")))
    node.start("old")
    (tmp_path / "one" / "x").write_text("carts broken")
    (tmp_path / "two" / "y").write_text("slow")
    assert node.turn() == {"x": "carts broken", "y": "slow"}
    (tmp_path / "two").rename(tmp_path / "away")
    node.start("restarted", after="old")
    assert node.turn() == {"x": "carts broken", "y": "slow"}
    (tmp_path / "one" / "x").unlink()
    node.start("later", after="old")
    assert node.turn() == {"x": None, "y": "slow"}
    (tmp_path / "away").rename(tmp_path / "two")
    (tmp_path / "two" / "y").unlink()
    assert node.turn() == {"x": None, "y": None}


def test_all_stays_all_so_that_a_new_experiment_is_paused_too(tmp_path: Path, doc: type[Doc]) -> None:
    node = Node(tmp_path, ("one",))
    node.write(g=doc.GROUND, x=doc.one("x"))
    node.start("old")
    (tmp_path / "one" / "all").write_text("night")
    assert node.turn() == {"x": "night"}
    (tmp_path / "one").rename(tmp_path / "away")
    node.start("restarted", after="old")
    node.write(y=doc.one("y", variants=doc.setting("count")))
    assert node.turn() == {"x": "night", "y": "night"}
    (tmp_path / "one").mkdir()
    assert node.turn() == {"x": None, "y": None}


def test_one_key_in_two_directories_keeps_both_reasons_over_a_restart(tmp_path: Path, doc: type[Doc]) -> None:
    node = Node(tmp_path)
    node.write(g=doc.GROUND, x=doc.one("x"))
    node.start("old")
    (tmp_path / "one" / "x").write_text("carts broken")
    (tmp_path / "two" / "x").write_text("slow")
    node.turn()
    (tmp_path / "two").rename(tmp_path / "away")
    node.start("restarted", after="old")
    assert node.turn() == {"x": "carts broken; slow"}
    (tmp_path / "one" / "x").unlink()
    assert node.turn() == {"x": "slow"}


def test_a_pause_laid_over_at_once_says_where_it_is_from(tmp_path: Path, doc: type[Doc]) -> None:
    node = Node(tmp_path)
    node.write(g=doc.GROUND, x=doc.one("x"))
    node.start("old")
    node.turn()
    node.agents["old"].settings = replace(node.agents["old"].settings, compile_seconds=0.0)  # no child answers
    (tmp_path / "two" / "x").write_text("slow")
    node.turn()
    assert node.published("old").head.pauses == {"one": {}, "two": {"x": "slow"}}


def test_a_directory_the_snapshot_never_heard_of_has_paused_nothing(pod: Pod, doc: type[Doc]) -> None:
    files = {"g": doc.GROUND, "x": doc.one("x")}
    pod.sees(files, {"x": "stop"})
    assert pod.sees(files, keeps=("paused",)) is not None
    assert decode(pod.published).experiments["x"].pause == "stop"
    snapshot = decode(pod.published)
    pod.published = encode(replace(snapshot, head=replace(snapshot.head, pauses={"elsewhere": {"x": "stop"}})))
    pod.sees(files, keeps=("paused",))
    assert decode(pod.published).experiments["x"].pause is None


def test_of_a_directory_that_may_be_late_what_it_has_shown_and_lifted_is_not_kept(pod: Pod, doc: type[Doc]) -> None:
    files = {"g": doc.GROUND, "x": doc.one("x"), "y": doc.one("y", variants=doc.setting("count"))}
    pod.sees(files, {"x": "stop", "y": "slow"})
    after = pod.sees(files, keeps=("paused",), lifted={"paused": ("y",)})
    assert after is not None
    assert {name: one.pause for name, one in after.experiments.items()} == {"x": "stop", "y": None}


@pytest.mark.parametrize(("shown", "kept"), [({}, "carts broken"), ({"x": "slow"}, "slow")])
def test_of_a_snapshot_that_does_not_say_where_from_all_pauses_stay(
    pod: Pod, doc: type[Doc], shown: dict[str, str], kept: str
) -> None:
    files = {"g": doc.GROUND, "x": doc.one("x")}
    snapshot = pod.sees(files, {"x": "carts broken"})
    assert snapshot is not None
    pod.published = encode(replace(snapshot, head=replace(snapshot.head, pauses=None)))
    after = pod.sees(files, shown, keeps=("paused",))
    assert after is not None
    assert after.experiments["x"].pause == kept
    assert after.head.pauses == {"paused": {"x": kept}}
    assert pod.codes == set()
