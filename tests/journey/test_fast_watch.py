"""A pause by the Kubernetes API: from the server's update to a real sidecar's changed answer, and what goes wrong."""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import ConfigMapVolume
    from tests.journey.conftest import Role, Stage

PATIENCE_SECONDS = 30.0
ROUNDS = 16
WORST_SECONDS = 5.0  # on a busy machine; the target is 1 s, a quiet one takes 0.3, and the test prints it
RESIDENT_BYTES = 50 * 2**20
DOCUMENT = """\
placements:
  pdp: {parameters: {model: v1}}
experiments:
  x: {name: X, hypothesis: It lifts, status: running, placements: [pdp], control: a,
      variants: {a: {weight: 1%}, b: {weight: 99%, parameters: {pdp: {model: v2}}}}}
"""


class World:
    """An API server, the volume of the same ConfigMap, an agent and a sidecar."""

    def __init__(self, stage: Stage, volume: ConfigMapVolume, config: ConfigMapVolume, api: FakeApi) -> None:
        self.api = api
        self.volume, self.config = volume, config
        config.swap({"x.yaml": DOCUMENT})
        volume.swap({})
        where = ["--paused", str(volume.path), "--config", str(config.path), "--snapshot", str(stage.snapshot)]
        self.credentials = api.credentials(stage.folder / "credentials")
        fast = ["--fast-watch", "abside-paused", "--cluster-api", api.url]
        fast += ["--cluster-credentials", str(self.credentials)]
        self.agent: Role = stage.role("agent", *where, *fast)
        self.sidecar: Role = stage.sidecar()
        self.shopper = stage.shopper(self.agent)
        self.model, self.until = self.shopper.model, self.shopper.until
        self.agent.start()
        self.sidecar.start()

    def await_look(self) -> None:
        """Wait until the agent has read everything anew, by an edit of what a paused shopper gets; no variant shows."""
        for model in ("v0", "v1"):
            self.config.swap({"x.yaml": DOCUMENT.replace("{model: v1}", f"{{model: {model}}}")})
            self.until(model, never="v2")

    def await_watch(self) -> None:
        self.shopper.wait(lambda: self.api.watching)


@pytest.fixture
def world(stage: Stage, configmap_volume: Callable[[str], ConfigMapVolume]) -> Iterator[World]:
    api = FakeApi().start()
    world = World(stage, configmap_volume("mounted"), configmap_volume("config"), api)
    yield world
    world.shopper.close()
    api.end()


def test_from_the_update_to_the_changed_answer(world: World) -> None:
    world.until("v2")
    world.await_watch()
    took = []
    for _ in range(ROUNDS // 2):
        for data, model in (({"x": "carts broken"}, "v1"), ({}, "v2")):
            time.sleep(random.uniform(0.0, 0.25))  # else each change would follow a look of the sidecar
            world.api.put(data)
            took.append(world.until(model, within=WORST_SECONDS))
    assert world.agent.process is not None
    print(f"{len(took)} changes: median {statistics.median(took):.3f} s, worst {max(took):.3f} s")
    print(f"the agent uses {world.agent.resident_bytes / 2**20:.1f} MiB")
    assert world.agent.resident_bytes <= RESIDENT_BYTES
    assert world.agent.stop() == 0


def test_the_api_away_an_expired_version_and_a_new_token_stop_nothing(world: World) -> None:
    world.until("v2")
    world.await_watch()
    world.api.put({"x": "carts broken"})
    world.until("v1")

    world.api.stop()  # away, for longer than three back-offs: the pause stays though the volume never showed it
    time.sleep(3.0)
    assert world.model() == "v1"
    world.agent.kill()  # not even a restart lifts it
    world.agent.start()
    world.await_look()
    world.volume.swap({"x": "carts broken"})
    world.await_look()
    world.volume.swap({})  # resumed while away: the volume is the newest there is
    world.until("v2")
    world.volume.swap({"x": "paused while away"})
    world.until("v1")

    world.api.data = {}
    world.api.version += 7
    world.api.forgotten = world.api.version - 1
    world.api.start()  # back, with all versions forgotten: what it sends now is newer than the volume
    world.until("v2")
    world.await_watch()

    world.api.token = "token-2"  # noqa: S105 of a server that exists for a second
    world.api.cut()
    (world.credentials / "token").write_text("token-2")
    world.await_watch()
    world.api.put({"all": "night"})
    world.until("v1")
    assert world.agent.process is not None
    assert world.agent.process.poll() is None


def test_a_watch_that_went_deaf_is_found_out_by_the_volume(world: World) -> None:
    world.until("v2")
    world.await_watch()
    lists = world.api.lists
    world.api.is_deaf = True
    world.api.put({"x": "carts broken"})
    world.volume.swap({"x": "carts broken"})
    world.until("v1")
    begun = time.monotonic()
    while world.api.lists == lists:
        assert time.monotonic() - begun < PATIENCE_SECONDS
        time.sleep(0.01)
    assert world.model() == "v1"
