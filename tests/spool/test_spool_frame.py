from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.spool.errors import SpoolRefused
from abside.spool.frame import MAGIC, MAX_PAYLOAD_BYTES, frame, good_prefix, scan
from abside.spool.reader import SLICE_EVENTS, slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.spool.frame import Damage

PAYLOADS = [b"\x81\xa1a\x01", b"x", b"\x82\xa4type\xa5click\xa2id\x07"]
SEGMENT = MAGIC + b"".join(map(frame, PAYLOADS))
ENDS = list(itertools.accumulate((len(frame(payload)) for payload in PAYLOADS), initial=len(MAGIC)))


def test_a_frame_is_length_checksum_and_payload_in_little_endian() -> None:
    assert frame(b"abc") == bytes.fromhex("03000000c2412435616263")
    assert zlib.crc32(b"abc") == 0x352441C2


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_whatever_is_framed_is_scanned_back(payloads: list[bytes]) -> None:
    data = MAGIC + b"".join(map(frame, payloads))
    prefix = good_prefix(data)
    assert prefix.payloads == payloads
    assert prefix.good_bytes == len(data)
    assert prefix.damage is None


def test_a_flip_of_any_bit_never_yields_a_wrong_payload() -> None:
    for position in range(len(SEGMENT) * 8):
        flipped = bytearray(SEGMENT)
        flipped[position // 8] ^= 1 << position % 8
        prefix = good_prefix(bytes(flipped))
        hit = next(number for number, end in enumerate(ENDS) if position // 8 < end)
        assert prefix.payloads == PAYLOADS[: max(0, hit - 1)], f"bit {position}"
        assert prefix.good_bytes == (ENDS[hit - 1] if hit else 0)
        assert prefix.damage is not None


def test_cut_at_any_byte_the_whole_frames_before_it_are_kept() -> None:
    for length in range(len(SEGMENT)):
        prefix = good_prefix(SEGMENT[:length])
        whole = [number for number, end in enumerate(ENDS) if end <= length]
        assert prefix.payloads == PAYLOADS[: max(0, len(whole) - 1)]
        assert prefix.good_bytes == (ENDS[whole[-1]] if whole else 0)
        assert (prefix.damage is None) == (length in ENDS)


@given(st.integers(min_value=1, max_value=5000))
def test_a_zeroed_tail_ends_the_scan(zeros: int) -> None:
    prefix = good_prefix(SEGMENT + bytes(zeros))
    assert prefix.payloads == PAYLOADS
    assert prefix.good_bytes == len(SEGMENT)
    assert prefix.damage is not None


def test_a_length_beyond_the_bound_ends_the_scan() -> None:
    size = MAX_PAYLOAD_BYTES + 1
    data = SEGMENT + struct.pack("<II", size, zlib.crc32(bytes(size))) + bytes(size)
    assert str(good_prefix(data).damage) == f"a frame that claims {size} bytes at byte {len(SEGMENT)}"


@given(st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    good_prefix(garbage)
    good_prefix(MAGIC + garbage)


def test_a_scan_reads_no_further_than_it_is_asked() -> None:
    scanning = scan(SEGMENT)
    assert next(scanning) == PAYLOADS[0]
    assert next(scanning) == PAYLOADS[1]


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD_BYTES + 1])
def test_a_payload_no_scan_would_read_back_is_refused(size: int) -> None:
    with pytest.raises(SpoolRefused, match=f"a payload of {size} bytes cannot be framed: it must have 1 to 65536"):
        frame(bytes(size))


def test_the_largest_payload_is_framed_and_read_back() -> None:
    largest = bytes(MAX_PAYLOAD_BYTES)
    assert good_prefix(MAGIC + frame(largest)).payloads == [largest]


@given(st.integers(min_value=0, max_value=3 * SLICE_EVENTS), st.booleans())
def test_slices_hold_what_the_scan_holds_and_few_at_a_time(count: int, damaged: bool) -> None:
    payloads = [b"%d" % number for number in range(count)]
    data = MAGIC + b"".join(map(frame, payloads)) + (b"\x01" if damaged else b"")
    chunks: list[list[bytes]] = []
    ended: list[Damage | None] = []

    def collect() -> Iterator[list[bytes]]:
        ended.append((yield from slices(data)))

    chunks += collect()
    assert (ended != [None]) == damaged
    assert [payload for chunk in chunks for payload in chunk] == payloads
    assert all(len(chunk) <= SLICE_EVENTS for chunk in chunks)
