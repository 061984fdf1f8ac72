from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from abside import event
from abside.collector.keep.group import Grouper
from abside.collector.keep.writer import ReceivedBatch, Writer
from abside.collector.receive.rows import record_batch, rows_of
from abside.collector.store import SCHEMA, StoreFailed, live_files, read_footer, scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.collector.conftest import Clock, Reply, Sender, Start, Views

    from abside.event import EventMap

MIDNIGHT_US = 1_790_121_600_000_000  # 2026-09-23T00:00:00Z


def stored_ids(store: Path) -> list[str]:
    return sorted(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


async def together(sender: Sender, *batches: tuple[str, list[EventMap]]) -> list[Reply]:
    return await asyncio.gather(*(sender.send(batch_id, events) for batch_id, events in batches))


async def test_batches_of_one_second_become_one_file_named_after_the_first(
    start: Start, store: Path, views: Views
) -> None:
    async with start(group_seconds=0.5) as sender:
        replies = await together(sender, *((f"pod.{number}", views(f"e{number}", 5)) for number in range(8)))
        assert [reply.status for reply in replies] == [200] * 8
    [path] = live_files(store)
    footer = read_footer(path)
    assert sorted(footer.batches) == [f"pod.{number}" for number in range(8)]
    assert path.name == f"{footer.batches[0]}.parquet"
    assert path.parent.name.startswith("dt=")
    assert len(stored_ids(store)) == 40


async def test_every_file_has_the_one_schema_whatever_its_events(start: Start, store: Path, views: Views) -> None:
    exposure = {**views("x")[0], "type": "exposure", "assignments": [{"experiment": "a", "variant": "b"}]}
    cart = {**views("c")[0], "type": "add_to_cart", "value": 9.99, "items": ["a"]}
    async with start() as sender:
        for number, events in enumerate(([], views("v"), [exposure], [cart])):
            assert (await sender.send(f"b{number}", events)).status == 200
    files = live_files(store)
    assert len(files) == 4
    for path in files:
        assert pq.read_schema(path).equals(SCHEMA, check_metadata=True)
    assert scan(store).schema.equals(SCHEMA)


async def test_a_full_group_does_not_wait_for_its_second(start: Start, store: Path, views: Views) -> None:
    async with start(group_seconds=600, group_bytes=1) as sender, asyncio.timeout(20):
        assert (await sender.send("a", views("a"))).status == 200


async def test_the_twin_of_a_batch_in_the_group_waits_for_it_and_is_208(
    start: Start, store: Path, views: Views
) -> None:
    async with start(group_seconds=0.5) as sender:
        replies = await together(sender, *[("a", views("a", 3))] * 4)
        assert sorted(reply.status for reply in replies) == [200, 208, 208, 208]
    assert stored_ids(store) == ["a-0", "a-1", "a-2"]


async def test_a_sender_that_leaves_takes_nothing_with_it(start: Start, store: Path, views: Views) -> None:
    async with start(group_seconds=1) as sender:
        leaving = asyncio.ensure_future(sender.send("a", views("a")))  # noqa: TID251 a test's own task
        await sender.until_pending()
        leaving.cancel()
        staying, again = await together(sender, ("b", views("b")), ("a", views("a")))
        assert (staying.status, again.status) == (200, 208)
    assert stored_ids(store) == ["a-0", "b-0"]


async def test_a_group_across_midnight_is_a_file_for_each_date_of_receipt(
    start: Start, store: Path, views: Views, clock: Clock
) -> None:
    clock.us = MIDNIGHT_US - 1
    async with start(clock, group_seconds=1) as sender:
        before = asyncio.ensure_future(sender.send("a", views("a")))  # noqa: TID251 a test's own task
        await sender.until_pending()
        clock.us = MIDNIGHT_US
        assert (await sender.send("b", views("b"))).status == 200
        assert (await before).status == 200
    assert [str(path.relative_to(store)) for path in live_files(store)] == [
        "dt=2026-09-22/a.parquet",
        "dt=2026-09-23/b.parquet",
    ]


async def test_a_store_that_cannot_be_written_is_503_and_the_retry_works(
    start: Start, store: Path, views: Views, clock: Clock
) -> None:
    async with start(clock) as sender:
        assert (await sender.send("kept", views("kept"))).status == 200
        clock.us = MIDNIGHT_US
        (store / "dt=2026-09-23").write_text("a file where the day's directory belongs")
        replies = await together(sender, ("a", views("a")), ("b", views("b")))
        for reply in replies:
            assert (reply.status, reply.document["code"]) == (503, "STORE_FAILED")
            assert int(reply.headers["Retry-After"]) > 0
        assert "dt=2026-09-23" in (await sender.status())["errors"]["store"]
        assert stored_ids(store) == ["kept-0"]
        (store / "dt=2026-09-23").unlink()
        replies = await together(sender, ("a", views("a")), ("b", views("b")))
        assert [reply.status for reply in replies] == [200, 200]
        assert (await sender.status())["errors"] == {}
    assert stored_ids(store) == ["a-0", "b-0", "kept-0"]


async def test_a_stop_writes_and_answers_what_is_gathered(start: Start, store: Path, views: Views) -> None:
    async with start(group_seconds=600) as sender:
        waiting = asyncio.ensure_future(sender.send("a", views("a")))  # noqa: TID251 a test's own task
        await sender.until_pending()
    assert (await waiting).status == 200
    assert stored_ids(store) == ["a-0"]


async def test_a_batch_whose_body_comes_during_the_stop_is_stored_at_once(
    start: Start, store: Path, views: Views
) -> None:
    stopping = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        body = b"".join(map(event.encode, views("a")))
        yield body[:9]
        await stopping.wait()
        yield body[9:]

    headers = {"Content-Type": "application/msgpack", "Idempotency-Key": "a", "X-Batch-Count": "1"}
    async with start(group_seconds=600) as sender:
        sending = sender.ask("POST", "/v1/batches", data=slowly(), headers=headers)
        waiting = asyncio.ensure_future(sending)  # noqa: TID251 a test's own task
        await sender.until_pending()
        asyncio.get_running_loop().call_later(0.1, stopping.set)
    assert (await waiting).status == 200
    assert stored_ids(store) == ["a-0"]


async def test_a_batch_that_cannot_be_written_costs_none_of_its_group(store: Path) -> None:
    other = pa.RecordBatch.from_pydict({"colour": ["red"]})  # as a bug of ours might make it
    good = [record_batch(rows_of({"event_id": name, "type": "a", "ts": 1}, batch_id=name, recv_us=1)) for name in "abc"]
    batches = [ReceivedBatch(name, MIDNIGHT_US, (piece,)) for name, piece in zip("abc", good, strict=True)]
    batches.insert(1, ReceivedBatch("bad", MIDNIGHT_US, (other,)))
    with (
        closing(Writer.open(store, known_since=date.min)) as writer,
        closing(Grouper(writer, seconds=0.1, limit_bytes=2**20)) as grouper,
    ):
        running = asyncio.ensure_future(grouper.run())  # noqa: TID251 a test's own task
        found = await asyncio.gather(*map(grouper.store, batches), return_exceptions=True)
        running.cancel()
        assert [found[0], found[2], found[3]] == ["stored"] * 3
        assert isinstance(found[1], StoreFailed)
        assert [await grouper.knows(name) for name in ("a", "bad", "b", "c")] == [True, False, True, True]
    assert stored_ids(store) == ["a", "b", "c"]
