from __future__ import annotations

import gzip
import resource
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
import zstandard

from abside.collector.receive.columns import SLICE_EVENTS, EventRefused, record_batches
from abside.collector.receive.ingest import batch_columns, decompress, measure
from abside.serve.answer import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
EVENT = {"event_id": "e", "type": "click", "ts": 1}


def pieces(data: bytes, count: int) -> list[int]:
    return [piece.num_rows for piece in batch_columns(measure(data, count), batch_id="b", recv_us=1)]


def refused(work: Callable[[], Any]) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        work()
    return refusal.value


def claiming_window(log: int) -> bytes:
    """Return a zstd frame that asks its reader for a window of 2^log bytes."""
    frame = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=log)
    ).compressobj()
    return frame.compress(b"x" * 999) + frame.flush()


def unclaimed(data: bytes) -> bytes:
    """Return a zstd frame whose header does not say how much it contains."""
    frame = zstandard.ZstdCompressor().compressobj()
    return frame.compress(data) + frame.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("zstd", zstandard.compress),
        ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
        ("zstd", lambda data: zstandard.compress(data[:7]) + zstandard.compress(data[7:])),
        ("zstd", lambda data: zstandard.compress(b"") + zstandard.compress(data)),
        ("zstd", lambda data: zstandard.compress(data) + zstandard.compress(b"")),
        ("zstd", lambda data: unclaimed(data[:7]) + zstandard.compress(data[7:])),
        ("zstd", lambda data: zstandard.compress(data[:7]) + unclaimed(data[7:])),
    ],
)
def test_each_encoding_gives_the_bytes_back_up_to_the_very_bound(
    encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    data = bytes(range(256)) * 16
    assert decompress(compress(data), encoding, len(data)) == data
    assert refused(lambda: decompress(compress(data), encoding, len(data) - 1)).status == 413


@pytest.mark.parametrize(
    "broken", [b"not zstd", zstandard.compress(bytes(9 * MIB))[:99], zstandard.compress(bytes(9 * MIB))]
)
def test_a_body_that_cannot_be_unpacked_or_is_too_large_spoils_none_after_it(broken: bytes) -> None:
    whole = zstandard.compress(b"x" * 999)
    for _ in range(3):
        refused(lambda: measure(decompress(broken, "zstd", MIB), 1))
        assert decompress(whole, "zstd", MIB) == b"x" * 999


def test_bodies_are_unpacked_by_many_threads_at_once() -> None:
    bodies = [bytes([number]) * MIB for number in range(16)]
    with ThreadPoolExecutor(4) as threads:
        packed = map(zstandard.compress, bodies)
        assert list(threads.map(lambda body: decompress(body, "zstd", MIB), packed)) == bodies


def test_small_bodies_share_what_unpacks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(zstandard, "ZstdDecompressor")
    assert decompress(zstandard.compress(b"x"), "zstd", MIB) == b"x"


def test_a_small_body_takes_no_room_for_the_largest() -> None:
    body = zstandard.compress(bytes(999))
    tracemalloc.start()
    try:
        decompress(body, "zstd", 16 * MIB)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress)])
def test_a_bomb_is_refused_without_being_unpacked(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    bomb = compress(bytes(512 * MIB))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(lambda: decompress(bomb, encoding, 4 * MIB)).status == 413
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 * 1024


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not gzip"),
        ("zstd", b"not zstd"),
        ("gzip", gzip.compress(b"x" * 999)[:-3]),
        ("gzip", zlib.compress(b"deflate is not gzip")),
        ("zstd", claiming_window(27)),
    ],
    ids=["not gzip", "not zstd", "half a gzip", "zlib", "a zstd window of 128 MiB"],
)
def test_what_does_not_decompress_is_422(encoding: str, body: bytes) -> None:
    refusal = refused(lambda: decompress(body, encoding, MIB))
    assert (refusal.status, refusal.code) == (422, "UNDECODABLE")


def test_events_come_in_slices_and_in_order() -> None:
    count = 2 * SLICE_EVENTS + 1
    data = b"".join(msgpack.packb({**EVENT, "event_id": str(number)}) for number in range(count))
    batches = list(batch_columns(measure(data, count), batch_id="b", recv_us=1))
    assert [batch.num_rows for batch in batches] == [SLICE_EVENTS, SLICE_EVENTS, 1]
    assert [one for batch in batches for one in batch.column("event_id").to_pylist()] == [
        str(number) for number in range(count)
    ]


def test_an_empty_batch_has_no_rows() -> None:
    assert pieces(b"", 0) == []


@pytest.mark.parametrize(("said", "sent"), [(1, 2), (2, 1), (1, 0)])
def test_a_wrong_count_is_422(said: int, sent: int) -> None:
    refusal = refused(lambda: pieces(msgpack.packb(EVENT) * sent, said))
    assert (refusal.status, refusal.code) == (422, "COUNT_MISMATCH")


GOOD = msgpack.packb(EVENT)


@pytest.mark.parametrize(
    "bad",
    [
        b"\xc1",
        b"\xff" * 40,
        msgpack.packb(7),
        msgpack.packb(None),
        msgpack.packb([EVENT]),
        GOOD[:-1],
        b"\x81",
        msgpack.packb({1: 2}),
        b"\x81\xa1\xff\x01",
        b"\x81\xa2\xed\xa0\x01",
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff" * 5000,
        b"\x81\xa1a\xc7\xff\x01",
        msgpack.packb({**EVENT, "order_id": "x" * 65536}),
    ],
    ids=lambda bad: bad[:6].hex(),
)
def test_what_is_no_event_is_422_with_its_index(bad: bytes) -> None:
    with pytest.raises(EventRefused) as event_refused:
        list(record_batches([GOOD, GOOD, GOOD, bad], batch_ids=["b"] * 4, recv_us=[1] * 4))
    assert event_refused.value.index == 3
    long = msgpack.packb({**EVENT, "page_type": "x" * 99})
    refusal = refused(lambda: pieces(long * 3 + bad, 4))
    assert (refusal.status, refusal.index) == (422, 3)


def test_an_event_of_a_wrong_type_is_422_with_index_and_path() -> None:
    refusal = refused(lambda: pieces(GOOD + msgpack.packb({**EVENT, "position": "third"}), 2))
    assert (refusal.status, refusal.code, refusal.index, refusal.path) == (422, "WRONG_TYPE", 1, "position")


def test_claimed_lengths_take_no_memory() -> None:
    claims = b"\xdd\x00\x01\x00\x00" * 1000  # arrays of 65,536 in each other, a thousand deep
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refused(lambda: pieces(claims, 1)).status == 422
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_an_exposure_that_would_multiply_is_413() -> None:
    exposure = {**EVENT, "type": "exposure", "attributes": {"a": "x" * 60_000}, "assignments": [{}] * 256}
    refusal = refused(lambda: pieces(msgpack.packb(exposure) * 20, 20))
    assert refusal.status == 413
