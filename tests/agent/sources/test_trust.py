"""Whose documents are valid when the API and the mounted volume differ: the newer ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.cases import cases

from abside_agent.sources.observation import Observation
from abside_agent.sources.trust import LATE_SECONDS, Trust, Verdict

API, VOLUME = Verdict(by_api=True), Verdict(by_api=False)
KUBELET_SECONDS = 90.0


@dataclass
class World:
    """A volume, an API and a clock that ticks with everything that happens."""

    now: float = 0.0
    volume: bytes | None = b"a"
    observation: Observation[bytes] | None = None
    trust: Trust = field(init=False)

    def __post_init__(self) -> None:
        self.trust = Trust(lambda: self.now)
        self.verdict()

    def says(self, content: bytes) -> World:
        self.now += 1.0
        self.observation = Observation(content, self.now, is_fresh=True)
        return self

    def away(self) -> World:
        self.observation = self.observation and replace(self.observation, is_fresh=False)
        return self

    def back(self) -> World:
        """Watch again from the known version: the API sends nothing new."""
        self.observation = self.observation and replace(self.observation, is_fresh=True)
        return self

    def shows(self, shown: bytes | None) -> World:
        self.volume = shown
        return self

    def after(self, seconds: float) -> World:
        self.now += seconds
        return self

    def verdict(self) -> Verdict:
        self.now += 1.0
        return self.trust.judge(self.volume, self.observation)


def test_before_the_first_word_the_volumes_holds() -> None:
    world = World()
    assert world.verdict() == VOLUME
    assert world.shows(b"b").verdict() == VOLUME
    assert world.shows(None).verdict() == VOLUME


def test_while_the_api_is_watched_its_word_holds_and_the_volume_may_lag_for_ever() -> None:
    world = World().says(b"b")
    assert world.verdict() == API
    assert world.after(10 * LATE_SECONDS).verdict() == API
    assert world.shows(b"b").verdict() == API
    assert world.says(b"c").verdict() == API


def test_a_volume_that_first_is_seen_after_the_word_is_no_news() -> None:
    world = World(volume=None).says(b"b")
    assert world.verdict() == API
    assert world.shows(b"a").verdict() == API


def test_a_volume_that_changed_since_to_what_the_api_did_not_say_has_it_asked_again() -> None:
    world = World().says(b"c")
    world.verdict()
    assert world.shows(b"b").verdict() == Verdict(by_api=True, doubts=True), "late, or the watch is deaf"
    assert world.verdict() == Verdict(by_api=True, doubts=True), "until the API has answered"
    assert world.says(b"c").verdict() == API, "it was late"
    assert world.shows(b"d").verdict() == Verdict(by_api=True, doubts=True)
    assert world.says(b"d").verdict() == API, "it was deaf"


def test_a_volume_that_has_shown_the_word_and_then_another_is_newer_and_the_api_is_asked_again() -> None:
    world = World().says(b"b").shows(b"b")
    assert world.verdict() == API
    assert world.shows(b"c").verdict() == Verdict(by_api=False, doubts=True)
    assert world.says(b"c").verdict() == API
    assert world.shows(b"d").verdict() == Verdict(by_api=False, doubts=True)
    assert world.says(b"e").verdict() == API, "newer still"


def test_what_the_api_said_last_outlives_the_api_until_the_volume_has_shown_it() -> None:
    world = World().says(b"b")
    world.verdict()
    assert world.away().verdict() == API
    assert world.after(LATE_SECONDS - 5.0).verdict() == API
    assert world.shows(b"b").verdict() == VOLUME
    assert world.shows(b"a").verdict() == VOLUME, "a rollback in an outage"


def test_what_the_api_said_last_ends_when_the_volume_is_new_for_longer_than_it_can_be_late() -> None:
    world = World().says(b"c")
    world.verdict()
    assert world.away().shows(b"b").verdict() == API
    assert world.after(LATE_SECONDS - 5.0).verdict() == API
    assert world.after(10.0).verdict() == VOLUME
    assert world.shows(b"d").verdict() == VOLUME, "from then on"
    assert World().says(b"c").away().shows(b"b").after(LATE_SECONDS).verdict() == API, (
        "it is counted from when it is seen"
    )


def test_a_volume_in_motion_is_news_from_its_first_change() -> None:
    world = World().says(b"c")
    world.verdict()
    world.away()
    for number in range(5):
        world.shows(b"%d" % number).after(LATE_SECONDS / 4).verdict()
    assert world.verdict() == VOLUME


def test_an_api_that_is_back_and_has_not_told_yet_does_not_bring_back_what_the_volume_has_left_behind() -> None:
    world = World().says(b"b").shows(b"b")
    world.verdict()
    world.away().shows(b"c")
    world.verdict()
    assert world.back().verdict() == Verdict(by_api=False, doubts=True)
    assert world.says(b"c").verdict() == API


def test_a_word_with_a_part_older_than_what_the_volume_shows_does_not_count_against_it() -> None:
    world = World().says(b"b1 b2").shows(b"b1 b2")
    world.verdict()
    before = world.now
    assert world.shows(b"b1 c2").verdict() == Verdict(by_api=False, doubts=True)
    world.observation = Observation(b"c1 b2", before, is_fresh=True)  # the second was not asked again yet
    assert world.verdict() == Verdict(by_api=False, doubts=True)
    assert world.says(b"c1 c2").verdict() == API


def test_a_volume_that_was_newer_and_cannot_be_seen_any_more_brings_back_no_word() -> None:
    world = World().says(b"b").shows(b"b")
    world.verdict()
    assert world.shows(None).verdict() == API, "which the volume has shown as its last"
    assert world.away().verdict() == VOLUME, "of which nobody knows whether it is the last: what is in force stays"
    assert world.shows(b"c").verdict() == VOLUME
    assert world.shows(None).verdict() == VOLUME
    assert world.back().verdict() == VOLUME
    assert world.says(b"c").verdict() == API


def test_a_volume_that_cannot_be_seen_says_nothing_and_forgets_nothing() -> None:
    world = World().says(b"b")
    world.verdict()
    assert world.away().shows(None).verdict() == API
    assert world.shows(b"a").verdict() == API, "as it was before: no news"
    assert world.shows(None).after(2 * LATE_SECONDS).verdict() == API
    assert world.shows(b"a").verdict() == VOLUME, "now that it can be seen"


def test_an_edit_rolled_back_before_the_volume_showed_it_ends_when_the_volume_cannot_be_late_any_more() -> None:
    world = World().says(b"b")
    assert world.after(10 * LATE_SECONDS).verdict() == API, "beside a watch a volume that stands still says nothing"
    assert world.away().verdict() == API, "and none for a cut connection"
    assert world.after(LATE_SECONDS - 5.0).verdict() == API
    assert world.after(10.0).verdict() == VOLUME
    assert world.back().verdict() == Verdict(by_api=False, doubts=True), "that API was away for this agent alone"
    assert world.says(b"b").verdict() == API, "or it was one of the kubelet too"
    assert world.away().verdict() == API, "counted anew"


def test_a_config_map_that_is_gone_is_no_api_that_is_away() -> None:
    world = World().says(b"b").away()
    for _ in range(3):
        world.after(LATE_SECONDS)
        assert world.trust.judge(b"a", world.observation, is_watched=True) == API
    assert world.verdict() == API, "counted from here on"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["edit", "sync", "look", "lose", "list", "resume", "deaf", "wait", "unseen"]), st.integers(0, 9)
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=cases(400))  # few histories repeat an old answer
@given(STEPS)
@example([("list", 0), ("lose", 0), ("edit", 0), ("sync", 1), ("resume", 0)])
@example([("list", 0), ("edit", 0), ("edit", 0), ("lose", 0), ("sync", 1), ("wait", 7)])
@example([("list", 0), ("lose", 0), ("edit", 0), ("sync", 1), ("unseen", 0)])
@example([("list", 0), ("edit", 0), ("lose", 0), ("wait", 7), ("wait", 7), ("resume", 0)])
def test_nothing_in_force_is_ever_replaced_by_something_older(steps: list[tuple[str, int]]) -> None:
    """Versions are numbers; the kubelet shows any that is not older than KUBELET_SECONDS, and never goes back."""
    world = World(volume=b"0")
    truth, written, told, shown, held = 0, [0.0], 0, 0, 0
    hears = False

    def say(version: int) -> None:
        nonlocal told
        told = version
        world.says(b"%d" % version)

    for step, number in steps:
        match step:
            case "edit":
                truth += 1
                written.append(world.now)
                if hears:
                    say(truth)
            case "sync":
                shown = min(truth, shown + number % 3)
            case "lose":
                hears = False
                world.away()
            case "list":
                hears = True
                say(truth)
            case "resume" if world.observation is not None:
                hears = True
                world.back()
            case "deaf":
                hears = False
            case "wait":
                world.after(number * 10.0)
        late = [version for version, at in enumerate(written) if at < world.now - KUBELET_SECONDS]
        shown = max([shown, *late[-1:]])
        is_seen = step != "unseen"
        verdict = world.shows(b"%d" % shown if is_seen else None).verdict()
        now = told if verdict.by_api else shown if is_seen else held
        assert now >= held, f"{held} was in force"
        assert not verdict.by_api or world.observation is not None
        held = now
        if verdict.doubts:
            hears = True
            say(truth)
