"""A pause applied to the snapshot in force, before any child: what it changes, and that the child makes the same."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import decode
from abside_agent.document.reading import Reading
from abside_agent.run.agent import Agent
from abside_agent.settings import AgentSettings
from abside_agent.settle.pause import MAX_QUICK_BYTES, over
from abside_agent.sources.mounted import Mounted
from abside_agent.watch.begin import WakeUp, in_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.conftest import Doc, Pod


@pytest.mark.parametrize("pauses", [{"x": "why"}, {"all": ""}, {"all": "night", "y": "own"}, {"x": "  "}])
def test_it_is_what_the_child_makes_of_the_same_documents(doc: type[Doc], pod: Pod, pauses: dict[str, str]) -> None:
    files = {"g": doc.GROUND, "x": doc.one("x"), "y": doc.one("y", placements="[home]", variants=None)}
    files["y"] = doc.one("y", placements="[home]", variants=doc.setting("model", "h2", "home"))
    pod.sees(files)
    quick, revision = over(pod.published, Reading(paused={"paused": pauses}), 1_795_000_000_000_000)
    assert pod.sees(files, pauses) == decode(quick)
    assert decode(quick).head.revision == revision
    back, _ = over(quick, Reading(paused={"paused": {}}), 1_795_000_000_000_000)
    assert pod.sees(files) == decode(back)


def test_what_changes_nothing_or_cannot_be_read_is_left_to_the_child(doc: type[Doc], pod: Pod) -> None:
    pod.sees({"g": doc.GROUND, "x": doc.one("x")})
    nothing = (b"", "")
    assert (
        over(pod.published, Reading(paused={}), 1)
        == over(pod.published, Reading(paused={"paused": {"nobody": "why"}}), 1)
        == nothing
    )
    assert (
        over(b"", Reading(paused={"paused": {"x": "why"}}), 1)
        == over(b"junk", Reading(paused={"paused": {"x": "why"}}), 1)
        == nothing
    )
    assert over(pod.published + bytes(MAX_QUICK_BYTES), Reading(paused={"paused": {"x": "why"}}), 1) == nothing


def test_a_pause_is_in_force_although_no_child_ever_answers(tmp_path: Path, doc: type[Doc]) -> None:
    for name in ("config", "paused"):
        (tmp_path / name).mkdir()
    (tmp_path / "config" / "g.yaml").write_text(doc.GROUND + doc.one("x"))
    snapshot = tmp_path / "snapshot"
    settings = AgentSettings((str(tmp_path / "config"),), str(snapshot), (str(tmp_path / "paused"),))
    agent = Agent(settings, Mounted(settings.config, settings.paused), Event(), lambda: 7)
    agent.turn()
    agent.settings = replace(settings, compile_seconds=0.0)
    (tmp_path / "paused" / "x").write_text("carts broken")
    agent.turn()
    assert decode(snapshot.read_bytes()).experiments["x"].pause == "carts broken"
    (tmp_path / "paused" / "x").unlink()
    agent.turn()
    assert decode(snapshot.read_bytes()).experiments["x"].pause is None


def test_several_rings_wake_once_and_none_is_lost() -> None:
    wake_up = WakeUp()
    wake_up.ring()
    wake_up.ring()
    wake_up.wait(60.0)
    wake_up.wait(0.01)


def test_the_api_is_where_kubernetes_tells_its_pods() -> None:
    assert in_cluster("10.0.0.1", "6443") == "https://10.0.0.1:6443"
    assert in_cluster("fd00::1", "443") == "https://[fd00::1]:443"
    assert in_cluster(None, None) == "https://kubernetes.default.svc:443"
