from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from abside.backoff import Backoff


class Highest(random.Random):
    """The random source that always returns the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_the_longest_possible_wait_doubles_up_to_its_ceiling() -> None:
    backoff = Backoff(0.1, 30.0, Highest())
    assert [backoff.next_seconds() for _ in range(11)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_success_starts_again_from_the_shortest_wait() -> None:
    backoff = Backoff(0.1, 30.0, Highest())
    for _ in range(5):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() == 0.1


@given(st.integers(0, 2**40), st.integers())
def test_a_wait_is_never_negative_nor_above_its_ceiling_however_many_attempts(attempt: int, seed: int) -> None:
    backoff = Backoff(0.1, 30.0, random.Random(seed), attempt)
    assert 0.0 <= backoff.next_seconds() <= min(30.0, 0.1 * 2.0 ** min(attempt, 32))
    assert backoff.attempt == attempt + 1


def test_two_processes_that_fail_together_do_not_come_back_together() -> None:
    one, other = Backoff(chance=random.Random(1)), Backoff(chance=random.Random(2))
    assert [one.next_seconds() for _ in range(5)] != [other.next_seconds() for _ in range(5)]
