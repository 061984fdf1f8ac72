"""Which pauses are valid when the API and the mounted volume differ; the safe side is to pause."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abside_agent.document.tree import flaw
from abside_agent.sources.mounted import Mounted
from abside_agent.sources.newest import Known, Newest, Watched
from abside_agent.sources.observation import Observation, WatchReport
from abside_agent.sources.trust import LATE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from abside_agent.document.reading import Pauses

X, Y, NONE = {"x": "why"}, {"y": "because"}, dict[str, str]()


@dataclass
class World:
    """A volume, an API and a clock that ticks with everything that happens."""

    now: float = 0.0
    volume: Pauses | None = field(default_factory=dict)
    observation: Observation[Pauses] | None = None
    newest: Newest = field(init=False)

    def __post_init__(self) -> None:
        self.newest = Newest(lambda: self.now)

    def says(self, pauses: Pauses) -> World:
        self.now += 1.0
        self.observation = Observation(pauses, self.now, is_fresh=True)
        return self

    def away(self) -> World:
        self.observation = self.observation and replace(self.observation, is_fresh=False)
        return self

    def shows(self, pauses: Pauses | None) -> World:
        self.volume = pauses
        return self

    def after(self, seconds: float) -> World:
        self.now += seconds
        return self

    def known(self) -> Known:
        self.now += 1.0
        return self.newest.judge(self.volume, self.observation)


def test_while_the_watch_stands_its_word_holds_and_the_volume_may_lag() -> None:
    world = World()
    world.known()
    assert world.says(X).known() == Known(X)
    assert world.says(NONE).shows(NONE).known() == Known(NONE)
    assert world.says(X).known() == Known(X)
    assert world.shows(X).known() == Known(X)
    assert world.says(NONE).known() == Known(NONE), "a resume does not wait for the volume"


def test_a_volume_that_changed_after_the_last_word_counts_until_the_api_was_asked_again() -> None:
    world = World().says(NONE)
    world.known()
    assert world.shows(X).known() == Known(X, doubts=True), "the watch may be deaf"
    assert world.says(NONE).known() == Known(NONE), "the volume was late"
    assert world.shows(Y).known() == Known(Y, doubts=True)
    assert world.says(Y).known() == Known(Y)


def test_a_pause_that_only_the_api_told_outlives_the_api_until_the_volume_has_shown_it() -> None:
    world = World().says(X)
    assert world.known().pauses == X
    assert world.away().known() == Known(X)
    assert world.shows(Y).known() == Known(X | Y)
    assert world.shows(X).known() == Known(X)
    assert world.shows(NONE).known() == Known(NONE), "it has caught up, so from here on it is the newest"


def test_a_pause_that_comes_by_the_volume_while_the_api_is_away_holds() -> None:
    world = World().says(NONE)
    world.known()
    assert world.away().shows(X).known() == Known(X)
    assert world.shows(NONE).known() == Known(NONE)


def test_a_volume_that_showed_the_same_long_ago_has_not_caught_up_with_a_new_word() -> None:
    world = World().says(X).shows(X)
    world.known()
    world.says(NONE).known()
    world.says(X).known()  # paused once more; the volume still shows the first pause
    assert world.away().known() == Known(X)
    world = World().says(X).shows(X)
    world.known()
    assert world.says(Y).away().known() == Known(X | Y)


def test_before_the_first_word_what_was_paused_before_a_restart_stays_until_no_change_can_be_a_late_one() -> None:
    world = World()
    assert world.after(10 * LATE_SECONDS).known() == Known(NONE, keeps=True)
    assert world.shows(Y).known() == Known(Y, keeps=True), "perhaps the pause before the last"
    world.shows(NONE)
    assert world.known() == Known(NONE, keeps=True, lifted=("y",)), "which it has shown before, so that is news"
    assert world.after(LATE_SECONDS - 5.0).shows(X | Y).known() == Known(X | Y, keeps=True)
    assert world.after(5.0).shows(NONE).known() == Known(NONE), "counted from the first change: none is kept for ever"
    assert world.says(NONE).known() == Known(NONE)


def test_a_volume_that_vanishes_before_the_first_word_lifts_nothing_of_before_a_restart() -> None:
    world = World()
    world.known()
    world.shows(None).known()
    assert world.after(2 * LATE_SECONDS).known() == Known(NONE, keeps=True)


def test_a_volume_that_cannot_be_seen_says_nothing() -> None:
    world = World().shows(None)
    assert world.known() == Known(NONE, keeps=True)
    assert world.says(X).known() == Known(X)
    assert world.away().known() == Known(X)


STEPS = st.lists(st.sampled_from(["says none", "says x", "shows none", "shows x", "away"]), max_size=12)


@settings(deadline=None)
@given(STEPS)
def test_losing_the_api_lifts_no_pause_but_what_the_volume_itself_has_lifted_since(steps: list[str]) -> None:
    world = World()
    world.known()
    for step in steps:
        kind, _, what = step.partition(" ")
        before = world.known()
        if kind == "away":
            world.away()
            assert before.doubts or before.pauses.items() <= world.known().pauses.items()
        else:
            getattr(world, kind)(X if what == "x" else NONE)


@dataclass
class FakeWatch:
    """A watch whose report a test sets."""

    report: WatchReport[Pauses] = field(default_factory=lambda: WatchReport(None))
    doubts: int = 0

    def doubt(self) -> None:
        self.doubts += 1


@pytest.mark.parametrize("mounts", [True, False])
def test_the_watch_stands_for_the_first_paused_directory_and_the_others_count_as_ever(
    tmp_path: Path, *, mounts: bool
) -> None:
    first, second = tmp_path / "paused", tmp_path / "more"
    watch = FakeWatch()
    for directory in (first, second):
        directory.mkdir()
    (first / "x").write_text("by the volume")
    (second / "z").write_text("elsewhere")
    paused = (str(first), str(second)) if mounts else ()
    source = Mounted((str(tmp_path),), paused, watched=Watched("abside-paused", watch))
    assert source.read().keeps_pauses
    problem = flaw("abside-paused", "FAST_WATCH", (), "away", "wait", severity="warning").problem
    watch.report = WatchReport(Observation({"y": "by the API"}, float("inf"), is_fresh=True), problem)
    reading = source.read()
    assert reading.pauses == {"y": "by the API"} | ({"z": "elsewhere"} if mounts else {})
    assert reading.paused["paused" if mounts else "abside-paused"] == {"y": "by the API"}
    assert not reading.keeps_pauses
    assert problem in reading.problems
    watch.report = WatchReport(Observation({}, 0.0, is_fresh=True))
    source.read()
    assert watch.doubts == int(mounts)
