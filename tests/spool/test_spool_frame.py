from __future__ import annotations

import itertools
import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside.spool.errors import SpoolRefused
from abside.spool.frame import MAGIC, MAX_PAYLOAD_BYTES, MAX_SEARCH_BYTES, SEARCH_BYTES, frame, good_frames, scan
from abside.spool.queue.reader import SLICE_EVENTS, slices

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
    found = good_frames(data)
    assert found.payloads == payloads
    assert found.damage == ()


@pytest.mark.parametrize("payloads", [PAYLOADS, [b"e" * 120] * 5, [b"\0\1" * 60, bytes(64), b"z"]])
def test_a_flip_of_any_bit_costs_its_own_frame_and_no_other(payloads: list[bytes]) -> None:
    """Frames of one size whose flipped length leads to a later frame are among them, and payloads full of zeros."""
    segment = MAGIC + b"".join(map(frame, payloads))
    ends = list(itertools.accumulate((len(frame(payload)) for payload in payloads), initial=len(MAGIC)))
    for position in range(len(segment) * 8):
        flipped = bytearray(segment)
        flipped[position // 8] ^= 1 << position % 8
        found = good_frames(bytes(flipped))
        hit = next(number for number, end in enumerate(ends) if position // 8 < end) - 1  # -1: the magic
        assert found.payloads == [one for number, one in enumerate(payloads) if number != hit], f"bit {position}"
        [damage] = found.damage
        assert (damage.offset, damage.stop) == ((ends[hit], ends[hit + 1]) if hit >= 0 else (0, len(MAGIC)))


OWN_CRC = b"\xff" * 4  # its CRC-32 is itself: where its length is left, ones make a sound frame of it


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20), st.data())
def test_whatever_is_overwritten_costs_only_the_frames_it_touches(payloads: list[bytes], data: st.DataObject) -> None:
    segment = bytearray(MAGIC + b"".join(map(frame, payloads)))
    start = data.draw(st.integers(0, len(segment) - 1))
    stop = data.draw(st.integers(start + 1, len(segment)))
    segment[start:stop] = bytes(stop - start) if data.draw(st.booleans()) else b"\xff" * (stop - start)
    ends = list(itertools.accumulate((len(frame(payload)) for payload in payloads), initial=len(MAGIC)))
    whole = [one for one, begin, end in zip(payloads, ends, ends[1:], strict=False) if end <= start or begin >= stop]
    found = good_frames(bytes(segment)).payloads
    assert Counter(whole) <= Counter(found)
    assert Counter(one for one in found if one != OWN_CRC) <= Counter(payloads)


def test_a_segment_of_another_version_is_not_searched() -> None:
    found = good_frames(b"ABSPOOL2" + SEGMENT[8:])
    assert (found.payloads, len(found.damage)) == ([], 1)


def test_the_search_behind_damage_gives_way_and_has_a_bound() -> None:
    """An event that looks like a frame at every byte costs bounded work; where its frame ends is then believed."""
    segment = bytearray(MAGIC + frame(b"\1\x7f\0\0" * 16_384) + frame(b"after"))
    segment[20] ^= 4
    found = list(scan(bytes(segment)))
    assert found[-1] == b"after"
    assert 100 < found.count(b"") <= MAX_SEARCH_BYTES // SEARCH_BYTES + 1


@pytest.mark.parametrize("behind", [b"", frame(b"after"), frame(b"after") * 3])
def test_an_event_that_contains_frames_brings_none_of_them_in_when_it_is_damaged(behind: bytes) -> None:
    inside = b"text " + frame(b"forged") + frame(b"forged too")
    segment = bytearray(MAGIC + frame(b"before") + frame(inside) + behind)
    segment[len(MAGIC + frame(b"before")) + 9] ^= 4
    found = good_frames(bytes(segment))
    assert found.payloads == [b"before", *[b"after"] * (len(behind) // len(frame(b"after")))]
    assert [one.problem for one in found.damage] == ["a frame whose checksum is wrong"]


def test_cut_at_any_byte_the_whole_frames_before_it_are_kept() -> None:
    for length in range(len(SEGMENT)):
        found = good_frames(SEGMENT[:length])
        whole = [number for number, end in enumerate(ENDS) if end <= length]
        assert found.payloads == PAYLOADS[: max(0, len(whole) - 1)]
        assert (found.damage == ()) == (length in ENDS)
        assert not found.damage or found.damage[0].offset == (ENDS[whole[-1]] if whole else 0)


@given(st.integers(min_value=1, max_value=5000))
def test_a_zeroed_tail_ends_the_scan(zeros: int) -> None:
    found = good_frames(SEGMENT + bytes(zeros))
    assert found.payloads == PAYLOADS
    assert [str(one) for one in found.damage] == [f"a zeroed tail at byte {len(SEGMENT)}"] or zeros < 8


def test_a_length_beyond_the_bound_ends_the_scan() -> None:
    size = MAX_PAYLOAD_BYTES + 1
    data = SEGMENT + struct.pack("<II", size, zlib.crc32(bytes(size))) + bytes(size)
    assert str(good_frames(data).damage[0]) == f"a frame that claims {size} bytes at byte {len(SEGMENT)}"


@given(st.binary(max_size=200))
def test_garbage_never_raises(garbage: bytes) -> None:
    good_frames(garbage)
    good_frames(MAGIC + garbage)


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
    assert good_frames(MAGIC + frame(largest)).payloads == [largest]


@given(st.integers(min_value=0, max_value=3 * SLICE_EVENTS), st.booleans())
def test_slices_hold_what_the_scan_holds_and_few_at_a_time(count: int, damaged: bool) -> None:
    payloads = [b"%d" % number for number in range(count)]
    data = MAGIC + b"".join(map(frame, payloads)) + (b"\x01" if damaged else b"")
    chunks: list[list[bytes]] = []
    ended: list[tuple[Damage, ...]] = []

    def collect() -> Iterator[list[bytes]]:
        ended.append((yield from slices(data)))

    chunks += collect()
    assert (ended != [()]) == damaged
    assert [payload for chunk in chunks for payload in chunk] == payloads
    assert all(len(chunk) <= SLICE_EVENTS for chunk in chunks)
