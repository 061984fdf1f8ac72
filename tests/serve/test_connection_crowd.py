"""Which connection is cut, tried with connections that only wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from abside.serve.crowd import SLOW_SECONDS, Crowd, Wait

LOOK_SECONDS = 0.02
DEADLINE_SECONDS = 20.0


@dataclass(eq=False)
class Guest:
    """A connection that waits, or works, for as long as a test sets."""

    crowd: Crowd
    wait: Wait | None
    gone: bool = field(default=False)

    def __post_init__(self) -> None:
        self.crowd.enter(self)

    def waits(self, now: float) -> Wait | None:
        return self.wait

    def give_way(self) -> None:
        self.gone = True


def now() -> float:
    return asyncio.get_running_loop().time()


def idle(crowd: Crowd, seconds: float = 0.0) -> Guest:
    return Guest(crowd, Wait(answered=False, since=now() - seconds, head=True))


def half_sent(crowd: Crowd, seconds: float, *, answered: bool = False) -> Guest:
    return Guest(crowd, Wait(answered, now() - seconds, head=False))


def client(crowd: Crowd, seconds: float) -> Guest:
    return Guest(crowd, Wait(answered=True, since=now() - seconds, head=True))


async def settled(crowd: Crowd) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(crowd) > crowd.most:  # noqa: ASYNC110 a poll with a deadline
            await asyncio.sleep(LOOK_SECONDS)


async def test_within_the_bound_nobody_gives_way() -> None:
    crowd = Crowd(3, look_seconds=LOOK_SECONDS)
    guests = [idle(crowd, 1000.0) for _ in range(3)]
    await asyncio.sleep(5 * LOOK_SECONDS)
    assert not any(guest.gone for guest in guests)


async def test_the_one_that_waited_longest_gives_way() -> None:
    crowd = Crowd(3, look_seconds=LOOK_SECONDS)
    guests = [idle(crowd, seconds) for seconds in (3.0, 9.0, 1.0, 5.0)]
    await settled(crowd)
    assert [guest.gone for guest in guests] == [False, True, False, False]
    assert crowd.gave_way == 1


async def test_who_is_worked_for_never_gives_way() -> None:
    crowd = Crowd(2, look_seconds=LOOK_SECONDS)
    busy = [Guest(crowd, None) for _ in range(5)]
    await asyncio.sleep(5 * LOOK_SECONDS)
    assert len(crowd) == 5
    assert not any(guest.gone for guest in busy)
    assert crowd.relieve() is False


async def test_whoever_came_with_a_thousand_others_is_not_judged_in_the_turn_it_came_in() -> None:
    crowd = Crowd(64, look_seconds=LOOK_SECONDS)
    probe = idle(crowd)
    others = [idle(crowd) for _ in range(1000)]
    await asyncio.sleep(0)
    assert (probe.gone, crowd.gave_way) == (False, 0)
    crowd.leave(probe)  # answered, and gone
    await settled(crowd)
    assert sum(other.gone for other in others) == 936


async def test_beyond_the_burst_those_who_waited_longest_go_at_once_and_the_rest_stays() -> None:
    crowd = Crowd(10, burst=100, look_seconds=60.0)
    guests = [idle(crowd, 1000.0 - number) for number in range(111)]
    assert [guest.gone for guest in guests] == [True] * 51 + [False] * 60


async def test_relief_cuts_the_slowest_body_and_none_that_is_fresh() -> None:
    crowd = Crowd(9, look_seconds=LOOK_SECONDS)
    slow, slower = half_sent(crowd, SLOW_SECONDS + 5), half_sent(crowd, SLOW_SECONDS + 9)
    fresh, idler = half_sent(crowd, SLOW_SECONDS / 2), idle(crowd, 99.0)
    assert [crowd.relieve() for _ in range(3)] == [True, True, False]
    assert [one.gone for one in (slow, slower, fresh, idler)] == [True, True, False, False]


async def test_who_never_got_an_answer_gives_way_before_every_client_that_did() -> None:
    crowd = Crowd(3, look_seconds=LOOK_SECONDS)
    clients = [client(crowd, seconds) for seconds in (0.0, 5.0, 60.0)]
    strangers = [half_sent(crowd, 0.0), half_sent(crowd, 3.0), idle(crowd)]
    await settled(crowd)
    assert [one.gone for one in clients] == [False] * 3
    assert [one.gone for one in strangers] == [True] * 3


async def test_beyond_the_burst_fresh_bodies_of_strangers_go_and_idle_clients_stay() -> None:
    crowd = Crowd(10, burst=100, look_seconds=60.0)
    clients = [client(crowd, 30.0 + number) for number in range(10)]
    strangers = [half_sent(crowd, 0.0) for _ in range(101)]
    assert sum(one.gone for one in strangers) == 51
    assert not any(one.gone for one in clients)


async def test_beyond_the_burst_a_probe_that_has_just_come_is_not_cut_for_clients_that_are_idle() -> None:
    crowd = Crowd(10, burst=100, look_seconds=60.0)
    clients = [client(crowd, 30.0 - number / 10) for number in range(110)]
    probe = idle(crowd)
    assert not probe.gone
    assert [one.gone for one in clients] == [True] * 51 + [False] * 59


async def test_of_those_noted_at_one_moment_half_a_body_goes_first() -> None:
    crowd = Crowd(1, look_seconds=LOOK_SECONDS)
    wait = Wait(answered=True, since=now(), head=True)
    idler, sender = Guest(crowd, wait), Guest(crowd, wait._replace(head=False))
    await settled(crowd)
    assert (idler.gone, sender.gone) == (False, True)
