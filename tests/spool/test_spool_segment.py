from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from abside.spool.segment import SEALED, following, halved, listed, share

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(min_value=1, max_value=5000), st.data())
def test_a_walk_of_the_cursor_visits_every_event_once_and_in_order(count: int, data: st.DataObject) -> None:
    seen: list[int] = []
    part: str | None = ""
    while part is not None:
        chosen = share(part, count)
        if len(chosen) > 1 and data.draw(st.booleans()):
            part = halved(part)
        else:
            seen += chosen
            part = following(part)
    assert seen == list(range(count))


@given(st.integers(min_value=2, max_value=70_000))
def test_halving_to_single_events_keeps_the_batch_id_bounded(count: int) -> None:
    part = ""
    while len(share(part, count)) > 1:
        part = halved(part)
    assert len(part) <= 2 * 17


def test_the_halves_of_two_events_are_one_each() -> None:
    assert (share(".0", 2), share(".1", 2)) == (range(1), range(1, 2))
    assert share(".1.0", 8) == range(4, 6)


def test_a_listing_takes_our_names_only_and_orders_them(tmp_path: Path) -> None:
    ours = ["00000000000000000007-b.seg", "00000000000000000010-a.0.1.seg", "00000000000000000009-a_b-c.1.seg"]
    others = ["7-b.seg", "00000000000000000011-b.open", "notes.txt", "00000000000000000012-b.2.seg", "x.seg"]
    for name in (*ours, *others):
        (tmp_path / name).write_bytes(b"abc")
    (tmp_path / "00000000000000000013-b.seg").mkdir()

    assert [(one.seq, one.boot, one.part, one.name, one.size) for one in listed(tmp_path, SEALED)] == [
        (7, "b", "", "00000000000000000007-b", 3),
        (9, "a_b-c", ".1", "00000000000000000009-a_b-c.1", 3),
        (10, "a", ".0.1", "00000000000000000010-a.0.1", 3),
    ]
