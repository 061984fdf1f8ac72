"""Bodies and headers made to harm: what they may cost is bounded, and the batches of others are stored meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import os
import random
import re
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgpack
import pytest
import zstandard

from abside.collector.receive.columns import SLICE_BYTES
from abside.collector.receive.ingest import MAX_MEMBERS, batch_columns, decompress, measure
from abside.collector.store import scan
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.collector.conftest import Collector, Start, Views

MIB = 2**20
MANIFEST_MIB = 1024  # the memory limit of k8s/collector/statefulset.yaml
EVENT = {"event_id": "e", "type": "click", "ts": 1}
PACKED = msgpack.packb(EVENT)


def pieces(data: bytes, count: int) -> list[int]:
    return [piece.nbytes for piece in batch_columns(measure(data, count), batch_id="b", recv_us=1)]


def refused(work: Callable[[], Any]) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        work()
    return refusal.value


def outcome(data: bytes) -> int:
    """Return the status of a refusal, 0 where there is none."""
    try:
        pieces(data, 2)
    except Refusal as refusal:
        return refusal.status
    return 0


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(data)


def empty_maps() -> bytes:
    """One list of 254 lists of 65,535 empty maps: 16 MiB packed, a gigabyte as objects, 1.5 KB as it is sent."""
    return b"\xdc\x00\xfe" + (b"\xdc\xff\xff" + b"\x80" * 65_535) * 254


BODIES: dict[str, tuple[bytes, str, int]] = {
    "maps": (zstd(empty_maps()), "zstd", 1),
    "members": (gzip.compress(b"") * (MIB // len(gzip.compress(b""))), "gzip", 1),
    "short": (zstd(b"\x80" * (16 * MIB)), "zstd", 700_000),
    "text": (zstd(msgpack.packb({**EVENT, "x": "\0" * 65_000}) * 240), "zstd", 240),
    "exposures": (
        zstd(msgpack.packb({**EVENT, "type": "exposure", "a": "\0" * 9000, "assignments": [{"z": 1}] * 256}) * 1700),
        "zstd",
        1700,
    ),
}


async def test_whatever_bodies_hold_the_collector_lives_within_its_manifests_memory(
    process: Collector, views: Views
) -> None:
    await asyncio.to_thread(process.start, "--max-pending-bytes", "256MiB")
    statuses: dict[str, set[int]] = {name: set() for name in BODIES}

    async with aiohttp.ClientSession() as session:

        async def post(batch_id: str, body: bytes, encoding: str, count: int) -> int:
            headers = {
                "Content-Type": "application/msgpack",
                "Idempotency-Key": batch_id,
                "X-Batch-Count": str(count),
                "Content-Encoding": encoding,
            }
            async with session.post(f"http://{process.address}/v1/batches", data=body, headers=headers) as response:
                return response.status

        for name, (body, encoding, count) in BODIES.items():
            attack = [post(f"{name}{number}", body, encoding, count) for number in range(6)]
            good = post(f"good-{name}", PACKED, "identity", 1)
            *answers, stored = await asyncio.gather(*attack, good)
            assert stored == 200
            statuses[name] |= set(answers)
    assert all(answers <= {413, 422, 503} for answers in statuses.values()), statuses
    assert process.process.poll() is None
    held = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.process.pid}/status").read_text())
    assert held is not None
    print(f"at most {int(held[1]) // 1024} MiB of {MANIFEST_MIB}; answers {statuses}")
    assert int(held[1]) // 1024 < MANIFEST_MIB
    assert await asyncio.to_thread(process.stop) == 0


async def test_batches_are_written_while_the_threads_for_other_work_are_all_busy(
    start: Start, store: Path, views: Views
) -> None:
    loop = asyncio.get_running_loop()
    let_go = threading.Event()
    busy = [loop.run_in_executor(None, let_go.wait) for _ in range(2 * ((os.cpu_count() or 1) + 36))]
    try:
        # The collector's own start takes one of those threads, so they are let go for it once it has asked.
        loop.call_later(0.5, let_go.set)
        async with start() as sender:
            let_go.clear()
            busy += [loop.run_in_executor(None, let_go.wait) for _ in range(2 * ((os.cpu_count() or 1) + 36))]
            async with asyncio.timeout(30):
                assert (await sender.send("a", views("a", 3))).status == 200
            assert len(scan(store).to_table()) == 3
            let_go.set()
    finally:
        let_go.set()
        await asyncio.gather(*busy)


def test_what_would_take_a_gigabyte_as_objects_is_refused_by_skipping() -> None:
    refusal = refused(lambda: measure(empty_maps(), 1))
    assert (refusal.status, refusal.code, refusal.index) == (422, "INVALID_EVENT", 0)
    assert refused(lambda: pieces(empty_maps(), 1)).status == 422


@pytest.mark.parametrize(
    ("data", "count", "code", "index"),
    [
        (PACKED * 2, 1, "COUNT_MISMATCH", None),
        (PACKED, 2, "COUNT_MISMATCH", None),
        (PACKED, 999_999_999, "COUNT_MISMATCH", None),
        (b"", 1, "COUNT_MISMATCH", None),
        (PACKED, 0, "COUNT_MISMATCH", None),
        (PACKED + b"\x80" * 100, 2, "INVALID_EVENT", 1),
        (PACKED + msgpack.packb({**EVENT, "x": "x" * 65_536}), 2, "INVALID_EVENT", 1),
        (PACKED + b"\xc1" * 100, 3, "UNDECODABLE", 1),
        (PACKED + b"\x91" * 5000, 3, "UNDECODABLE", 1),
        (PACKED + b"\xdd\xff\xff\xff\xff" * 20, 3, "UNDECODABLE", 1),
        (PACKED + PACKED[:-1], 2, "UNDECODABLE", 1),
    ],
)
def test_a_batch_is_held_to_count_and_sizes_before_anything_is_built(
    data: bytes, count: int, code: str, index: int | None
) -> None:
    refusal = refused(lambda: measure(data, count))
    assert (refusal.status, refusal.code, refusal.index) == (422, code, index)


def test_what_is_within_its_bounds_is_measured_and_let_pass() -> None:
    measure(b"", 0)
    measure(PACKED * 1000, 1000)


def test_gzip_has_few_members() -> None:
    one = gzip.compress(PACKED)
    assert decompress(one * MAX_MEMBERS, "gzip", MIB) == PACKED * MAX_MEMBERS
    refusal = refused(lambda: decompress(one * (MAX_MEMBERS + 1), "gzip", MIB))
    assert (refusal.status, refusal.code) == (422, "UNDECODABLE")
    assert "send it as one" in refusal.detail


def test_a_slice_is_small_in_bytes_too() -> None:
    text = msgpack.packb({**EVENT, "x": "\0" * 60_000})  # as JSON six times as long
    assert max(pieces(text * 40, 40)) <= 6 * (SLICE_BYTES + 65_536) + 65_536


@pytest.mark.parametrize("fields", [{"attributes": {"a": "\0" * 60_000}}, {"a": "\0" * 60_000}])
def test_an_exposure_that_would_repeat_its_text_is_413_before_it_does(fields: dict[str, Any]) -> None:
    event = msgpack.packb({**EVENT, "type": "exposure", "assignments": [{"z": 1}] * 256, **fields})
    refusal = refused(lambda: pieces(event, 1))
    assert (refusal.status, refusal.code, refusal.index) == (413, "TOO_LARGE", 0)
    assert refusal.path == "assignments"


def test_made_up_events_are_rows_or_refusals_and_never_another_error() -> None:
    chance = random.Random(20261129)
    names = ["event_id", "type", "ts", "seen_ts", "user_id", "items", "value", "position", "properties", "assignments"]
    values: list[Any] = [
        None, True, 0, -1, 2**63, 2**64 - 1, -(2**63), 1e308, float("nan"), float("inf"), 0.1, "", "x", "\0", "\ud7ff",
        b"\xff", [], {}, [None], {"a": 1}, {1: 2}, [["a"] * 9], msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 5),
        {"a": {"b": {"c": [1, {"d": b"x"}]}}}, "exposure", "config", "account", "click",
    ]  # fmt: skip
    answers: Counter[int] = Counter()
    for _ in range(3000):
        event: dict[Any, Any] = dict(EVENT) if chance.random() < 0.7 else {}
        for _ in range(chance.randrange(4)):
            name: Any = chance.choice([*names, "assignments", chance.choice(values[:20])])
            value = chance.choice(values)
            if name == "assignments" and chance.random() < 0.7:
                value = [{chance.choice(["experiment", "phase", "forced", "x"]): chance.choice(values)}]
            event[name if not isinstance(name, (list, dict)) else "x"] = value
        data = msgpack.packb(event)
        answers[outcome(PACKED + data)] += 1
    assert answers.keys() == {0, 422}
    assert min(answers.values()) > 300, answers


ODD = [
    b"\xff",
    b"\xc3\xa9",
    b"Bearer \xff",
    b"Bearer \xed\xa0\x80",
    b"",
    b"+5",
    b"-1",
    b"1_0",
    b"\xd9\xa5",
    b"\xef\xbc\x95",
    b"9" * 400,
    b"0" * 10,
    b"\x00",
    b"gzip\xff",
    b"application/msgpack; charset=\xff",
    b'application/msgpack; "',
    b"=?utf-8?q?x?=",
    b"x" * 7000,
    b"a;" * 2000,
]
NAMED = [
    b"Authorization",
    b"Content-Type",
    b"Content-Encoding",
    b"Idempotency-Key",
    b"X-Batch-Count",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
]


async def test_no_header_of_any_bytes_is_an_error_of_ours(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    usual = {
        b"Host": b"x",
        b"Content-Type": b"application/msgpack",
        b"Idempotency-Key": b"b",
        b"X-Batch-Count": b"0",
        b"Content-Length": b"0",
        b"Authorization": b"Bearer t",
    }
    async with start(token_file=tmp_path / "token", body_seconds=1) as sender:
        host, _, port = sender.address.rpartition(":")
        for name in NAMED:
            for value in ODD:
                head = b"".join(key + b": " + one + b"\r\n" for key, one in {**usual, name: value}.items())
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"POST /v1/batches HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
                answer = await asyncio.wait_for(reader.read(), 30)
                writer.close()
                status = int(answer[9:12])
                assert status < 500, (name, value[:40], answer[:200])
                if name == b"Authorization" and b"\x00" not in value:
                    assert status == 401 or len(value) > 4000, (value[:40], answer[:200])
