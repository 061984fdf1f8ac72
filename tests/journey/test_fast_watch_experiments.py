"""An edited experiment by the Kubernetes API: from the server's update to a real sidecar's changed answer."""

from __future__ import annotations

import random
import re
import statistics
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import ConfigMapVolume
    from tests.journey.conftest import Role, Stage

ROUNDS = 8
EXPERIMENTS, PAUSED = "abside-experiments", "abside-paused"
RESIDENT_BYTES = 64 * 2**20  # what the component requests
DRAFTS = 100  # of 2 KiB each: the 200 KiB from which `check` warns


def documents(model: str, drafts: int = 0) -> dict[str, str]:
    """Write a placement, an experiment whose second arm shows a model, and drafts."""
    fields = "status: {}, placements: [pdp], control: a, hypothesis: {}, variants: {}"
    arms = f"{{a: {{weight: 1%}}, b: {{weight: 99%, parameters: {{pdp: {{model: {model}}}}}}}}}"
    running = f"  x: {{name: X, {fields.format('running', 'It lifts', arms)}}}\n"
    draft = fields.format("draft", "h" * 1900, "{a: {weight: 100%}}")
    return {
        "placements.yaml": "placements:\n  pdp: {parameters: {model: v0}}\n",
        "pdp.yaml": "experiments:\n" + running + "".join(f"  d{n}: {{name: D, {draft}}}\n" for n in range(drafts)),
    }


class World:
    """An API server, the volumes of its two ConfigMaps, an agent that watches both, and a sidecar."""

    def __init__(self, stage: Stage, config: ConfigMapVolume, paused: ConfigMapVolume, api: FakeApi) -> None:
        self.api, self.config, self.paused = api, config, paused
        config.swap(documents("v1"))
        paused.swap({})
        api.put(documents("v1"), EXPERIMENTS)
        api.put({}, PAUSED)
        where = ["--config", str(config.path), "--paused", str(paused.path), "--snapshot", str(stage.snapshot)]
        fast = ["--fast-watch", PAUSED, "--fast-watch-config", EXPERIMENTS, "--cluster-api", api.url]
        fast += ["--cluster-credentials", str(api.credentials(stage.folder / "credentials"))]
        self.agent: Role = stage.role("agent", *where, *fast)
        self.sidecar: Role = stage.sidecar()
        self.shopper = stage.shopper(self.agent)
        self.model, self.until = self.shopper.model, self.shopper.until
        self.agent.start()
        self.sidecar.start()
        self.until("v1")
        self.await_watches()

    def await_watches(self) -> None:
        self.shopper.wait(lambda: self.api.watching >= 2)

    def looks(self, model: str, *, is_away: bool = False) -> None:
        """Have the agent read everything anew, which a pause and its end prove; `model` stays."""
        pause = self.paused.swap if is_away else partial(self.api.put, name=PAUSED)
        pause({"x": "carts broken"})
        self.until("v0")
        pause({})
        self.until(model)

    def revisions(self) -> list[str]:
        """Return what was published, in order, as the agent logged it."""
        return re.findall(r" published .*revision=(\w+)", self.agent.log.read_text())


@pytest.fixture
def world(stage: Stage, configmap_volume: Callable[[str], ConfigMapVolume]) -> Iterator[World]:
    api = FakeApi(names=(EXPERIMENTS, PAUSED)).start()
    world = World(stage, configmap_volume("config"), configmap_volume("mounted"), api)
    yield world
    world.shopper.close()
    api.end()


@pytest.mark.parametrize("drafts", [0, DRAFTS])
def test_from_the_update_to_the_changed_answer(world: World, drafts: int) -> None:
    took = []
    for number in range(2, 2 + ROUNDS):
        time.sleep(random.uniform(0.0, 0.25))  # else each change would follow a look of the sidecar
        world.api.put(documents(f"v{number}", drafts), EXPERIMENTS)
        took.append(world.until(f"v{number}"))
    size = sum(map(len, documents("v1", drafts).values()))
    print(f"{size} bytes, {len(took)} edits: median {statistics.median(took):.3f} s, worst {max(took):.3f} s")
    print(f"the agent uses {world.agent.resident_bytes / 2**20:.1f} MiB")
    assert world.agent.resident_bytes <= RESIDENT_BYTES
    assert world.api.lists == 2, "of each ConfigMap one"
    assert world.agent.stop() == 0


def test_a_restart_never_goes_back_to_what_the_volume_still_shows(world: World) -> None:
    old = world.revisions()[0]
    world.api.put(documents("v2"), EXPERIMENTS)
    world.until("v2")
    before = len(world.revisions())
    for _ in range(3):
        world.agent.kill()
        world.api.cut()
        world.agent.start()
        world.await_watches()
        world.api.put({"x": "carts broken"}, PAUSED)
        world.until("v0", never="v1")
        world.api.put({}, PAUSED)
        world.until("v2", never="v1")
    assert old not in world.revisions()[before:]


def test_the_api_away_stops_nothing_and_what_it_says_when_it_is_back_holds(world: World) -> None:
    world.api.put(documents("v2"), EXPERIMENTS)
    world.until("v2")
    world.api.stop()
    world.looks("v2", is_away=True)  # the last state from the API stays, and pauses by the volume are in force
    world.config.swap(documents("v2"))
    world.looks("v2", is_away=True)
    world.config.swap(documents("v3"))
    world.until("v3")  # the volume has caught up, so what it shows next is the newest
    world.api.set(EXPERIMENTS, documents("v4"))
    world.api.version += 7
    world.api.forgotten = world.api.version - 1
    world.api.start()
    print(f"back in {world.until('v4', never='v2'):.1f} s")
    world.await_watches()
    world.api.put(documents("v5"), EXPERIMENTS)
    world.until("v5")
    assert world.agent.process is not None
    assert world.agent.process.poll() is None


def test_a_restart_without_the_api_goes_by_the_volume(world: World) -> None:
    world.api.put(documents("v2"), EXPERIMENTS)
    world.until("v2")
    world.api.stop()
    world.agent.kill()
    world.agent.start()
    world.until("v1")
    world.config.swap(documents("v3"))
    world.until("v3")


def test_a_config_map_that_is_deleted_leaves_its_experiments_in_force(world: World) -> None:
    world.api.put(documents("v2"), EXPERIMENTS)
    world.until("v2")
    world.config.swap(documents("v2"))
    world.looks("v2")
    world.api.put(None, EXPERIMENTS)
    world.looks("v2")
    world.config.swap({})
    world.looks("v2")
    world.agent.kill()
    world.agent.start()
    world.await_watches()
    world.looks("v2")
    assert "EMPTY_DIRECTORY" in world.agent.log.read_text()
    world.api.put(documents("v3"), EXPERIMENTS)
    world.until("v3")
