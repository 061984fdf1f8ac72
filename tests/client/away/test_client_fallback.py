"""The account of fallbacks, with a fake clock: none is lost from the count, and its memory is bounded."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from abside.client.away.fallback import (
    BATCH_EVENTS,
    MAX_BASES,
    MAX_UNPOSTED,
    POST_AGAIN_SECONDS,
    POST_EVERY_SECONDS,
    Fallbacks,
)
from abside.client.away.posting import after_refusal
from abside.client.message import DecisionCall
from abside.client.result import Assigned, Assignment, CallFailed, Refused

TIMEOUT = CallFailed("timeout", "no answer")


@dataclass
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds

    def wall(self) -> int:
        return int(self.seconds * 1e6)


def asked(**who: object) -> DecisionCall:
    return DecisionCall(("pdp",), False, dict(who), {})


def count_of(events: list[dict[str, dict[str, int]]]) -> int:
    return sum(one["properties"]["count"] for one in events)


def test_one_shopper_is_one_event_with_a_count_and_the_first_time() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    for _ in range(3):
        fallbacks.fall_back(asked(user_id="u1", session_id="s1"), TIMEOUT)
        clock.seconds += 1
    [event] = fallbacks.take()
    assert event.pop("event_id").startswith("cf-")
    assert event == {
        "type": "client_fallback",
        "ts": 100_000_000,
        "user_id": "u1",
        "session_id": "s1",
        "properties": {"placement": "pdp", "reason": "timeout", "count": 3},
    }


def test_beyond_the_bound_only_counts_are_kept() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    for number in range(MAX_UNPOSTED + 50):
        fallbacks.fall_back(asked(user_id=f"u{number}"), TIMEOUT)
    assert fallbacks.stats().untold == MAX_UNPOSTED + 50
    posted = 0
    while events := fallbacks.take():
        assert len(events) <= BATCH_EVENTS + 5
        sums = [one for one in events if "placement" not in one["properties"]]
        assert all(one["session_id"].startswith("abside-client-") and "user_id" not in one for one in sums)
        posted += count_of(events)
        fallbacks.accepted(events)
    assert posted == fallbacks.stats().told == MAX_UNPOSTED + 50


def test_what_could_not_be_posted_is_posted_again_unchanged_and_later() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    assert not fallbacks.due()
    fallbacks.fall_back(asked(user_id="u1"), TIMEOUT)
    assert fallbacks.due()
    assert not fallbacks.due()  # one at a time
    first = fallbacks.take()
    fallbacks.fall_back(asked(user_id="u1"), TIMEOUT)  # missed again meanwhile
    fallbacks.put_back(first)
    assert fallbacks.stats().untold == 2
    clock.seconds += POST_EVERY_SECONDS
    assert not fallbacks.due()
    clock.seconds += POST_AGAIN_SECONDS
    assert fallbacks.due()
    assert fallbacks.take() == first
    assert count_of(fallbacks.take()) == 1


def test_a_refused_event_leaves_the_others_and_its_count() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    for name in ("u1", "guest", "u2"):
        fallbacks.fall_back(asked(user_id=name), TIMEOUT)
    after_refusal(fallbacks, fallbacks.take(), Refused("NO_UNIT", "", status=400, index=1))
    events = fallbacks.take()
    assert [one["user_id"] for one in events] == ["u1", "u2"]
    fallbacks.accepted(events)
    [total] = fallbacks.take()
    assert (total["properties"], "user_id" in total) == ({"reason": "timeout", "count": 1}, False)
    after_refusal(fallbacks, [total], Refused("INVALID_EVENT", "", status=422))
    assert fallbacks.take() == []
    assert (fallbacks.stats().told, fallbacks.stats().untellable) == (2, 1)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["give", "tell", "fail", "refuse", "refuse one"]), st.integers(0, 5))))
def test_every_fallback_is_told_untold_or_untellable(turns: list[tuple[str, int]]) -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    for turn, number in turns:
        if turn == "give":
            fallbacks.fall_back(asked(user_id=f"u{number}" if number else None), TIMEOUT)
        elif events := fallbacks.take():
            if turn == "tell":
                fallbacks.accepted(events)
            elif turn == "fail":
                fallbacks.put_back(events)
            else:
                index = number if turn == "refuse one" else None
                after_refusal(fallbacks, events, Refused("X", "", status=422, index=index))
        stats = fallbacks.stats()
        assert sum(stats.fallbacks.values()) == stats.told + stats.untold + stats.untellable


def test_the_base_is_the_last_answer_without_assignments() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    fallbacks.seen([Assignment("pdp", {"model": "a"}, "ca"), Assignment("home", {"hero": True}, "ch")])
    fallbacks.seen([Assignment("pdp", {"model": "b"}, "cb")])
    fallbacks.seen([Assignment("pdp", {"model": "c"}, "cc", (Assigned("x", "treatment", 1),))])
    answer = fallbacks.fall_back(asked(user_id="u1"), TIMEOUT)["pdp"]
    assert (answer.config, answer.config_id) == ({"model": "b"}, "cb")
    answer.config["model"] = "changed by the caller"
    assert fallbacks.fall_back(asked(user_id="u1"), TIMEOUT)["pdp"].config == {"model": "b"}


def test_bases_are_bounded() -> None:
    clock = Clock()
    fallbacks = Fallbacks(clock, clock.wall)
    fallbacks.seen(Assignment(f"p{number}", {}, "c") for number in range(MAX_BASES + 10))
    assert len(fallbacks.bases) == MAX_BASES
    fallbacks.seen([Assignment("p0", {"new": 1}, "d")])
    assert fallbacks.bases["p0"][0] == "d"
