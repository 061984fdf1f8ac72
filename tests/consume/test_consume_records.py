"""Records of ours in both formats become rows; records of others are counted, and nothing else is lost for them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pytest
from obstore.store import MemoryStore

from abside import event
from abside.collector.consume import gather
from abside.collector.consume.storing import MOST_REFUSED, store
from abside.collector.store.chain import ChainKey, ChainTip
from abside.collector.store.place.bucket import BucketPlace
from kafka_records import Message, gathered, message, view

if TYPE_CHECKING:
    from abside.collector.consume.gather import Gatherer, SealedGroup

KEY = ChainKey("AbCdEfGhIjKlMnOpQrStUv", 3)


def cut(gatherer: Gatherer) -> SealedGroup:
    sealed = gatherer.cut()
    assert sealed is not None
    return sealed


def rows(gatherer: Gatherer) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = pa.Table.from_batches(cut(gatherer).pieces).to_pylist()
    return listed


def test_json_and_msgpack_of_one_event_become_the_same_row() -> None:
    sold = {
        **view("x"),
        "type": "purchase",
        "value": 19.99,
        "currency": "EUR",
        "order_id": "o",
        "odd": {"a": [1, None]},
    }
    sold.pop("page_type")
    packed, text = event.encode(sold), orjson.dumps(sold)
    one, other = rows(gathered(ChainTip(), message(0, "a", 1, 0, value=packed), message(1, "a", 1, 1, value=text)))
    assert one == other
    assert one["order_id"] == "o"


def test_a_row_names_its_segment_as_a_batch() -> None:
    (row,) = rows(gathered(ChainTip(), message(0, "host.x", 7, 0)))
    assert row["batch_id"] == "host.x.00000000000000000007"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (None, "no_headers"),
        ([], "no_headers"),
        ([("traceparent", b"00-1")], "no_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"1")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"1"), ("abside-index", b"01")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"-1"), ("abside-index", b"1")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"1"), ("abside-index", b"1\n")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"1"), ("abside-index", b"\xb2")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b""), ("abside-index", b"1")], "bad_headers"),
        ([("abside-spool", b"a"), ("abside-seq", b"1" * 20), ("abside-index", b"1")], "bad_headers"),
        ([("abside-spool", b"a/../b"), ("abside-seq", b"1"), ("abside-index", b"1")], "bad_headers"),
        ([("abside-spool", None), ("abside-seq", b"1"), ("abside-index", b"1")], "bad_headers"),
        ([*[("abside-spool", b"a")] * 2, ("abside-seq", b"1"), ("abside-index", b"1")], "bad_headers"),
    ],
)
def test_a_record_without_our_headers_is_foreign_and_its_neighbours_are_taken(
    headers: list[tuple[str, bytes]] | None, reason: str
) -> None:
    foreign = Message(1, event.encode(view("f")), headers)
    gatherer = gathered(ChainTip(), message(0, "a", 1, 0), foreign, message(2, "a", 1, 1))
    assert gatherer.counts.foreign == {reason: 1}
    assert gatherer.first_foreign == (1, reason)
    assert [row["event_id"] for row in rows(gatherer)] == ["a-1-0", "a-1-1"]


def test_further_headers_and_another_order_are_read_over() -> None:
    headers = [("x", b"1"), ("abside-index", b"0"), ("abside-seq", b"1"), ("abside-spool", b"a"), ("y", b"")]
    assert len(rows(gathered(ChainTip(), Message(0, event.encode(view("e")), headers)))) == 1


VALUES = [
    b"",
    b"[1,2]",
    b"{",
    b'{"event_id": 7}',
    b"{}",
    b"\xc1",
    event.encode(view("e"))[:-3],
    event.encode(view("e")) * 2,
    orjson.dumps({**view("e"), "page_type": "x" * 900_000}),
    event.encode({**view("e"), "page_type": "x" * 900_000}),
    orjson.dumps({**view("e"), "odd": 1}).replace(b"1}", b"1e999}"),
    b"\x81\xa7user_id\xa1\xff",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_record_of_ours_that_is_no_event_is_set_aside_as_it_came(value: bytes) -> None:
    gatherer = gathered(ChainTip(), message(0, "a", 1, 0), message(1, "a", 1, 1, value=value), message(2, "a", 1, 2))
    sealed = cut(gatherer)
    assert (gatherer.counts.refused, gatherer.counts.events, sealed.rows) == (1, 3, 2)
    place = BucketPlace("memory://", MemoryStore())
    store(place, KEY, sealed, "events")
    assert place.read(f"{KEY.folder}/{1:020d}.refused") == value


def test_a_null_value_with_our_headers_is_set_aside_too() -> None:
    null = message(0, "a", 1, 0)
    null.content = None
    assert cut(gathered(ChainTip(), null, message(1, "a", 1, 1))).refused[0].value == b""


def test_a_flood_of_refused_records_makes_a_bounded_number_of_files() -> None:
    gatherer = gathered(ChainTip(), *[message(at, "a", 1, at, value=b"?") for at in range(MOST_REFUSED + 20)])
    place = BucketPlace("memory://", MemoryStore())
    store(place, KEY, cut(gatherer), "events")
    assert len(place.names(KEY.folder)) == MOST_REFUSED + 1
    assert gatherer.counts.refused == MOST_REFUSED + 20


def test_random_bytes_never_stop_a_partition() -> None:
    chance = random.Random(7)
    messages = [message(at, "a", 1, at, value=chance.randbytes(chance.randrange(80))) for at in range(400)]
    gatherer = gathered(ChainTip(), *messages, message(400, "a", 1, 400))
    assert cut(gatherer).rows == 1
    assert (gatherer.counts.events, gatherer.counts.refused) == (401, 400)


def test_events_become_columns_before_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "WAITING_EVENTS", 10)
    gatherer = gathered(ChainTip(), *[message(at, "a", 1, at) for at in range(25)])
    assert len(gatherer._waiting) == 5
    assert cut(gatherer).rows == 25
    assert gatherer.size > 0
    gatherer.stored()
    assert gatherer.size == 0


def test_offsets_that_only_pass_are_no_rows() -> None:
    gatherer = gathered(ChainTip(), Message(0, b"x", None), Message(1, b"y", None))
    assert (gatherer.has_rows, gatherer.end) == (False, 2)
    assert cut(gatherer).rows == 0


def test_what_was_passed_is_not_taken_again() -> None:
    gatherer = gathered(ChainTip(5), message(4, "a", 1, 0), message(5, "a", 1, 1), message(5, "a", 1, 2))
    assert [row["event_id"] for row in rows(gatherer)] == ["a-1-1"]
