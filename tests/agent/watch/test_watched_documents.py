"""Documents by the Kubernetes API and by the volume, against an API server that misbehaves: what is read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from abside_agent.sources.followed import Followed
from abside_agent.sources.mounted import Mounted
from abside_agent.sources.trust import LATE_SECONDS, Trust
from abside_agent.watch.api import Access
from abside_agent.watch.cluster import Cluster
from abside_agent.watch.timeouts import WatchTimeouts
from abside_agent.watch.topic import EXPERIMENTS
from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import ConfigMapVolume

    from abside_agent.sources.keys import Keys

DEADLINE_SECONDS = 20.0
HASTE = WatchTimeouts(
    watch=(60.0, 60.0), answer=1.0, silence=5.0, first=0.02, longest=0.1, refused=0.2, look=0.02, content=0.3
)
PATIENT = WatchTimeouts(first=0.02, longest=0.05, refused=600.0, look=0.02)
ONE, TWO, THREE = ({"a.yaml": text} for text in ("one", "two", "three"))
MAP = "abside-experiments"
CHANGED = b'{"type": "MODIFIED", "object": {"metadata": {"name": "abside-experiments", "resourceVersion": "9"}, %s}}\n'


@dataclass
class World:
    """An API server, the volume of its ConfigMaps, and what an agent reads; it may be an hour later at once."""

    api: FakeApi
    volume: ConfigMapVolume
    credentials: Path
    skipped: float = 0.0
    clusters: dict[str, Cluster[Keys]] = field(default_factory=dict)
    source: Mounted = field(init=False)

    def begin(self, patience: WatchTimeouts = HASTE) -> World:
        """Start as an agent that remembers nothing."""
        self.close()
        access = Access(self.api.url, self.credentials)
        self.clusters = {name: Cluster(access, name, EXPERIMENTS, int, patience) for name in self.api.names}
        followed = Followed({**self.clusters}, Trust(lambda: time.monotonic() + self.skipped))
        self.source = Mounted((str(self.volume.path),), followed=followed)
        for cluster in self.clusters.values():
            cluster.start()
            cluster.await_answer(DEADLINE_SECONDS)
        return self

    def files(self) -> dict[str, str]:
        return {file.name: file.data.decode("utf-8", "replace") for file in self.source.read().files}

    def comes(self, files: dict[str, str]) -> None:
        self.until(lambda: self.files() == files, str(files))

    def stays(self, files: dict[str, str]) -> None:
        """Look for as long as it took a change to come, a few times over."""
        for _ in range(20):
            assert self.files() == files
            time.sleep(0.01)

    def edited_unheard(self, keys: dict[str, str]) -> None:
        """Change the ConfigMap so long ago that no watch can report it any more."""
        self.api.set(MAP, keys)
        self.api.version += 7
        self.api.forgotten = self.api.version - 1

    def problem(self) -> str:
        return " ".join(problem.message for problem in self.source.read().problems)

    def watches(self) -> None:
        self.until(lambda: self.api.watching == len(self.clusters))

    def until(self, holds: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, what or self.problem()
            time.sleep(0.005)

    def close(self) -> None:
        for cluster in self.clusters.values():
            cluster.close()


@pytest.fixture
def world(configmap_volume: Callable[[str], ConfigMapVolume], tmp_path: Path) -> Iterator[World]:
    api = FakeApi(names=(MAP,)).start()
    volume = configmap_volume("config")
    volume.swap(ONE)
    api.put(ONE)
    made = World(api, volume, api.credentials(tmp_path / "credentials"))
    yield made
    made.close()
    api.end()


def test_an_edit_is_read_at_once_and_the_late_volume_changes_nothing(world: World) -> None:
    world.begin(WatchTimeouts()).comes(ONE)
    world.watches()
    world.api.put(TWO)
    world.comes(TWO)
    world.volume.swap(TWO)
    world.stays(TWO)
    world.api.put({**TWO, "b.yaml": b"\xff", "notes.txt": "no"})
    world.comes({**TWO, "b.yaml": "\ufffd"})
    assert world.api.lists == 1


def test_a_restart_beside_the_api_reads_what_the_volume_does_not_show_yet(world: World) -> None:
    world.api.put(TWO)
    assert world.begin().files() == TWO, "from the first reading on"


def test_a_restart_without_the_api_reads_the_volume(world: World) -> None:
    world.api.put(TWO)
    world.begin().comes(TWO)
    world.api.stop()
    world.begin().stays(ONE)
    world.volume.swap(THREE)
    world.stays(THREE)


def test_while_the_api_is_away_its_last_word_stays_until_the_volume_has_shown_it(world: World) -> None:
    world.begin().watches()
    world.api.put(TWO)
    world.comes(TWO)
    world.api.stop()
    world.until(world.problem)
    world.stays(TWO)
    world.volume.swap(TWO)
    world.stays(TWO)
    world.volume.swap(ONE)
    world.stays(ONE)
    world.edited_unheard(THREE)
    world.api.start()
    world.comes(THREE)
    world.until(lambda: not world.problem())


def test_an_edit_by_the_volume_alone_holds_once_it_cannot_be_a_late_one(world: World) -> None:
    world.begin().watches()
    world.api.put(TWO)
    world.comes(TWO)
    world.api.stop()
    world.volume.swap(THREE)
    world.stays(TWO)
    world.skipped += LATE_SECONDS + 1.0
    world.comes(THREE)


def test_an_api_that_is_back_without_news_does_not_bring_back_what_the_volume_has_left_behind(world: World) -> None:
    world.begin().watches()
    world.stays(ONE)
    world.api.stop()
    world.volume.swap(TWO)
    world.stays(TWO)
    world.api.is_deaf = True  # the watch goes on from the known version, and gets no event
    world.api.put(TWO)
    world.api.start()
    while not world.api.watching:
        assert world.files() == TWO
    world.stays(TWO)
    world.until(lambda: world.api.lists >= 2)
    world.stays(TWO)
    assert world.api.lists <= 3  # the volume may be looked at once more before the answer is there


def test_a_watch_that_went_deaf_is_found_out_by_the_volume(world: World) -> None:
    world.begin(WatchTimeouts()).watches()
    lists = world.api.lists
    world.api.is_deaf = True
    world.api.put(TWO)
    world.stays(ONE)
    world.volume.swap(TWO)
    assert world.files() == TWO
    world.until(lambda: world.api.lists > lists)
    world.stays(TWO)


def test_a_volume_that_brings_the_edit_before_the_last_has_the_api_asked_and_goes_unheeded(world: World) -> None:
    world.begin(WatchTimeouts()).watches()
    world.api.put(TWO)
    world.api.put(THREE)
    world.comes(THREE)
    lists = world.api.lists
    world.volume.swap(TWO)
    world.stays(THREE)
    assert lists < world.api.lists <= lists + 2


def test_a_version_that_expired_is_listed_again(world: World) -> None:
    world.begin().watches()
    world.api.set(MAP, TWO)
    world.api.expire()
    world.comes(TWO)


def test_after_a_cut_it_goes_on_from_the_bookmark_and_misses_nothing(world: World) -> None:
    world.begin().watches()
    world.api.bookmark()
    bookmarked = str(world.api.version)
    world.until(lambda: world.clusters[MAP]._version == bookmarked)
    cut = len(world.api.watches)
    world.api.cut()
    world.api.put(TWO)
    world.comes(TWO)
    assert world.api.watches[cut]["resourceVersion"] == bookmarked
    assert world.api.lists == 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_is_told_and_leaves_everything_to_the_volume(
    world: World, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.put(TWO)
    world.api.fails = code
    world.begin(PATIENT).stays(ONE)
    assert f"answered {code}" in world.problem()
    assert "experiments come by the mounted volume, 60 to 90 s later" in world.problem()
    assert "abside-experiments-reader" in world.source.read().problems[0].remedy
    world.volume.swap(THREE)
    world.stays(THREE)
    assert caplog.text.count("fast_watch_lost") == 1


def test_a_new_token_is_tried_at_once(world: World) -> None:
    world.begin(PATIENT).watches()
    world.api.token = "token-2"  # noqa: S105 of a server that exists for a second
    world.api.cut()
    world.until(lambda: "answered 401" in world.problem())
    world.edited_unheard(TWO)
    world.stays(ONE)
    (world.credentials / "token").write_text("token-2\n")
    world.comes(TWO)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b'{"type": "MODIFIED"}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "abside-experiments"}, "data": {}}}\n',
        CHANGED % b'"data": ["a.yaml"]',
        CHANGED % b'"data": {"a.yaml": 1}',
        CHANGED % b'"data": {"": "x"}',
        CHANGED % b'"binaryData": {"": "eA=="}',
        CHANGED % b'"data": {"a.yaml": "\\ud800"}',
        CHANGED % b'"binaryData": {"a.yaml": "%%%"}',
        b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n',
    ],
    ids=lambda line: line[-50:].decode("latin-1"),
)
def test_garbage_changes_nothing_and_is_recovered_from(world: World, line: bytes) -> None:
    world.begin().watches()
    watches = len(world.api.watches)
    world.api.say(line)
    world.until(lambda: len(world.api.watches) > watches)
    world.stays(ONE)
    world.watches()
    world.api.put(TWO)
    world.comes(TWO)


def test_an_api_that_takes_too_long_is_away_until_it_does_not(world: World) -> None:
    world.api.slow = 30.0
    world.begin(WatchTimeouts(answer=0.1, first=0.02, longest=0.05, look=0.02, content=0.0))
    world.stays(ONE)
    assert "the Kubernetes API is away" in world.problem()
    world.api.set(MAP, TWO)
    world.api.slow = 0.0
    world.comes(TWO)


def test_a_deletion_or_an_emptied_config_map_leaves_its_documents_until_it_is_back(world: World) -> None:
    world.begin().watches()
    world.api.put(TWO)
    world.comes(TWO)
    for nothing in (None, {}, {"notes.txt": "gone"}):
        world.api.put(nothing)
        world.until(lambda: "no *.yaml" in world.problem())
        world.stays(TWO)
        world.api.put(TWO)
        world.until(lambda: not world.problem())
    world.api.put(THREE)
    world.comes(THREE)


def test_a_full_config_map_is_read_whole_and_what_no_config_map_can_hold_is_cut_as_the_volumes(world: World) -> None:
    world.begin().watches()
    full = "é" * (2**19)  # a MiB, which JSON may write as three
    world.api.put({"a.yaml": full})
    world.comes({"a.yaml": full})
    world.api.put({"a.yaml": "x" * (2**20 + 100)})
    world.comes({"a.yaml": "x" * (2**20 + 1)})


def test_several_config_maps_are_watched_each_and_read_as_one(
    configmap_volume: Callable[[str], ConfigMapVolume], tmp_path: Path
) -> None:
    api = FakeApi(names=("one", "two")).start()
    volume = configmap_volume("config")
    both = World(api, volume, api.credentials(tmp_path / "credentials"))
    try:
        volume.swap({"a.yaml": "1"})
        api.put({"a.yaml": "1"}, "one")
        api.put({"b.yaml": "1"}, "two")
        both.begin().comes({"a.yaml": "1", "b.yaml": "1"})
        both.watches()
        api.put({"b.yaml": "2"}, "two")
        both.comes({"a.yaml": "1", "b.yaml": "2"})
        api.put(None, "one")
        both.until(both.problem)
        both.stays({"a.yaml": "1", "b.yaml": "2"})
    finally:
        both.close()
        api.end()
