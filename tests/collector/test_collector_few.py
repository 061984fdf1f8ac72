"""Small batches: checked by themselves, and made columns together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import zstandard

from abside.collector.receive.columns import SLICE_EVENTS
from abside.collector.receive.few import FEW_EVENTS, few_of
from abside.collector.receive.ingest import LOOP_BYTES, batch_columns, measure, unpack_small
from abside.collector.store import live_files, scan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import Start, Views


def packed(**fields: Any) -> bytes:
    return msgpack.packb({"event_id": "e", "type": "click", "ts": 1, **fields})  # type: ignore[no-any-return]


USUAL = [
    packed(user_id="u1", bot=True),
    packed(type="exposure", assignments=[{"experiment": "a", "phase": 1}, {"unit_id": "é"}], attributes={"a": 1}),
    packed(type="purchase", value=9.99, currency="EUR"),
    packed(type="impression", items=["a", "b"]),
    packed(type="own_type", properties={"b": None}),
    packed(type="exposure", assignments=[], attributes={"a": 2}),
]


def test_the_rows_of_small_batches_together_are_those_of_each_alone() -> None:
    batches = {f"b{number}": USUAL[number % 5 : number % 5 + 1 + number % 3] for number in range(700)}
    found = [few for number, name in enumerate(batches) if (few := few_of(batches[name], name, number))]
    assert len(found) == 700
    together = [row for piece in found[0].with_others(found) for row in piece.to_pylist()]
    alone = [
        row
        for number, (name, events) in enumerate(batches.items())
        for piece in batch_columns(measure(b"".join(events), len(events)), batch_id=name, recv_us=number)
        for row in piece.to_pylist()
    ]
    assert together == alone


def test_columns_of_many_small_batches_come_in_slices() -> None:
    all_few = [few for number in range(SLICE_EVENTS + 1) if (few := few_of([packed()], f"b{number}", number))]
    assert [piece.num_rows for piece in all_few[0].with_others(all_few)] == [SLICE_EVENTS, 1]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [packed()] * (FEW_EVENTS + 1),
        [packed(), packed(odd=1)],
        [packed(), packed(position="3")],
        [packed(order_id="x" * 40_000)],
        [packed(type="exposure", order_id="x" * 200, assignments=[{}] * 256)],
    ],
    ids=["none", "many", "another field", "a wrong type", "a long one", "many rows"],
)
def test_a_batch_that_is_not_small_or_not_usual_becomes_columns_by_itself(events: list[bytes]) -> None:
    assert few_of(events, "b", 1) is None


@pytest.mark.parametrize("encoding", ["identity", "zstd"])
def test_a_small_body_is_unpacked_at_once_and_a_large_one_is_not(encoding: str) -> None:
    def sent(data: bytes) -> bytes:
        return zstandard.compress(data) if encoding == "zstd" else data

    small = unpack_small(sent(packed()), encoding, max_bytes=LOOP_BYTES, count=1)
    assert small is not None
    assert list(small.events()) == [packed()]
    large = packed(order_id="x" * LOOP_BYTES)
    assert unpack_small(sent(large), encoding, max_bytes=2 * LOOP_BYTES, count=1) is None
    assert unpack_small(sent(packed()), encoding, max_bytes=9, count=1) is None


async def test_one_file_contains_small_batches_and_large_ones_and_a_refused_one_costs_no_other(
    start: Start, store: Path, views: Views
) -> None:
    bad = [{**views("bad")[0], "position": "third"}]
    sizes = {"a": 1, "b": 3, "large": FEW_EVENTS + 1, "c": 2}
    async with start(group_seconds=0.5) as sender:
        *replies, refused = await asyncio.gather(
            *(sender.send(name, views(name, count)) for name, count in sizes.items()), sender.send("bad", bad)
        )
        assert [reply.status for reply in replies] == [200] * 4
        assert (refused.status, refused.document["path"], refused.document["batch"]) == (422, "position", "bad")
    assert len(live_files(store)) == 1
    rows = scan(store).to_table(columns=["event_id", "batch_id"]).to_pylist()
    assert sorted((row["batch_id"], row["event_id"]) for row in rows) == sorted(
        (name, f"{name}-{number}") for name, count in sizes.items() for number in range(count)
    )


async def test_a_small_body_of_more_than_a_batch_may_have_is_413(start: Start) -> None:
    body = zstandard.compress(msgpack.packb({"event_id": "e", "type": "click", "ts": 1, "x": "x" * 2**20}))

    assert len(body) < 1000
    for bound in (2**19, len(body) - 1):
        async with start(max_batch_bytes=bound) as sender:
            reply = await sender.send("b", body=body, X_Batch_Count="1", Content_Encoding="zstd")
            assert (reply.status, reply.document["code"]) == (413, "TOO_LARGE")
