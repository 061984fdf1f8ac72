from __future__ import annotations

import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.collector.store.ids import BatchIds

MAX_BYTES = 64 * 2**20
NUMBERS = [0, 1, 2, 3, 4, 5, 9, 10, 2**63, 2**64, 10**20 - 2, 10**20 - 1]
NUMBERED = [f"{host}.{number:020d}-{boot}" for host in ("a", "a.b") for boot in ("f0", "f1.0") for number in NUMBERS]
ODD = ["b0", "a.7-f0", "a.0000000000000000000x-f0", "a.00000000000000000001-f0\n", "", "a." + "٣" * 20 + "-f0", "-.-"]
IDS = st.lists(st.sampled_from([*NUMBERED, *ODD]), max_size=30)


def as_set(ids: BatchIds) -> set[str]:
    found = list(ids.alone())
    for first, count in ids.ranges():
        head, _, boot = first.partition("-")
        found += [f"{head[:-20]}{int(head[-20:]) + one:020d}-{boot}" for one in range(count)]
    assert len(found) == len(set(found)), "an id is there twice"
    return set(found)


@given(IDS, IDS)
def test_it_is_a_set_of_ids(first: list[str], second: list[str]) -> None:
    ids, plain = BatchIds(), set[str]()
    for batch_id in first:
        ids.add(batch_id)
        plain.add(batch_id)
        assert len(ids) == len(plain)
    assert [one in ids for one in (*NUMBERED, *ODD)] == [one in plain for one in (*NUMBERED, *ODD)]
    assert as_set(ids) == plain
    assert ids.contains_all(second) == plain.issuperset(second)


@given(IDS, IDS)
def test_what_a_footer_lists_becomes_the_same_set_again(first: list[str], second: list[str]) -> None:
    ids, other = BatchIds(first), BatchIds(second)
    assert as_set(BatchIds(ids.alone(), ids.ranges())) == set(first)
    assert ids.contains_all(other.alone(), other.ranges()) == set(first).issuperset(second)
    ids.update(other.alone(), other.ranges())
    assert as_set(ids) == {*first, *second}
    assert len(ids) == len({*first, *second})


@given(IDS, IDS)
def test_what_is_left_without_others_is_the_difference_of_sets(first: list[str], second: list[str]) -> None:
    left = BatchIds(first).without(BatchIds(second))
    assert as_set(left) == set(first) - set(second)
    assert len(left) == len(set(first) - set(second))


FIRST = "a.00000000000000000001-f0"
NO_RANGES = [("b0", 2), (FIRST, 0), (FIRST, 2.0), (FIRST, True), ("a.99999999999999999999-f0", 2), ("a.1-f0", 1)]


@pytest.mark.parametrize("wrong", NO_RANGES)
def test_what_is_no_range_is_refused(wrong: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match="no range of batch ids"):
        BatchIds().update((), [wrong])


def test_a_week_of_a_thousand_pods_takes_little_memory() -> None:
    chance = Random(7)
    tracemalloc.start()
    try:
        days = [BatchIds() for _ in range(7)]
        for pod in range(1000):
            begin = 1_790_000_000_000_000 + chance.randrange(10**12)
            for number, ids in enumerate(days):
                first = f"shop-rec-7c9d8b5f6d-{pod:05d}.{begin + number * 17_280:020d}-{pod:016x}"
                ids.update((), [(first, 17_280)])
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(map(len, days)) == 7 * 1000 * 17_280
    print(f"{sum(map(len, days)):,} ids in {used / 2**20:.1f} MiB")
    assert used < MAX_BYTES


def test_ids_that_come_one_by_one_and_out_of_order_end_as_one_range() -> None:
    numbers = list(range(5000))
    for begin in range(0, 5000, 8):  # eight in flight
        numbers[begin : begin + 8] = reversed(numbers[begin : begin + 8])
    ids = BatchIds(f"pod.{number:020d}-f0" for number in numbers)
    assert list(ids.alone()) == []
    assert list(ids.ranges()) == [("pod.00000000000000000000-f0", 5000)]
