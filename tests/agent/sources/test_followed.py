"""The ConfigMaps of a directory of documents, known by the API and by the volume: which files are read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from abside.snapshot import encode
from abside_agent.document.tree import flaw
from abside_agent.settle.settle import settle
from abside_agent.sources.followed import Followed
from abside_agent.sources.keys import READ_BYTES, Keys, documents_of
from abside_agent.sources.mounted import Mounted
from abside_agent.sources.observation import Observation, WatchReport
from abside_agent.sources.trust import LATE_SECONDS, Trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.agent.conftest import Doc, Pod
    from tests.conftest import ConfigMapVolume


@dataclass
class FakeWatch:
    """A watch whose report a test sets."""

    report: WatchReport[Keys] = field(default_factory=lambda: WatchReport(None))
    doubts: int = 0

    def doubt(self) -> None:
        self.doubts += 1


@dataclass
class World:
    """A projected volume of ConfigMaps, a watch for each, and a clock that ticks with every step."""

    volume: ConfigMapVolume
    watches: dict[str, FakeWatch]
    now: float = 0.0
    source: Mounted = field(init=False)

    def __post_init__(self) -> None:
        followed = Followed({**self.watches}, Trust(lambda: self.now))
        self.source = Mounted((str(self.volume.path),), followed=followed)

    def says(self, name: str, keys: dict[str, bytes]) -> None:
        self.now += 1.0
        self.watches[name].report = WatchReport(Observation(documents_of(keys), self.now, is_fresh=True))

    def away(self, name: str) -> None:
        report = self.watches[name].report
        self.watches[name].report = replace(
            report, observation=report.observation and replace(report.observation, is_fresh=False)
        )

    def files(self) -> dict[str, bytes]:
        self.now += 1.0
        reading = self.source.read()
        assert bool(reading.files) != bool(reading.lost)
        return {file.name: file.data for file in reading.files}

    def codes(self) -> set[tuple[str, str]]:
        return {(problem.file, problem.code) for problem in self.source.read().problems}


@pytest.fixture
def world(configmap_volume: Callable[[str], ConfigMapVolume]) -> Callable[..., World]:
    def make(*names: str) -> World:
        return World(configmap_volume("config"), {name: FakeWatch() for name in names})

    return make


def test_the_word_of_the_one_config_map_is_the_directorys(world: Callable[..., World]) -> None:
    one = world("experiments")
    one.volume.swap({"a.yaml": "old"})
    assert one.files() == {"a.yaml": b"old"}
    one.says("experiments", {"a.yaml": b"new", "notes.txt": b"", "..hidden.yaml": b""})
    assert one.files() == {"a.yaml": b"new"}
    one.says("experiments", {"b.yaml": b"newer"})
    assert one.files() == {"b.yaml": b"newer"}


def test_files_that_came_either_way_are_the_same_reading_snapshot_and_revision(
    world: Callable[..., World], doc: type[Doc], pod: Pod
) -> None:
    keys = {
        "g.yaml": doc.GROUND.encode(),
        "x.yaml": doc.one("x").encode(),
        "bad.yaml": b"\xff\xfe",
        "empty.yaml": b"",
        "large.yaml": b"#" * (READ_BYTES + 1),
        "other.yml": doc.one("other").encode(),
        "shout.YAML": b"",
        "notes.txt": b"nothing",
        ".hidden.yaml": b"no",
    }
    by_api = world("experiments")
    by_api.volume.swap({"x.yaml": doc.one("x", traffic="1%")})
    by_api.says("experiments", keys)
    told = by_api.source.read()
    mounted = by_api.volume
    mounted.swap({name: data for name, data in keys.items() if name[0] != "."})
    shown = Mounted((str(mounted.path),)).read()
    assert told == shown
    assert told.pack() == shown.pack(), "else the agent would compile it twice"
    first, second = (settle(reading, None, 1_795_000_000_000_000).snapshot for reading in (told, shown))
    assert first is not None
    assert second is not None
    assert encode(first) == encode(second)
    assert first.head.revision == second.head.revision
    assert {problem.code for problem in first.head.problems} >= {"FILE_NAME"}


def test_several_are_one_word_and_the_later_of_two_with_a_key_wins_as_in_the_volume(
    world: Callable[..., World],
) -> None:
    both = world("one", "two")
    both.volume.swap({"a.yaml": "old"})
    both.says("one", {"z.yaml": b"1", "a.yaml": b"1"})
    assert both.files() == {"a.yaml": b"old"}, "the other has not spoken"
    both.says("two", {"a.yaml": b"2", "b.yaml": b"2"})
    assert both.files() == {"a.yaml": b"2", "b.yaml": b"2", "z.yaml": b"1"}
    assert list(both.files()) == ["a.yaml", "b.yaml", "z.yaml"]


def test_while_one_of_several_is_not_watched_what_the_others_say_waits_for_the_volume(
    world: Callable[..., World],
) -> None:
    both = world("one", "two")
    both.volume.swap({"a.yaml": "1", "b.yaml": "1"})
    both.says("one", {"a.yaml": b"1"})
    both.says("two", {"b.yaml": b"1"})
    both.files()
    both.away("two")
    both.says("one", {"a.yaml": b"2"})
    assert both.files() == {"a.yaml": b"1", "b.yaml": b"1"}
    both.volume.swap({"a.yaml": "2", "b.yaml": "2"})
    assert both.files() == {"a.yaml": b"2", "b.yaml": b"2"}
    both.says("two", {"b.yaml": b"2"})
    assert both.files() == {"a.yaml": b"2", "b.yaml": b"2"}


def test_a_word_of_one_does_not_bring_back_what_the_volume_has_left_behind_of_the_other(
    world: Callable[..., World],
) -> None:
    both = world("one", "two")
    both.volume.swap({"a.yaml": "1", "b.yaml": "1"})
    both.says("one", {"a.yaml": b"1"})
    both.says("two", {"b.yaml": b"1"})  # and misses events from now on
    both.files()
    both.volume.swap({"a.yaml": "1", "b.yaml": "2"})
    assert both.files() == {"a.yaml": b"1", "b.yaml": b"2"}
    both.says("one", {"a.yaml": b"2"})
    assert both.files() == {"a.yaml": b"1", "b.yaml": b"2"}
    both.says("two", {"b.yaml": b"2"})
    both.says("one", {"a.yaml": b"2"})
    assert both.files() == {"a.yaml": b"2", "b.yaml": b"2"}


@pytest.mark.parametrize("keys", [{}, {"notes.txt": b"", "a.yml": b""}])
def test_one_that_is_gone_or_holds_no_document_empties_nothing(
    world: Callable[..., World], keys: dict[str, bytes]
) -> None:
    one = world("experiments")
    one.volume.swap({"a.yaml": "1"})
    one.says("experiments", {"a.yaml": b"2"})
    assert one.files() == {"a.yaml": b"2"}
    one.says("experiments", keys)
    assert one.files() == {"a.yaml": b"2"}, "not even back to what the volume shows"
    assert ("experiments", "FAST_WATCH") in one.codes()
    one.volume.swap({})
    assert one.files() == {"a.yaml": b"2"}
    one.now += LATE_SECONDS + 1.0
    assert one.files() == {}, "which settle never takes for an order"
    one.says("experiments", {"a.yaml": b"3"})
    assert one.files() == {"a.yaml": b"3"}
    assert one.codes() == set()
    assert one.watches["experiments"].doubts == 0


def test_a_name_that_is_wrong_takes_nothing_out_of_force(world: Callable[..., World]) -> None:
    both = world("experiments", "typo")
    both.volume.swap({"a.yaml": "1", "b.yaml": "1"})
    both.says("experiments", {"a.yaml": b"2"})
    both.says("typo", {})
    assert both.files() == {"a.yaml": b"1", "b.yaml": b"1"}
    assert both.codes() == {("typo", "FAST_WATCH")}


def test_a_deletion_leaves_everything_in_force_also_once_the_volume_shows_it(
    world: Callable[..., World], doc: type[Doc], pod: Pod
) -> None:
    one = world("experiments")
    keys = {"g.yaml": doc.GROUND.encode(), "x.yaml": doc.one("x").encode()}
    one.says("experiments", keys)
    one.volume.swap(keys)
    before = pod.sees(one.files())
    assert before is not None
    one.says("experiments", {})
    one.volume.swap({})
    one.now += LATE_SECONDS + 1.0
    one.files()
    reading = one.source.read()
    assert reading.lost
    after = pod.sees({}, lost=reading.lost)
    assert after is not None
    assert after.experiments == before.experiments
    assert after.head.degraded


def test_a_doubt_is_told_to_each_and_their_problems_are_read(world: Callable[..., World]) -> None:
    both = world("one", "two")
    both.volume.swap({"a.yaml": "1"})
    both.says("one", {"a.yaml": b"1"})
    both.says("two", {"b.yaml": b"1"})
    both.files()
    both.volume.swap({"a.yaml": "2"})
    both.files()
    assert [watch.doubts for watch in both.watches.values()] == [1, 1]
    both.says("one", {"a.yaml": b"2"})
    for _ in range(5):
        both.files()
    assert [watch.doubts for watch in both.watches.values()] == [1, 6], "who has answered is not asked again"
    both.says("two", {"b.yaml": b"1"})
    both.files()
    assert [watch.doubts for watch in both.watches.values()] == [1, 6]
    problem = flaw("two", "FAST_WATCH", (), "away", "wait", severity="warning").problem
    both.watches["two"].report = replace(both.watches["two"].report, problem=problem)
    assert problem in both.source.read().problems


def test_a_directory_that_cannot_be_seen_is_stood_in_for_by_the_api(world: Callable[..., World]) -> None:
    one = world("experiments")
    one.volume.path.rmdir()
    assert one.source.read().lost
    one.says("experiments", {"a.yaml": b"1"})
    assert one.files() == {"a.yaml": b"1"}
